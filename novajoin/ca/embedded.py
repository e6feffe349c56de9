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
"""The embedded CA: certificates without a CA of somebody else's.

Nothing in a certificate comes from whoever asks for it but the public key:
names, dates and usages are those of our own record. See
:mod:`novajoin.ca.hierarchy` for the CAs themselves.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
import dataclasses
import datetime
import functools
import ipaddress
from typing import Any
from typing import Final
from typing import Protocol

from cryptography import exceptions as crypto_exceptions
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import oid
from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.ca import base
from novajoin.ca import constraints as ca_constraints
from novajoin.ca import csr as ca_csr
from novajoin.ca import hierarchy
from novajoin.ca import profiles
from novajoin.keys import repository

LOG = logging.getLogger(__name__)

#: The longest common name (RFC 5280 appendix A, ub-common-name).
_MAX_COMMON_NAME: Final = 64

#: How often to look again when other processes publish CRLs too.
_ATTEMPTS: Final = 5

#: Clocks differ: a certificate of the service is valid from a little before.
_BACKDATE: Final = datetime.timedelta(minutes=5)

_NOT_A_CA: Final = x509.BasicConstraints(ca=False, path_length=None)

_REASONS: Final = {
    models.RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    models.RevocationReason.AFFILIATION_CHANGED: (
        x509.ReasonFlags.affiliation_changed
    ),
    models.RevocationReason.SUPERSEDED: x509.ReasonFlags.superseded,
    models.RevocationReason.CESSATION_OF_OPERATION: (
        x509.ReasonFlags.cessation_of_operation
    ),
}


class CrlStore(Protocol):
    """Where CRLs are, and what belongs on them: the database."""

    def find_crl(self, issuer: str) -> models.Crl | None:
        """Return the stored CRL of a CA.

        :raises DatabaseUnavailable: try again
        """

    def put_crl(self, crl: models.Crl) -> bool:
        """Store a CRL, in place of one with a lower number.

        :returns: False, with nothing changed, where the stored one has the
            same or a higher number
        :raises DatabaseUnavailable: try again
        """

    def list_issuers(self, now: datetime.datetime) -> Collection[str]:
        """Return the ids of the CAs that issued what is valid, or have a CRL.

        :raises DatabaseUnavailable: try again
        """

    def list_revoked(
        self, issuer: str, now: datetime.datetime
    ) -> list[models.Revocation]:
        """Return the revoked certificates of a CA that have not expired.

        :raises DatabaseUnavailable: try again
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Store:
    """What the embedded CA persists with.

    :ivar crls: the database
    :ivar keys: the key repository
    :ivar constraints: what certificates may name
    """

    crls: CrlStore
    keys: repository.Repository
    constraints: ca_constraints.Constraints


def make_store(
    crls: CrlStore,
    keys: repository.Repository,
    constraints: ca_constraints.Constraints,
) -> Store:
    """Return a store, for the composition root."""
    return Store(crls, keys, constraints)


def _get_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


