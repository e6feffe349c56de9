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
"""The three CAs of the embedded backend: made, read, kept and rotated.

::

    root                        pinned by guests; its key may go offline
    ├── service intermediate    the check-in servers' own names
    └── instance intermediate   the instances' names

They live in the key repository. Every process looks there; whichever comes
first on a machine makes what is missing, under the repository's lock.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import itertools
import threading
import time
from typing import Final

from cryptography import exceptions as crypto_exceptions
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from oslo_log import log as logging

from novajoin import exceptions
from novajoin.ca import authority as ca_authority
from novajoin.ca import constraints as ca_constraints
from novajoin.ca import maker
from novajoin.ca import profiles
from novajoin.keys import authorities
from novajoin.keys import repository

LOG = logging.getLogger(__name__)

ROOT: Final = authorities.ROOT
SERVICE: Final = authorities.SERVICE
INSTANCE: Final = authorities.INSTANCE

_States = authorities.AuthorityState


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the repository held when we looked.

    :ivar by_kind: the CAs of each kind, the active one first
    """

    by_kind: dict[str, tuple[ca_authority.Authority, ...]]
    signature: tuple[object, ...]
    read_at: float

    @property
    def is_complete(self) -> bool:
        """Whether each kind has an active CA."""
        return all(self.by_kind.values())


