# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""The certification authorities of the key repository.

::

    <directory>/ca/instance/          0700, one directory for each kind
        states.json                   which CA is used for what
        <id>/                         the id of the CA
            certificate.pem
            key.pem                   may be missing: kept elsewhere, offline

``states.json`` alone says which CA counts; it is replaced as a whole, and
after everything that it names is on the disk. A directory that it does not
name is what a writer left who died: the next one removes it.
"""

from collections.abc import Mapping
import dataclasses
import datetime
import enum
import json
import os
import pathlib
import re
from typing import Final

from novajoin import exceptions
from novajoin.keys import files

ROOT: Final = 'ca/root'
SERVICE: Final = 'ca/service'
INSTANCE: Final = 'ca/instance'
KINDS: Final = frozenset({ROOT, SERVICE, INSTANCE})

_STATES: Final = 'states.json'
_KEY: Final = 'key.pem'
_CERTIFICATE: Final = 'certificate.pem'
_ID: Final = re.compile('[0-9a-f]{16}')


class AuthorityState(enum.StrEnum):
    """What a CA is used for."""

    #: Issues.
    ACTIVE = 'active'
    #: Known to all before it issues.
    STAGED = 'staged'
    #: Issued what is still valid; signs nothing but its CRL.
    RETIRING = 'retiring'


@dataclasses.dataclass(frozen=True, slots=True)
class StoredAuthority:
    """A CA as it is on the disk.

    :ivar id: 16 hex digits
    :ivar certificate: PEM
    :ivar has_key: whether the private key is there
    :ivar created_at: when the certificate was written here
    """

    id: str
    state: AuthorityState
    certificate: bytes
    has_key: bool
    created_at: datetime.datetime


class Authorities:
    """The certification authorities of one key repository.

    Keeps nothing in memory; whoever uses it does.

    :param directory: ``[keys] directory``
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def get_signature(self, kind: str) -> tuple[object, ...]:
        """Return something that differs whenever :meth:`list` would.

        :param kind: ``ca/root``, ``ca/service`` or ``ca/instance``
        """
        path = self._get_path(kind)
        try:
            status = os.stat(path / _STATES)
        except OSError:
            # There is none; or :meth:`list` says what is wrong.
            return ()
        keys = sorted(str(key) for key in path.glob('*/' + _KEY))
        return status.st_ino, status.st_mtime_ns, *keys

    def list(self, kind: str) -> list[StoredAuthority]:
        """Return the CAs of a kind, the active one first.

        Empty where none was made.

        :raises ConfigurationError: the files cannot be used
        """
        path = self._get_path(kind)
        try:
            for directory in (self._directory, path.parent, path):
                files.check_directory(directory)
            states = _parse_states(path / _STATES)
        except FileNotFoundError:
            return []
        authorities = []
        for authority_id, state in states.items():
            files.check_directory(path / authority_id)
            certificate = _read(path / authority_id / _CERTIFICATE)
            status = os.stat(path / authority_id / _CERTIFICATE)
            authorities.append(
                StoredAuthority(
                    id=authority_id,
                    state=state,
                    certificate=certificate,
                    has_key=(path / authority_id / _KEY).exists(),
                    created_at=datetime.datetime.fromtimestamp(
                        status.st_mtime, tz=datetime.timezone.utc
                    ),
                )
            )
        return authorities

    def find_kind(self, authority_id: str) -> str | None:
        """Return the kind of a CA that is kept here, or None.

        :raises ConfigurationError: the files cannot be used
        """
        for kind in sorted(KINDS):
            if any(each.id == authority_id for each in self.list(kind)):
                return kind
        return None

    def read_key(self, kind: str, authority_id: str) -> bytes:
        """Return the private key of a CA; PEM, PKCS#8, not encrypted.

        :raises FileNotFoundError: it is not kept here
        :raises ConfigurationError: others can read it
        """
        return files.read(self._get_path(kind) / authority_id / _KEY)

    # Only for who holds the lock of the repository.

    def add(
        self,
        kind: str,
        authority_id: str,
        state: AuthorityState,
        *,
        key: bytes,
        certificate: bytes,
    ) -> None:
        """Keep a new CA; it counts from the moment it is all there.

        An active one makes the former active one a retiring one.

        :param authority_id: 16 hex digits
        :param key: PEM
        :param certificate: PEM
        :raises OSError: no space, no permission; nothing has changed
        """
        path = self._get_path(kind)
        files.make_directory(path)
        files.remove_leftovers(path)
        new = path / ('.%s.tmp' % authority_id)
        files.make_directory(new)
        files.write(new / _KEY, key)
        files.write(new / _CERTIFICATE, certificate)
        self._remove_directory(path / authority_id)
        os.rename(new, path / authority_id)
        files.sync_directory(path)
        self.set_state(kind, authority_id, state)

    def set_state(
        self, kind: str, authority_id: str, state: AuthorityState
    ) -> None:
        """Use a CA for something else from now on.

        An active one makes the former active one a retiring one.
        """
        states = self._read_states(kind)
        if state is AuthorityState.ACTIVE:
            states = {
                other: AuthorityState.RETIRING
                if former is AuthorityState.ACTIVE
                else former
                for other, former in states.items()
            }
        self._write_states(kind, {**states, authority_id: state})

    def destroy(self, kind: str, authority_id: str) -> None:
        """Remove a CA and its key for ever."""
        states = self._read_states(kind)
        states.pop(authority_id, None)
        self._write_states(kind, states)
        self._remove_directory(self._get_path(kind) / authority_id)

    def remove_strays(self, kind: str) -> None:
        """Remove what writers left that died."""
        path = self._get_path(kind)
        if not path.is_dir():
            return
        files.remove_leftovers(path)
        known = self._read_states(kind)
        for directory in path.iterdir():
            name = directory.name
            if _ID.fullmatch(name) and name not in known:
                self._remove_directory(directory)

    def _get_path(self, kind: str) -> pathlib.Path:
        if kind not in KINDS:
            raise ValueError('no kind of CA: %r' % kind)
        return self._directory / kind

    def _read_states(self, kind: str) -> dict[str, AuthorityState]:
        try:
            return _parse_states(self._get_path(kind) / _STATES)
        except FileNotFoundError:
            return {}

    def _write_states(
        self, kind: str, states: Mapping[str, AuthorityState]
    ) -> None:
        order = list(AuthorityState)
        document = dict(
            sorted(states.items(), key=lambda item: order.index(item[1]))
        )
        files.write(
            self._get_path(kind) / _STATES,
            json.dumps(document, indent=2).encode() + b'\n',
        )

    def _remove_directory(self, path: pathlib.Path) -> None:
        if not path.exists():
            return
        for inner in path.iterdir():
            files.remove(inner)
        os.rmdir(path)
        files.sync_directory(path.parent)


def _parse_states(path: pathlib.Path) -> dict[str, AuthorityState]:
    """Read states.json, the active CA first.

    :raises FileNotFoundError: there is none
    """
    try:
        document = json.loads(files.read(path))
        states = {
            name: AuthorityState(state) for name, state in document.items()
        }
        names_are_ids = all(_ID.fullmatch(name) for name in states)
    except (ValueError, AttributeError):
        names_are_ids = False
    if not names_are_ids:
        raise exceptions.ConfigurationError(
            files.OPTION,
            '%s is damaged; restore it from another host or a backup.' % path,
        )
    order = list(AuthorityState)
    return dict(sorted(states.items(), key=lambda i: order.index(i[1])))


def _read(path: pathlib.Path) -> bytes:
    try:
        return files.read(path)
    except FileNotFoundError:
        raise exceptions.ConfigurationError(
            files.OPTION,
            '%s is missing; copy it from the host that has it.' % path,
        ) from None