class EmbeddedCA(base.CABackend, base.CrlPublisher, base.ServiceIssuer):
    """A root and two intermediates in the key repository.

    :param settings: the group ``[ca_embedded]``
    :param store: a :class:`Store`
    :param clock: the present, in UTC; for the dates of new CAs
    """

    store: Store

    def __init__(
        self,
        settings: Any,
        store: Any = None,
        *,
        clock: Callable[[], datetime.datetime] = _get_now,
    ) -> None:
        super().__init__(settings, store)
        self._clock = clock
        self._known_hierarchy: hierarchy.Hierarchy | None = None
        self._pointers: dict[str, list[x509.ExtensionType]] = {}
        self._listed: dict[str, tuple[int, frozenset[int]]] = {}

    # The contract of the CA backends.

    def validate(self) -> None:
        """Look at the settings and at the CAs that are there.

        Makes none: that is left to the first use.

        :raises ConfigurationError: with the option at fault
        """
        self._get_hierarchy().check()

    def check(self) -> None:
        """Look whether certificates can be issued, and at the CRL's age.

        :raises CAUnavailable: with what is wrong
        """
        now = self._clock()
        authority = self._get_hierarchy().get_active(hierarchy.INSTANCE)
        authority.get_key()
        if authority.not_after <= now:
            raise exceptions.CAUnavailable(
                'The certificate of the instance intermediate expired at %s.'
                % authority.not_after.isoformat()
            )
        crl = self.find_crl(authority.id)
        if crl is not None and crl.next_update <= now:
            raise exceptions.CAUnavailable(
                'The CRL of the instance intermediate is out of date since '
                '%s; is novajoin-notify running?' % crl.next_update.isoformat()
            )

    def get_chain(self) -> models.Chain:
        """Return root and intermediates; makes them where they are missing.

        :raises CAUnavailable: they are missing and cannot be made
        :raises DatabaseUnavailable: they are missing, and it cannot be asked
            whether another host has them
        """
        known = self._get_hierarchy()
        return models.Chain(
            root=known.get_active(hierarchy.ROOT).record,
            service=known.get_active(hierarchy.SERVICE).record,
            instance=known.get_active(hierarchy.INSTANCE).record,
            others=tuple(
                authority.record
                for authority in known.list(hierarchy.INSTANCE)[1:]
            ),
        )

    def get_extended_key_usages(self) -> tuple[str, ...]:
        """Return ``[ca_embedded] extended_key_usages``."""
        return tuple(self.settings.extended_key_usages)

    def issue(
        self, order: models.CertificateOrder
    ) -> models.IssuedCertificate:
        """Sign a certificate for an instance, as ordered.

        Its dates are cut to those of the issuer.

        :raises CAUnavailable: the key is not with this process, or the
            issuer has expired
        :raises IdentityRefused: names or usages that the issuer may not
            certify, or a key that is none
        """
        authority = self._get_hierarchy().get_active(hierarchy.INSTANCE)
        if not order.common_name:
            raise exceptions.IdentityRefused('There is no common name.')
        _check_order(order, authority)
        order = dataclasses.replace(
            order,
            not_before=max(order.not_before, authority.not_before),
            not_after=min(order.not_after, authority.not_after),
        )
        if order.not_before >= order.not_after:
            raise exceptions.CAUnavailable(
                'The instance intermediate is valid until %s; it needs '
                '"novajoin-manage keys rotate ca/instance".'
                % authority.not_after.isoformat()
            )
        return models.IssuedCertificate(
            serial=order.serial,
            issuer=authority.id,
            der=self._sign(authority, order),
            not_before=order.not_before,
            not_after=order.not_after,
        )

    def revoke(
        self,
        issuer: str,
        serial: str,
        reason: models.RevocationReason,
        at: datetime.datetime,
    ) -> None:
        """Do nothing: the database is the CA's own record already.

        :meth:`publish_crl` reads it from there.
        """
        LOG.debug('%s of %s is revoked since %s.', serial, issuer, at)

    # CRLs.

    def find_crl(self, issuer: str) -> models.Crl | None:
        """Return the stored CRL of a CA.

        :param issuer: id of the CA
        :raises DatabaseUnavailable: try again
        """
        return self.store.crls.find_crl(issuer)

    def publish_crl(
        self, now: datetime.datetime, *, force: bool = False
    ) -> models.Crl | None:
        """Sign and store new CRLs of the instance CAs where they are due.

        A retiring CA, whose key may be gone from here, has its own.

        :param now: becomes the CRL's thisUpdate
        :param force: sign a new one of the active CA in any case
        :returns: the active CA's, where a new one was stored, else None
        :raises CAUnavailable: the active CA's key is not with this process
        :raises DatabaseUnavailable: try again
        """
        active, *former = self._get_hierarchy().list(hierarchy.INSTANCE)
        crl = self._publish(active, now, force)
        for authority in former:
            if authority.key is not None:
                self._publish(authority, now, False)
        return crl

    def _publish(
        self,
        authority: hierarchy.Authority,
        now: datetime.datetime,
        force: bool,
    ) -> models.Crl | None:
        now = now.replace(microsecond=0)
        for _ in range(_ATTEMPTS):
            stored = self.find_crl(authority.id)
            revoked = self.store.crls.list_revoked(authority.id, now)
            if not force and not self._is_due(stored, revoked, now):
                return None
            crl = self._sign_crl(authority, stored, revoked, now)
            if self.store.crls.put_crl(crl):
                LOG.info(
                    'Signed CRL %d of %s with %d entries.',
                    crl.number,
                    authority.id,
                    len(revoked),
                )
                return crl
        raise exceptions.CAUnavailable(
            'Other processes publish the CRL of %s all the time.'
            % authority.id
        )

    def _is_due(
        self,
        stored: models.Crl | None,
        revoked: Collection[models.Revocation],
        now: datetime.datetime,
    ) -> bool:
        if stored is None:
            return True
        half = (stored.next_update - stored.this_update) / 2
        if now >= stored.this_update + half:
            return True
        listed = self._get_listed(stored)
        return any(int(entry.serial, 16) not in listed for entry in revoked)

    def _get_listed(self, stored: models.Crl) -> frozenset[int]:
        """Return the serials on a CRL; the last one is remembered."""
        number, serials = self._listed.get(stored.issuer, (0, frozenset()))
        if number != stored.number:
            crl = x509.load_der_x509_crl(stored.der)
            serials = frozenset(entry.serial_number for entry in crl)
            self._listed[stored.issuer] = (stored.number, serials)
        return serials

    def _sign_crl(
        self,
        authority: hierarchy.Authority,
        stored: models.Crl | None,
        revoked: Collection[models.Revocation],
        now: datetime.datetime,
    ) -> models.Crl:
        key = authority.get_key()
        # One after the stored one: who stores it finds out when another
        # process was first. The first one counts seconds, so that numbers
        # grow even when the database is lost.
        number = stored.number + 1 if stored else int(now.timestamp())
        next_update = now + datetime.timedelta(
            seconds=self.settings.crl_lifetime
        )
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.name)
            .last_update(now)
            .next_update(next_update)
            .add_extension(authority.key_identifier, critical=False)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for entry in revoked:
            builder = builder.add_revoked_certificate(_make_entry(entry))
        signed = builder.sign(key, hierarchy.get_hash(key))
        return models.Crl(
            issuer=authority.id,
            number=number,
            der=signed.public_bytes(serialization.Encoding.DER),
            this_update=now,
            next_update=next_update,
        )

    # The check-in service's own certificates.

    def issue_service(
        self, csr: bytes, names: frozenset[str], now: datetime.datetime
    ) -> bytes:
        """Sign a check-in process's own certificate.

        Its common name is its first short DNS name, for people; software
        reads the alternative names.

        :param csr: DER PKCS#10
        :param names: the DNS names and IP addresses that it may ask for
        :param now: the present
        :returns: the certificate, DER
        :raises CsrError: the request is refused
        :raises IdentityRefused: the service intermediate may not certify
            what the configuration allows
        :raises CAUnavailable: the key is not with this process, or the
            issuer has expired
        """
        authority = self._get_hierarchy().get_active(hierarchy.SERVICE)
        authority.get_key()
        request = ca_csr.match_service(csr, names)
        lifetime = datetime.timedelta(
            seconds=self.settings.service_certificate_lifetime
        )
        now = now.replace(microsecond=0)
        order = models.CertificateOrder(
            serial=hierarchy.make_serial(),
            common_name=_get_service_name(request.dns),
            dns=request.dns,
            ip=request.ip,
            uri=(),
            public_key=request.key.public_key,
            eku=('serverAuth',),
            not_before=max(now - _BACKDATE, authority.not_before),
            not_after=min(now + lifetime, authority.not_after),
        )
        _check_order(order, authority)
        if now >= authority.not_after:
            raise exceptions.CAUnavailable(
                'The service intermediate has expired; it needs '
                '"novajoin-manage keys rotate ca/service".'
            )
        return self._sign(authority, order)

    # Rotation, for novajoin-manage.

    def rotate(
        self,
        kind: str,
        *,
        reported: Collection[frozenset[str]] = (),
        in_use: Collection[str] = (),
    ) -> repository.Rotation:
        """Make and promote an intermediate.

        See :meth:`novajoin.ca.hierarchy.Hierarchy.rotate`.
        """
        return self._get_hierarchy().rotate(
            kind, reported=reported, in_use=in_use
        )

    def _get_hierarchy(self) -> hierarchy.Hierarchy:
        if self._known_hierarchy is None:
            self._known_hierarchy = hierarchy.Hierarchy(
                self.store.keys,
                _read_settings(self.settings),
                self.store.constraints,
                list_issuers=self.store.crls.list_issuers,
                clock=self._clock,
            )
        return self._known_hierarchy

    def _sign(
        self, authority: hierarchy.Authority, order: models.CertificateOrder
    ) -> bytes:
        """Sign what was ordered, to the letter.

        :returns: the certificate, DER
        :raises CAUnavailable: the key is not with this process
        :raises IdentityRefused: the public key is none that we accept
        """
        key = authority.get_key()
        public_key, key_type = _load_public_key(order.public_key)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(authority.name)
            .subject_name(_make_subject(order.common_name))
            .public_key(public_key)
            .serial_number(order.serial)
            .not_valid_before(order.not_before)
            .not_valid_after(order.not_after)
            .add_extension(_NOT_A_CA, critical=True)
            .add_extension(key_type.key_usage, critical=True)
            .add_extension(_make_usages(order.eku), critical=False)
            # Critical where it is all there is (RFC 5280 4.2.1.6).
            .add_extension(_make_names(order), critical=not order.common_name)
            .add_extension(
                hierarchy.make_key_identifier(order.public_key),
                critical=False,
            )
            .add_extension(authority.key_identifier, critical=False)
        )
        for extension in self._get_pointers(authority):
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(key, hierarchy.get_hash(key))
        return certificate.public_bytes(serialization.Encoding.DER)

    def _get_pointers(
        self, authority: hierarchy.Authority
    ) -> list[x509.ExtensionType]:
        """Return where instances' certificates point to, by the settings.

        What the service intermediate issues is short-lived and on no CRL.
        """
        if authority.kind != hierarchy.INSTANCE:
            return []
        if authority.id not in self._pointers:
            self._pointers[authority.id] = _make_pointers(
                self.settings, authority.id
            )
        return self._pointers[authority.id]


