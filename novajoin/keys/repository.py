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
"""The key repository: symmetric keys in files, rotated without downtime.

It is laid out as keystone's fernet key repository, so that operators know
it and their tools can carry it from host to host::

    <directory>/                 0700
        .lock                    held by writers, never by readers
        credential/              0700, one directory for each kind
            0                    staged: known to all before it is used
            2                    primary: the highest number
            1                    secondary: rows still name its key id

A file holds one key of 32 bytes in URL-safe base64. A key is known by its
*key id* and never by its number: the first 16 hex digits of
SHA-256("novajoin-key-id" ‖ kind ‖ key).

Readers take no lock and start no thread: they look again at an access when
their last look is :data:`MAX_AGE` seconds old, and at once for a key id that
they do not know when the directory has changed. What cannot be read any more
does not take away what was read before.
"""

import base64
import binascii
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import datetime
import enum
import hashlib
import os
import pathlib
import re
import threading
import time
from typing import Final
from typing import Never

from oslo_log import log as logging

from novajoin import exceptions
from novajoin.keys import authorities
from novajoin.keys import files

LOG = logging.getLogger(__name__)

#: Derives join tokens and one-time passwords (server and notify).
CREDENTIAL: Final = 'credential'
#: Encrypts private parameters in the database; reserved.
ATREST: Final = 'atrest'
#: Signs payloads for nodes that know the key before; reserved.
PAYLOAD: Final = 'payload'

#: The kinds whose keys are 32 random bytes.
SYMMETRIC: Final = frozenset({CREDENTIAL, ATREST})
KEY_SIZE: Final = 32

#: Seconds after which a reader looks again.
MAX_AGE: Final = 10.0

_STAGED: Final = 0
_NUMBER: Final = re.compile(r'0|[1-9][0-9]{0,17}')
_ATTEMPTS: Final = 10


def get_key_id(kind: str, material: bytes) -> str:
    """Return the id by which rows name a symmetric key (IDENTITY section 6).

    That of a CA, and of a check-in process's key, is made of its
    SubjectPublicKeyInfo alone (:mod:`novajoin.ca.authority`): whoever has the
    certificate can tell it without knowing more of novajoin.

    :param kind: for instance ``credential``
    :param material: the key itself
    :returns: 16 lower-case hex digits
    """
    digest = hashlib.sha256(b'novajoin-key-id' + kind.encode() + material)
    return digest.hexdigest()[:16]


class SymmetricKey:
    """One key; it does not print, pickle or show up in ``asdict()``.

    :ivar id: 16 lower-case hex digits
    """

    __slots__ = ('_secret', 'id')

    def __init__(self, kind: str, value: bytes) -> None:
        self.id = get_key_id(kind, value)
        self._secret = value

    @property
    def secret(self) -> bytes:
        """The 32 bytes themselves."""
        return self._secret

    def __repr__(self) -> str:
        return 'SymmetricKey(id=%r)' % self.id

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError('a SymmetricKey cannot be pickled')


class KeyState(enum.StrEnum):
    """What a key is used for."""

    #: Known, not yet used for anything new.
    STAGED = 'staged'
    #: Used for everything new.
    PRIMARY = 'primary'
    #: Used only for what names it.
    SECONDARY = 'secondary'


@dataclasses.dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as ``novajoin-manage keys list`` shows it.

    :ivar number: the name of its file; changes at promotion
    :ivar created_at: when the file was written
    """

    kind: str
    number: int
    id: str
    state: KeyState
    created_at: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did, all by key id.

    :ivar promoted: the new primary; None when one was only staged now
    :ivar staged: the staged key; None when a CA was promoted, as a new one
        is staged only by the next rotation
    :ivar removed: secondaries that no row named any more
    :ivar kept: secondaries that stay
    """

    kind: str
    promoted: str | None
    staged: str | None
    removed: tuple[str, ...]
    kept: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    keys: Mapping[int, SymmetricKey]
    by_id: Mapping[str, SymmetricKey]
    signature: tuple[int, int]
    read_at: float

    def find_primary(self) -> SymmetricKey | None:
        number = max(self.keys, default=_STAGED)
        return None if number == _STAGED else self.keys[number]