class Hierarchy:
    """The CAs of this process's key repository.

    Looks again every :data:`novajoin.keys.repository.MAX_AGE` seconds, at an
    access. May be used by several threads.

    :param keys: the key repository
    :param settings: what new CAs are made with
    :param constraints: what certificates may name
    :param list_issuers: returns the ids of the CAs that the database knows
        of, at a time
    :param clock: the present, in UTC
    :param ticks: seconds of a clock that never goes back
    """

    def __init__(
        self,
        keys: repository.Repository,
        settings: maker.Settings,
        constraints: ca_constraints.Constraints,
        *,
        list_issuers: Callable[[datetime.datetime], Collection[str]],
        clock: Callable[[], datetime.datetime],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._settings = settings
        self._constraints = constraints
        self._maker = maker.Maker(settings, constraints, clock)
        self._list_issuers = list_issuers
        self._clock = clock
        self._ticks = ticks
        self._mutex = threading.RLock()
        self._snapshot: _Snapshot | None = None

    # Reading.

    def get_active(self, kind: str) -> ca_authority.Authority:
        """Return the CA that issues.

        Makes what is missing, where the settings allow it.

        :param kind: :data:`ROOT`, :data:`SERVICE` or :data:`INSTANCE`
        :raises CAUnavailable: there is none; the log says why
        """
        return self.list(kind)[0]

    def list(self, kind: str) -> tuple[ca_authority.Authority, ...]:
        """Return the CAs of a kind, the active one first.

        :raises CAUnavailable: there is none; the log says why
        """
        found = self._get_snapshot().by_kind[kind]
        if not found:
            raise exceptions.CAUnavailable(
                'This process has no CA of the kind %s.' % kind
            )
        return found

    def list_all(self) -> tuple[ca_authority.Authority, ...]:
        """Return every CA there is, also where some kinds are missing.

        :raises CAUnavailable: nothing can be read, and nothing made
        """
        by_kind = self._get_snapshot().by_kind
        return tuple(itertools.chain(*by_kind.values()))

    def reload(self) -> None:
        """Look again at the next access."""
        with self._mutex:
            if self._snapshot is not None:
                self._snapshot = dataclasses.replace(
                    self._snapshot, read_at=float('-inf')
                )

    def check(self) -> None:
        """Compare what is there with the configuration; makes nothing.

        :raises ConfigurationError: the files cannot be used, or the CAs do
            not fit the zones, the check-in URLs and the usages
        """
        snapshot = self._read(None)
        for kind, check in (
            (INSTANCE, ca_constraints.check_instance),
            (SERVICE, ca_constraints.check_service),
        ):
            if found := snapshot.by_kind[kind]:
                check(found[0].bounds, self._constraints)
        if found := snapshot.by_kind[INSTANCE]:
            _check_usages(found[0], self._settings.extended_key_usages)
        else:
            ca_constraints.make_instance_bounds(
                self._constraints, self._settings.networks
            )

    def _get_snapshot(self) -> _Snapshot:
        known = self._snapshot
        now = self._ticks()
        if known and now - known.read_at < repository.MAX_AGE:
            return known
        with self._mutex, _unavailable():
            known = self._snapshot
            if known and now - known.read_at < repository.MAX_AGE:
                return known
            snapshot = self._look(known)
            self._snapshot = snapshot
            return snapshot

    def _look(self, known: _Snapshot | None) -> _Snapshot:
        """Read again, and make what is missing.

        What we had stays when it cannot be read any more, and nothing is
        made in its place: whoever pulled the directory away puts it back.
        """
        try:
            snapshot = self._read(known)
        except (OSError, exceptions.ConfigurationError) as error:
            if known is None:
                raise
            LOG.error('The CAs of the key repository: %s', error)
            return dataclasses.replace(known, read_at=self._ticks())
        if snapshot.is_complete:
            return snapshot
        if known and known.is_complete:
            LOG.error('The CAs of the key repository are gone.')
            return dataclasses.replace(known, read_at=self._ticks())
        try:
            self._create()
        except exceptions.CAUnavailable as error:
            # One may do without the service intermediate, for instance.
            if not any(snapshot.by_kind.values()):
                raise
            LOG.error('The CAs of the key repository: %s', error)
        return self._read(None)

    def _read(self, known: _Snapshot | None) -> _Snapshot:
        store = self._keys.authorities
        kinds = (ROOT, SERVICE, INSTANCE)
        signature = tuple(store.get_signature(kind) for kind in kinds)
        if known and known.signature == signature:
            return dataclasses.replace(known, read_at=self._ticks())
        return _Snapshot(
            by_kind={kind: self._list(kind) for kind in kinds},
            signature=signature,
            read_at=self._ticks(),
        )

    def _list(self, kind: str) -> tuple[ca_authority.Authority, ...]:
        """Return the CAs of a kind; empty unless one of them is active."""
        found = tuple(
            self._load(kind, stored)
            for stored in self._keys.authorities.list(kind)
        )
        is_active = found and (found[0].state is _States.ACTIVE)
        return found if is_active else ()

    def _load(
        self, kind: str, stored: authorities.StoredAuthority
    ) -> ca_authority.Authority:
        try:
            certificate = x509.load_pem_x509_certificate(stored.certificate)
            key = self._load_key(kind, stored)
            authority_id = ca_authority.get_authority_id(certificate)
        except (ValueError, TypeError, crypto_exceptions.UnsupportedAlgorithm):
            # Not the error itself: it may show what it tried to read.
            raise exceptions.ConfigurationError(
                '[keys] directory',
                'the key or certificate in %s/%s is damaged or encrypted; '
                'restore it from another host or a backup.'
                % (kind, stored.id),
            ) from None
        is_pair = key is None or key.public_key() == certificate.public_key()
        if not is_pair or authority_id != stored.id:
            raise exceptions.ConfigurationError(
                '[keys] directory',
                'the key, the certificate and the name of %s/%s do not '
                'belong together.' % (kind, stored.id),
            )
        return ca_authority.Authority(
            kind, stored.id, stored.state, certificate, key
        )

    def _load_key(
        self, kind: str, stored: authorities.StoredAuthority
    ) -> profiles.PrivateKey | None:
        if not stored.has_key:
            return None
        key = serialization.load_pem_private_key(
            self._keys.authorities.read_key(kind, stored.id), password=None
        )
        if not isinstance(key, profiles.PrivateKey):
            raise ValueError('not a key of a CA of ours')
        return key

    # Making.

    def _create(self) -> None:
        """Make what is missing, from the root down.

        :raises CAUnavailable: it must not, or cannot, be made here
        """
        if not self._settings.create:
            raise exceptions.CAUnavailable(
                'This host has no CA and is told to make none '
                '([ca_embedded] create); copy the key repository from the '
                'host that has it.'
            )
        with self._keys.lock():
            found = self._read(None).by_kind
            for kind in found:
                self._keys.authorities.remove_strays(kind)
            if not found[ROOT]:
                self._check_alone()
            root = (
                found[ROOT][0]
                if found[ROOT]
                else self._keep(ROOT, _States.ACTIVE, *self._maker.make_root())
            )
            for kind in (SERVICE, INSTANCE):
                if not found[kind]:
                    self._make_intermediate(kind, root, _States.ACTIVE)

    def _check_alone(self) -> None:
        """Look whether another host has made the CA.

        :raises CAUnavailable: it has, or ours was lost
        """
        issuers = self._list_issuers(self._clock())
        if issuers:
            raise exceptions.CAUnavailable(
                'The database knows certificates of the CA %s, but the key '
                'repository of this host has no CA. A second root would '
                'split the cloud: copy the repository from the host that has '
                'it, or from a backup.' % ', '.join(sorted(issuers))
            )

    def _make_intermediate(
        self,
        kind: str,
        root: ca_authority.Authority,
        state: authorities.AuthorityState,
    ) -> ca_authority.Authority:
        return self._keep(
            kind, state, *self._maker.make_intermediate(kind, root)
        )

    def _keep(
        self,
        kind: str,
        state: authorities.AuthorityState,
        certificate: x509.Certificate,
        key: profiles.PrivateKey,
    ) -> ca_authority.Authority:
        authority = ca_authority.Authority(
            kind,
            ca_authority.get_authority_id(certificate),
            state,
            certificate,
            key,
        )
        self._keys.authorities.add(
            kind,
            authority.id,
            state,
            key=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate=certificate.public_bytes(serialization.Encoding.PEM),
        )
        LOG.info('Made the CA %s (%s).', authority.id, kind)
        return authority

    # Rotating.

    def rotate(
        self,
        kind: str,
        *,
        reported: Collection[frozenset[str]],
        in_use: Collection[str],
    ) -> repository.Rotation:
        """Make a new intermediate and use it once every process knows it.

        The first call stages a new one. A call that finds every process to
        know the staged one makes it the active one; with nobody running that
        is the first call. The former active one goes on signing its CRL
        until a later call finds that nothing valid is of it.

        :param kind: :data:`SERVICE` or :data:`INSTANCE`
        :param reported: for each running process that needs the kind, the
            ids it knows (:meth:`novajoin.keys.repository.Repository.get_ids`)
        :param in_use: ids of the CAs that issued what is still valid
        :raises Conflict: a process does not know the staged one yet
        :raises ConfigurationError: the kind cannot be rotated, or zones and
            check-in URLs do not go together
        :raises CAUnavailable: the root's key is elsewhere, or nothing can be
            written
        """
        if kind not in (SERVICE, INSTANCE):
            raise exceptions.ConfigurationError(
                '[keys] directory',
                'a root cannot be rotated below the instances that trust it; '
                'there are %s and %s.' % (SERVICE, INSTANCE),
            )
        self._get_snapshot()
        with self._change(kind):
            return self._rotate(kind, reported, in_use)

    @contextlib.contextmanager
    def _change(self, kind: str) -> Iterator[None]:
        """Change the CAs of a kind, and look at them again afterwards."""
        with _unavailable(), self._keys.lock():
            self._keys.authorities.remove_strays(kind)
            yield
        with self._mutex:
            self._snapshot = None

    def retire(self, kind: str, authority_id: str) -> ca_authority.Authority:
        """Let an intermediate sign nothing but its CRL from now on.

        An active one makes way for the staged one, or for a new one, at once
        and whether or not every process has reported that. Idempotent.

        :param kind: :data:`SERVICE` or :data:`INSTANCE`
        :param authority_id: of an intermediate in the key repository
        :returns: the intermediate
        :raises ConfigurationError: it is the root
        :raises CAUnavailable: there is no such intermediate, the root's key
            is elsewhere, or nothing can be written
        """
        if kind not in (SERVICE, INSTANCE):
            raise exceptions.ConfigurationError(
                '[keys] directory',
                'a root whose key has leaked cannot be revoked: the instances '
                'pin it, and have to be built again with another one.',
            )
        self._get_snapshot()
        with self._change(kind):
            root = self._list(ROOT)[0]
            maker.get_root_key(root)
            found = {each.id: each for each in self._list(kind)}
            if authority_id not in found:
                raise exceptions.CAUnavailable(
                    'There is no CA %s of the kind %s.' % (authority_id, kind)
                )
            if found[authority_id].state is _States.ACTIVE:
                self._promote(kind, root)
            elif found[authority_id].state is _States.STAGED:
                self._keys.authorities.set_state(
                    kind, authority_id, _States.RETIRING
                )
        return found[authority_id]

    def _promote(self, kind: str, root: ca_authority.Authority) -> None:
        """Make the staged intermediate, or a new one, the active one."""
        store = self._keys.authorities
        staged = _find_state(
            {each.id: each.state for each in store.list(kind)}, _States.STAGED
        )
        if staged is None:
            self._make_intermediate(kind, root, _States.ACTIVE)
        else:
            store.set_state(kind, staged, _States.ACTIVE)

    def _rotate(
        self,
        kind: str,
        reported: Collection[frozenset[str]],
        in_use: Collection[str],
    ) -> repository.Rotation:
        store = self._keys.authorities
        before = {a.id: a.state for a in store.list(kind)}
        staged = _find_state(before, _States.STAGED)
        is_new = staged is None
        if staged is None:
            root = self._list(ROOT)[0]
            staged = self._make_intermediate(kind, root, _States.STAGED).id
        is_known = all(staged in ids for ids in reported)
        if is_known:
            store.set_state(kind, staged, _States.ACTIVE)
        elif not is_new:
            raise exceptions.Conflict(
                'The staged intermediate %s (%s) is not yet known to all '
                'running processes. Copy the key repository to their hosts, '
                'wait a minute and rotate again.' % (staged, kind)
            )
        removed = []
        for authority_id, state in before.items():
            if state is _States.RETIRING and authority_id not in in_use:
                store.destroy(kind, authority_id)
                removed.append(authority_id)
        return repository.Rotation(
            kind=kind,
            promoted=staged if is_known else None,
            staged=None if is_known else staged,
            removed=tuple(removed),
            kept=tuple(
                a.id for a in store.list(kind) if a.state is _States.RETIRING
            ),
        )


def _check_usages(
    authority: ca_authority.Authority, names: Collection[str]
) -> None:
    missing = [name for name in names if not authority.permits_usage(name)]
    if missing:
        raise exceptions.ConfigurationError(
            '[ca_embedded] extended_key_usages',
            'the certificate of the instance intermediate does not permit '
            '%s. Run "novajoin-manage keys rotate ca/instance" to make a new '
            'one, or take it out.' % ', '.join(missing),
        )


def _find_state(
    states: dict[str, authorities.AuthorityState],
    wanted: authorities.AuthorityState,
) -> str | None:
    for authority_id, state in states.items():
        if state is wanted:
            return authority_id
    return None


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Turn trouble with the files into CAUnavailable; the log says more."""
    try:
        yield
    except exceptions.CAUnavailable as error:
        LOG.error('The embedded CA: %s', error)
        raise
    except (
        OSError,
        exceptions.ConfigurationError,
        exceptions.KeyUnavailable,
    ) as error:
        LOG.error('The embedded CA: %s', error)
        raise exceptions.CAUnavailable(
            'The embedded CA cannot be used; the log of the service says why.'
        ) from error