def _read_settings(settings: Any) -> hierarchy.Settings:
    """Read the group ``[ca_embedded]`` as far as it is about CAs.

    :raises ConfigurationError: with the option at fault
    """
    for name in settings.extended_key_usages:
        if name not in profiles.EXTENDED_KEY_USAGES:
            raise exceptions.ConfigurationError(
                '[ca_embedded] extended_key_usages',
                '%r is not among %s.'
                % (name, ', '.join(sorted(profiles.EXTENDED_KEY_USAGES))),
            )
    if not settings.extended_key_usages:
        raise exceptions.ConfigurationError(
            '[ca_embedded] extended_key_usages',
            'a certificate that may be used for nothing is of no use.',
        )
    try:
        networks = tuple(map(ipaddress.ip_network, settings.ip_networks))
    except ValueError as error:
        raise exceptions.ConfigurationError(
            '[ca_embedded] ip_networks', '%s.' % error
        ) from error
    return hierarchy.Settings(
        create=settings.create,
        name=settings.name,
        key_type=settings.key_type,
        root_lifetime=datetime.timedelta(days=settings.root_lifetime),
        intermediate_lifetime=datetime.timedelta(
            days=settings.intermediate_lifetime
        ),
        extended_key_usages=tuple(settings.extended_key_usages),
        networks=networks,
    )