class Repository:
    """The keys of one process or of all on a machine.

    Cheap to make; touches nothing until it is used. May be used by several
    threads and, after a fork, by several processes at once.

    :param directory: ``[keys] directory``
    :param clock: seconds of a clock that never goes back
    :ivar authorities: the CAs of the repository, which are laid out in
        another way
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = pathlib.Path(directory)
        self.authorities = authorities.Authorities(self.directory)
        self._clock = clock
        self._snapshots: dict[str, _Snapshot] = {}
        self._mutex = threading.Lock()

    # Reading: on every request, without a lock between processes.

    def get_primary(self, kind: str) -> SymmetricKey:
        """Return the key for everything new.

        :raises KeyUnavailable: there is none, or it cannot be read; the
            reason is in the log
        """
        key = self._get_snapshot(kind).find_primary()
        if key is None:
            raise exceptions.KeyUnavailable(
                'The key repository has no primary key of the kind %s; run '
                '"novajoin-manage keys setup".' % kind
            )
        return key

    def get(self, kind: str, key_id: str) -> SymmetricKey:
        """Return the key that a row names, whatever its state.

        :raises KeyUnavailable: this process's repository does not have it
        """
        key = self._get_snapshot(kind).by_id.get(key_id)
        if key is None and self._has_changed(kind):
            key = self._read_again(kind).by_id.get(key_id)
        if key is None:
            raise exceptions.KeyUnavailable(
                'The key %s of the kind %s is not in the key repository of '
                'this host; copy it from the host that has it.'
                % (key_id, kind)
            )
        return key

    def get_ids(self, kind: str) -> frozenset[str]:
        """Return the ids of all keys, which a process reports as known.

        Empty when there is nothing to read.

        :param kind: also one of :data:`novajoin.keys.authorities.KINDS`; of
            these a process knows those whose private key it has
        """
        try:
            if kind in authorities.KINDS:
                return frozenset(
                    authority.id
                    for authority in self.authorities.list(kind)
                    if authority.has_key
                )
            return frozenset(self._get_snapshot(kind).by_id)
        except (
            OSError,
            exceptions.ConfigurationError,
            exceptions.KeyUnavailable,
        ):
            return frozenset()

    def reload(self) -> None:
        """Look again at the next access (SIGHUP)."""
        with self._mutex:
            self._snapshots = {
                kind: dataclasses.replace(snapshot, read_at=float('-inf'))
                for kind, snapshot in self._snapshots.items()
            }

    def check(self, kind: str) -> None:
        """Say what is wrong with the files of a kind; for start and health.

        :raises ConfigurationError: others can read it, it is damaged, or
            there is no primary
        """
        if _find_primary_number(self._read(kind).keys) is None:
            raise exceptions.ConfigurationError(
                files.OPTION,
                '%s has no primary key; run "novajoin-manage keys setup".'
                % self._get_path(kind),
            )

    def list(self, kind: str) -> list[KeyEntry]:
        """Return all keys of a kind: staged, primary, then secondaries.

        :raises ConfigurationError: the files cannot be read
        """
        keys = self._read(kind).keys
        primary = _find_primary_number(keys)
        entries = []
        for number in sorted(keys, key=lambda n: (n != _STAGED, -n)):
            state = KeyState.SECONDARY
            if number == _STAGED:
                state = KeyState.STAGED
            elif number == primary:
                state = KeyState.PRIMARY
            try:
                status = os.stat(self._get_path(kind) / str(number))
            except FileNotFoundError:  # rotated while we looked
                return self.list(kind)
            created_at = datetime.datetime.fromtimestamp(
                status.st_mtime, tz=datetime.timezone.utc
            )
            entries.append(
                KeyEntry(kind, number, keys[number].id, state, created_at)
            )
        return entries

    # Writing: seldom, by one process at a time.

    def setup(self, kind: str) -> None:
        """Make a primary and a staged key where there are none.

        Idempotent, completes what a crash left unfinished, and safe when
        several processes start at once: one of them makes the keys. Nothing
        is written where all is there, so the directory may be read-only.

        :raises ConfigurationError: what is there cannot be used
        :raises KeyUnavailable: it cannot be written (disk full, permission)
        """
        self._check_kind(kind)
        with _written(self.directory):
            if self._is_complete(kind):
                return
            files.make_directory(self._get_path(kind))
            with self.lock():
                self._complete(kind)
        self._read_again(kind)

    def rotate(
        self,
        kind: str,
        *,
        reported: Collection[frozenset[str]] = (),
        in_use: Collection[str] = (),
    ) -> Rotation:
        """Promote the staged key, stage a new one, drop what nobody needs.

        The former primary always stays for one more rotation: a row that
        names it may be written this very moment.

        :param reported: for each process seen in the last two minutes that
            needs the kind, the key ids it reported (:meth:`get_ids`)
        :param in_use: the key ids that rows name
        :returns: what was done
        :raises Conflict: a process does not know the staged key yet;
            nothing was changed
        :raises ConfigurationError: there is nothing to rotate, or it cannot
            be used
        :raises KeyUnavailable: it cannot be written (disk full,
            permission); the repository can still be used
        """
        self._check_kind(kind)
        with _written(self.directory), self.lock():
            self.check(kind)
            files.remove_leftovers(self._get_path(kind))
            keys = self._read(kind).keys
            removable = set(_get_secondaries(keys))
            promoted = None
            if _STAGED in keys:
                _check_reported(kind, keys[_STAGED].id, reported)
                promoted = keys[_STAGED].id
                self._promote(kind)
            else:
                self._stage(kind)
            removed = []
            for number in sorted(removable):
                if keys[number].id not in in_use:
                    files.remove(self._get_path(kind) / str(number))
                    removed.append(keys[number].id)
            files.sync_directory(self._get_path(kind))
        keys = self._read_again(kind).keys
        return Rotation(
            kind=kind,
            promoted=promoted,
            staged=keys[_STAGED].id,
            removed=tuple(removed),
            kept=tuple(keys[number].id for number in _get_secondaries(keys)),
        )

    def retire(self, kind: str, key_id: str) -> None:
        """Use a key for nothing new any more (``keys compromise``).

        A staged one is replaced. A primary makes way for the staged one at
        once, whether or not every process has reported that: they look again
        when they meet a key id that they do not know. Idempotent. The key
        stays as a secondary until :meth:`remove` or a rotation drops it.

        :raises KeyUnavailable: there is no such key, or nothing can be
            written
        """
        self._check_kind(kind)
        with _written(self.directory), self.lock():
            files.remove_leftovers(self._get_path(kind))
            keys = self._read(kind).keys
            number = _get_number(kind, keys, key_id)
            if number == _STAGED:
                self._stage(kind)
            elif number == _find_primary_number(keys):
                if _STAGED not in keys:
                    self._stage(kind)
                self._promote(kind)
        self._read_again(kind)

    def remove(self, kind: str, key_id: str) -> None:
        """Remove a secondary for ever: rows that name it are lost.

        :raises Conflict: it is staged or primary; see :meth:`retire`
        :raises KeyUnavailable: there is no such key, or nothing can be
            written
        """
        self._check_kind(kind)
        with _written(self.directory), self.lock():
            keys = self._read(kind).keys
            number = _get_number(kind, keys, key_id)
            if number not in _get_secondaries(keys):
                raise exceptions.Conflict(
                    'The key %s of the kind %s is in use and cannot be '
                    'removed; rotate first.' % (key_id, kind)
                )
            files.remove(self._get_path(kind) / str(number))
            files.sync_directory(self._get_path(kind))
        self._read_again(kind)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the one lock of all writers of the repository.

        :raises KeyUnavailable: another process holds on to it
        """
        files.make_directory(self.directory)
        with files.lock(self.directory / '.lock'):
            yield

    def _get_path(self, kind: str) -> pathlib.Path:
        return self.directory / kind

    def _check_kind(self, kind: str) -> None:
        if kind not in SYMMETRIC:
            raise exceptions.ConfigurationError(
                files.OPTION,
                'there is no kind of keys named %r; there are %s.'
                % (kind, ', '.join(sorted(SYMMETRIC))),
            )

    def _is_complete(self, kind: str) -> bool:
        if not self._get_path(kind).exists():
            return False
        keys = self._read(kind).keys
        return _STAGED in keys and _find_primary_number(keys) is not None

    def _complete(self, kind: str) -> None:
        files.remove_leftovers(self._get_path(kind))
        keys = self._read(kind).keys
        if _STAGED not in keys:
            self._stage(kind)
        if _find_primary_number(keys) is None:
            self._promote(kind)

    def _stage(self, kind: str) -> None:
        """Put a new key at 0, in place of the one that is there."""
        files.write(self._get_path(kind) / str(_STAGED), _make_key())

    def _promote(self, kind: str) -> None:
        """Make 0 the highest number, and put a new key at 0.

        The new key is on the disk before anything moves. Who dies between
        the two renames leaves a repository without a staged key, which works
        and which setup and rotate complete.
        """
        path = self._get_path(kind)
        staged = path / str(_STAGED)
        highest = max(self._read(kind).keys, default=_STAGED)
        new = files.prepare(staged, _make_key())
        try:
            os.rename(staged, path / str(highest + 1))
            os.rename(new, staged)
        except OSError:
            files.remove(new)
            raise
        files.sync_directory(path)

    def _get_snapshot(self, kind: str) -> _Snapshot:
        snapshot = self._snapshots.get(kind)
        if snapshot and self._clock() - snapshot.read_at < MAX_AGE:
            return snapshot
        return self._read_again(kind)

    def _read_again(self, kind: str) -> _Snapshot:
        with self._mutex:
            known = self._snapshots.get(kind)
            try:
                snapshot = self._read(kind)
            except (OSError, exceptions.ConfigurationError) as error:
                LOG.error('The keys of the kind %s: %s', kind, error)
                if known is None:
                    raise exceptions.KeyUnavailable(
                        'The keys of the kind %s cannot be read; the log of '
                        'the service says why.' % kind
                    ) from error
                snapshot = dataclasses.replace(known, read_at=self._clock())
            self._snapshots[kind] = snapshot
        return snapshot

    def _has_changed(self, kind: str) -> bool:
        try:
            signature = _get_signature(self._get_path(kind))
        except OSError:
            return False
        return signature != self._snapshots[kind].signature

    def _read(self, kind: str) -> _Snapshot:
        """Read all keys of a kind.

        A writer may rename while we read: then we read once more.

        :raises ConfigurationError: it is not there or cannot be used
        """
        path = self._get_path(kind)
        try:
            files.check_directory(self.directory)
            files.check_directory(path)
        except FileNotFoundError:
            raise exceptions.ConfigurationError(
                files.OPTION,
                '%s does not exist; run "novajoin-manage keys setup" or copy '
                'it from the host that has it.' % path,
            ) from None
        for _ in range(_ATTEMPTS):
            signature = _get_signature(path)
            try:
                keys = {
                    int(name): _read_key(kind, path / name)
                    for name in os.listdir(path)
                    if _NUMBER.fullmatch(name)
                }
            except FileNotFoundError:
                continue
            if signature == _get_signature(path):
                break
        else:
            raise exceptions.ConfigurationError(
                files.OPTION, '%s does not stop changing.' % path
            )
        return _Snapshot(
            keys=keys,
            by_id={key.id: key for key in keys.values()},
            signature=signature,
            read_at=self._clock(),
        )


