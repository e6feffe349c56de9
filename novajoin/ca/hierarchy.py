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
from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import functools
import hashlib
import secrets
import threading
import time
from typing import Final

from cryptography import exceptions as crypto_exceptions
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import oid
from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.ca import constraints as ca_constraints
from novajoin.ca import profiles
from novajoin.keys import authorities
from novajoin.keys import repository

LOG = logging.getLogger(__name__)

ROOT: Final = authorities.ROOT
SERVICE: Final = authorities.SERVICE
INSTANCE: Final = authorities.INSTANCE

#: Bits of a serial number (RFC 5280 4.1.2.2 allows 159).
SERIAL_BITS: Final = 127

#: A CA is valid from a little before it is made: clocks differ.
_BACKDATE: Final = datetime.timedelta(hours=1)
_CA_USAGE: Final = profiles.make_key_usage('key_cert_sign', 'crl_sign')


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a new CA is made with.

    :ivar create: whether to make a root where there is none
    :ivar name: what the names of the CAs begin with
    :ivar key_type: for instance ``ec-p256``
    :ivar extended_key_usages: those of the instance intermediate, by their
        OpenSSL names
    :ivar networks: whose addresses the instance intermediate may certify
    """

    create: bool
    name: str
    key_type: str
    root_lifetime: datetime.timedelta
    intermediate_lifetime: datetime.timedelta
    extended_key_usages: tuple[str, ...]
    networks: tuple[ca_constraints.Network, ...]


@dataclasses.dataclass(frozen=True)
class Authority:
    """A CA, with all that its certificates have in common worked out.

    :ivar key: None where the private key is not in this repository
    """

    kind: str
    id: str
    state: authorities.AuthorityState
    certificate: x509.Certificate
    key: profiles.PrivateKey | None = dataclasses.field(repr=False)

    @functools.cached_property
    def record(self) -> models.CertificateAuthorityRecord:
        """The certificate as the domain knows it."""
        return models.CertificateAuthorityRecord(
            id=self.id,
            der=self.certificate.public_bytes(serialization.Encoding.DER),
        )

    @functools.cached_property
    def not_before(self) -> datetime.datetime:
        """From when it is valid."""
        return self.certificate.not_valid_before_utc

    @functools.cached_property
    def not_after(self) -> datetime.datetime:
        """Until when it is valid."""
        return self.certificate.not_valid_after_utc

    @functools.cached_property
    def name(self) -> x509.Name:
        """The issuer of what it issues."""
        return self.certificate.subject

    @functools.cached_property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The AuthorityKeyIdentifier of what it issues."""
        value = self.certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        ).value
        return x509.AuthorityKeyIdentifier(value.digest, None, None)

    @functools.cached_property
    def bounds(self) -> ca_constraints.Bounds:
        """What it may name."""
        return ca_constraints.Bounds.of(self.certificate)

    @functools.cached_property
    def extended_key_usages(self) -> frozenset[x509.ObjectIdentifier]:
        """What it may issue for; empty: anything."""
        try:
            value = self.certificate.extensions.get_extension_for_class(
                x509.ExtendedKeyUsage
            ).value
        except x509.ExtensionNotFound:
            return frozenset()
        return frozenset(value)

    def get_key(self) -> profiles.PrivateKey:
        """Return the private key.

        :raises CAUnavailable: it is not in this process's repository
        """
        if self.key is None:
            raise exceptions.CAUnavailable(
                'The key of the CA %s is not with this process.' % self.id
            )
        return self.key


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the repository held when we looked.

    :ivar by_kind: the CAs of each kind, the active one first
    """

    by_kind: dict[str, tuple[Authority, ...]]
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
        settings: Settings,
        constraints: ca_constraints.Constraints,
        *,
        list_issuers: Callable[[datetime.datetime], Collection[str]],
        clock: Callable[[], datetime.datetime],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._settings = settings
        self._constraints = constraints
        self._list_issuers = list_issuers
        self._clock = clock
        self._ticks = ticks
        self._mutex = threading.RLock()
        self._snapshot: _Snapshot | None = None

    # Reading.

    def get_active(self, kind: str) -> Authority:
        """Return the CA that issues.

        Makes what is missing, where the settings allow it.

        :param kind: :data:`ROOT`, :data:`SERVICE` or :data:`INSTANCE`
        :raises CAUnavailable: there is none; the log says why
        """
        return self.list(kind)[0]

    def list(self, kind: str) -> tuple[Authority, ...]:
        """Return the CAs of a kind, the active one first.

        :raises CAUnavailable: there is none; the log says why
        """
        found = self._get_snapshot().by_kind[kind]
        if not found:
            raise exceptions.CAUnavailable(
                'This process has no CA of the kind %s.' % kind
            )
        return found

    def check(self) -> None:
        """Compare what is there with the configuration; makes nothing.

        :raises ConfigurationError: the files cannot be used, or the CAs do
            not fit the zones and the check-in URLs
        """
        snapshot = self._read(None)
        for kind, check in (
            (INSTANCE, ca_constraints.check_instance),
            (SERVICE, ca_constraints.check_service),
        ):
            if found := snapshot.by_kind[kind]:
                check(found[0].bounds, self._constraints)
        if not snapshot.by_kind[INSTANCE]:
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

    def _list(self, kind: str) -> tuple[Authority, ...]:
        """Return the CAs of a kind; empty unless one of them is active."""
        found = tuple(
            self._load(kind, stored)
            for stored in self._keys.authorities.list(kind)
        )
        is_active = found and (
            found[0].state is authorities.AuthorityState.ACTIVE
        )
        return found if is_active else ()

    def _load(
        self, kind: str, stored: authorities.StoredAuthority
    ) -> Authority:
        try:
            certificate = x509.load_pem_x509_certificate(stored.certificate)
            key = self._load_key(kind, stored)
            authority_id = get_authority_id(certificate)
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
        return Authority(kind, stored.id, stored.state, certificate, key)

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
            root = found[ROOT][0] if found[ROOT] else self._make_root()
            for kind in (SERVICE, INSTANCE):
                if not found[kind]:
                    self._make_intermediate(
                        kind, root, authorities.AuthorityState.ACTIVE
                    )

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

    def _make_root(self) -> Authority:
        not_before, not_after = self._get_validity(
            self._settings.root_lifetime
        )
        key = profiles.KEY_TYPES[self._settings.key_type].generate()
        name = self._make_name('root CA', key)
        certificate = self._sign(
            key.public_key(),
            name,
            key,
            name,
            not_before,
            not_after,
            [
                (x509.BasicConstraints(ca=True, path_length=1), True),
            ],
        )
        return self._keep(
            ROOT, certificate, key, authorities.AuthorityState.ACTIVE
        )

    def _make_intermediate(
        self, kind: str, root: Authority, state: authorities.AuthorityState
    ) -> Authority:
        """Make an intermediate below the root.

        :raises CAUnavailable: the root's key is elsewhere
        """
        if root.key is None:
            raise exceptions.CAUnavailable(
                'A new intermediate is signed by the root, whose key is not '
                'in this key repository; put key.pem back into ca/root/%s '
                'for as long as that takes.' % root.id
            )
        if kind == INSTANCE:
            title = 'instance CA'
            bounds = ca_constraints.make_instance_bounds(
                self._constraints, self._settings.networks
            )
            usages = self._settings.extended_key_usages
        else:
            title = 'service CA'
            bounds = ca_constraints.make_service_bounds(self._constraints)
            usages = ('serverAuth',)
        not_before, not_after = self._get_validity(
            self._settings.intermediate_lifetime
        )
        key = profiles.KEY_TYPES[self._settings.key_type].generate()
        certificate = self._sign(
            key.public_key(),
            self._make_name(title, key),
            root.key,
            root.name,
            max(not_before, root.not_before),
            min(not_after, root.not_after),
            [
                (x509.BasicConstraints(ca=True, path_length=0), True),
                (bounds.make_extension(), True),
                (
                    x509.ExtendedKeyUsage(
                        profiles.get_extended_key_usages(usages)
                    ),
                    False,
                ),
                (root.key_identifier, False),
            ],
        )
        return self._keep(kind, certificate, key, state)

    def _get_validity(
        self, lifetime: datetime.timedelta
    ) -> tuple[datetime.datetime, datetime.datetime]:
        now = self._clock().replace(microsecond=0)
        return now - _BACKDATE, now + lifetime

    def _make_name(self, title: str, key: profiles.PrivateKey) -> x509.Name:
        text = '%s %s %s' % (
            self._settings.name,
            title,
            _get_key_digest(key.public_key()).hex()[:16],
        )
        return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])

    def _sign(
        self,
        public_key: profiles.PublicKey,
        subject: x509.Name,
        key: profiles.PrivateKey,
        issuer: x509.Name,
        not_before: datetime.datetime,
        not_after: datetime.datetime,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(make_serial())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(_CA_USAGE, critical=True)
            .add_extension(
                make_key_identifier(get_spki(public_key)), critical=False
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key, get_hash(key))

    def _keep(
        self,
        kind: str,
        certificate: x509.Certificate,
        key: profiles.PrivateKey,
        state: authorities.AuthorityState,
    ) -> Authority:
        authority = Authority(
            kind, get_authority_id(certificate), state, certificate, key
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
        with _unavailable(), self._keys.lock():
            self._keys.authorities.remove_strays(kind)
            rotation = self._rotate(kind, reported, in_use)
        with self._mutex:
            self._snapshot = None
        return rotation

    def _rotate(
        self,
        kind: str,
        reported: Collection[frozenset[str]],
        in_use: Collection[str],
    ) -> repository.Rotation:
        store = self._keys.authorities
        before = {a.id: a.state for a in store.list(kind)}
        staged = _find_state(before, authorities.AuthorityState.STAGED)
        is_new = staged is None
        if staged is None:
            root = self._list(ROOT)[0]
            staged = self._make_intermediate(
                kind, root, authorities.AuthorityState.STAGED
            ).id
        is_known = all(staged in ids for ids in reported)
        if is_known:
            store.set_state(kind, staged, authorities.AuthorityState.ACTIVE)
        elif not is_new:
            raise exceptions.Conflict(
                'The staged intermediate %s (%s) is not yet known to all '
                'running processes. Copy the key repository to their hosts, '
                'wait a minute and rotate again.' % (staged, kind)
            )
        removed = []
        for authority_id, state in before.items():
            if (
                state is authorities.AuthorityState.RETIRING
                and authority_id not in in_use
            ):
                store.destroy(kind, authority_id)
                removed.append(authority_id)
        return repository.Rotation(
            kind=kind,
            promoted=staged if is_known else None,
            staged=None if is_known else staged,
            removed=tuple(removed),
            kept=tuple(
                a.id
                for a in store.list(kind)
                if a.state is authorities.AuthorityState.RETIRING
            ),
        )


def make_serial() -> int:
    """Return a random serial number; never 0."""
    return secrets.randbits(SERIAL_BITS) or 1


def get_hash(key: profiles.PrivateKey) -> profiles.HashAlgorithm:
    """Return what a CA's key signs with."""
    key_type = profiles.find_key_type(key)
    return (key_type or profiles.KEY_TYPES['ec-p256']).hash


def get_spki(key: profiles.PublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a key."""
    return key.public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )


def get_authority_id(certificate: x509.Certificate) -> str:
    """Return the id of a CA: 16 hex digits of a digest of its SPKI."""
    key = certificate.public_key()
    if not isinstance(key, profiles.PublicKey):
        raise ValueError('not a CA of ours')
    return _get_key_digest(key).hex()[:16]


def make_key_identifier(spki: bytes) -> x509.SubjectKeyIdentifier:
    """Return the SubjectKeyIdentifier of a key.

    RFC 7093 section 2, method 4: a digest of the SubjectPublicKeyInfo, cut
    to 160 bits; SHA-1 is not needed for it.

    :param spki: DER SubjectPublicKeyInfo
    """
    return x509.SubjectKeyIdentifier(hashlib.sha256(spki).digest()[:20])


def _get_key_digest(key: profiles.PublicKey) -> bytes:
    return hashlib.sha256(get_spki(key)).digest()


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