def _check_order(
    order: models.CertificateOrder, authority: hierarchy.Authority
) -> None:
    """Look whether an order is one that its issuer may carry out.

    :raises IdentityRefused: it is not
    """
    bounds = authority.bounds
    for name in order.dns:
        if name != name.lower() or not name.isascii() or '*' in name:
            raise exceptions.IdentityRefused(
                'The name %s is not a plain DNS name.' % ascii(name)
            )
        if not bounds.permits_dns(name):
            raise exceptions.IdentityRefused(
                'The CA is not permitted to certify the name %s.' % name
            )
    for address in order.ip:
        if not bounds.permits_ip(ipaddress.ip_address(address)):
            raise exceptions.IdentityRefused(
                'The CA is not permitted to certify the address %s.' % address
            )
    if len(order.common_name) > _MAX_COMMON_NAME or (
        '.' in order.common_name and order.common_name not in order.dns
    ):
        raise exceptions.IdentityRefused(
            'The common name %s is longer than %d characters, or not among '
            'the DNS names.' % (ascii(order.common_name), _MAX_COMMON_NAME)
        )
    if not 0 < order.serial < 1 << hierarchy.SERIAL_BITS:
        raise exceptions.IdentityRefused('The serial number is out of range.')
    _check_usages(order.eku, authority)