def _make_key() -> bytes:
    return base64.urlsafe_b64encode(os.urandom(KEY_SIZE)) + b'\n'


def _read_key(kind: str, path: pathlib.Path) -> SymmetricKey:
    try:
        value = base64.b64decode(
            files.read(path).strip(), altchars=b'-_', validate=True
        )
    except binascii.Error:
        value = b''
    if len(value) != KEY_SIZE:
        raise exceptions.ConfigurationError(
            files.OPTION,
            '%s does not hold a key: 32 bytes in URL-safe base64 are '
            'expected. Restore it from another host or a backup; remove it '
            'only when no row names it.' % path,
        )
    return SymmetricKey(kind, value)


def _get_signature(path: pathlib.Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns


def _find_primary_number(keys: Mapping[int, SymmetricKey]) -> int | None:
    return max(keys, default=_STAGED) or None


def _get_secondaries(keys: Mapping[int, SymmetricKey]) -> tuple[int, ...]:
    primary = _find_primary_number(keys)
    return tuple(
        number for number in sorted(keys) if number not in (_STAGED, primary)
    )


def _get_number(
    kind: str, keys: Mapping[int, SymmetricKey], key_id: str
) -> int:
    for number, key in keys.items():
        if key.id == key_id:
            return number
    raise exceptions.KeyUnavailable(
        'There is no key %s of the kind %s in the key repository.'
        % (key_id, kind)
    )


def _check_reported(
    kind: str, key_id: str, reported: Collection[frozenset[str]]
) -> None:
    missing = sum(key_id not in ids for ids in reported)
    if missing:
        raise exceptions.Conflict(
            'The staged key %s of the kind %s is not yet known to %d of %d '
            'running processes. Copy the repository to their hosts, wait a '
            'minute and rotate again.' % (key_id, kind, missing, len(reported))
        )


@contextlib.contextmanager
def _written(directory: pathlib.Path) -> Iterator[None]:
    """Say in our own words why something could not be written."""
    try:
        yield
    except OSError as error:
        raise exceptions.KeyUnavailable(
            'The key repository %s cannot be written: %s. Set state_path or '
            '[keys] directory to a place that can be written.'
            % (directory, error.strerror)
        ) from error