def _check_usages(
    names: Collection[str], authority: hierarchy.Authority
) -> None:
    wanted = {profiles.EXTENDED_KEY_USAGES.get(name) for name in names}
    if not wanted or wanted - authority.extended_key_usages:
        raise exceptions.IdentityRefused(
            'The CA is not permitted to certify these usages: %s.'
            % (', '.join(names) or 'none')
        )


def _load_public_key(
    spki: bytes,
) -> tuple[profiles.PublicKey, profiles.KeyType]:
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, crypto_exceptions.UnsupportedAlgorithm):
        key = None
    key_type = profiles.find_key_type(key)
    if key_type is None or not isinstance(key, profiles.PublicKey):
        raise exceptions.IdentityRefused(
            'The CA does not certify keys of this type.'
        )
    return key, key_type


def _get_service_name(dns: Sequence[str]) -> str:
    """Return the common name of a service certificate; may be empty.

    Verifiers (GnuTLS) hold a common name to the constraints on DNS names,
    whatever it looks like: it is a DNS name of the certificate or nothing.
    """
    for name in dns:
        if len(name) <= _MAX_COMMON_NAME:
            return name
    return ''


def _make_subject(common_name: str) -> x509.Name:
    if not common_name:
        return x509.Name([])
    return x509.Name(
        [x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name)]
    )


@functools.lru_cache(maxsize=16)
def _make_usages(names: tuple[str, ...]) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(profiles.get_extended_key_usages(names))


def _make_names(
    order: models.CertificateOrder,
) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in order.dns]
    names += [
        x509.IPAddress(ipaddress.ip_address(address)) for address in order.ip
    ]
    names += [x509.UniformResourceIdentifier(uri) for uri in order.uri]
    return x509.SubjectAlternativeName(names)


def _make_pointers(settings: Any, issuer: str) -> list[x509.ExtensionType]:
    pointers: list[x509.ExtensionType] = []
    if settings.crl_url:
        url = '%s/crl/%s.crl' % (settings.crl_url.rstrip('/'), issuer)
        pointers.append(
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        full_name=[x509.UniformResourceIdentifier(url)],
                        relative_name=None,
                        reasons=None,
                        crl_issuer=None,
                    )
                ]
            )
        )
    if settings.issuer_url:
        pointers.append(
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        oid.AuthorityInformationAccessOID.CA_ISSUERS,
                        x509.UniformResourceIdentifier(settings.issuer_url),
                    )
                ]
            )
        )
    return pointers


def _make_entry(entry: models.Revocation) -> x509.RevokedCertificate:
    """Return the entry of a CRL; no reason is said by leaving it out."""
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(int(entry.serial, 16))
        .revocation_date(entry.revoked_at)
    )
    reason = _REASONS.get(entry.reason)
    if reason is not None:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()
