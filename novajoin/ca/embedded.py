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

from cryptography import exceptions as crypto_exceptions
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import oid
from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.ca import authority as ca_authority
from novajoin.ca import base
from novajoin.ca import constraints as ca_constraints
from novajoin.ca import crl
from novajoin.ca import csr as ca_csr
from novajoin.ca import hierarchy
from novajoin.ca import maker
from novajoin.ca import pointers
from novajoin.ca import profiles
from novajoin.keys import repository

LOG = logging.getLogger(__name__)

#: The longest common name (RFC 5280 appendix A, ub-common-name).
_MAX_COMMON_NAME: Final = 64

#: Clocks differ: a certificate of the service is valid from a little before.
_BACKDATE: Final = datetime.timedelta(minutes=5)

_NOT_A_CA: Final = x509.BasicConstraints(ca=False, path_length=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Store:
    """What the embedded CA persists with.

    :ivar crls: the database
    :ivar keys: the key repository
    :ivar constraints: what certificates may name
    """

    crls: crl.CrlStore
    keys: repository.Repository
    constraints: ca_constraints.Constraints


def make_store(
    crls: crl.CrlStore,
    keys: repository.Repository,
    constraints: ca_constraints.Constraints,
) -> Store:
    """Return a store, for the composition root."""
    return Store(crls, keys, constraints)


def _get_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


class EmbeddedCA(
    base.CABackend,
    base.OrderChecker,
    base.CrlPublisher,
    base.ServiceIssuer,
):
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
        self._compromised: tuple[datetime.datetime | None, frozenset[int]] = (
            None,
            frozenset(),
        )

    # The contract of the CA backends.

    def validate(self) -> None:
        """Look at the settings and at the CAs that are there.

        Makes none: that is left to the first use.

        :raises ConfigurationError: with the option at fault
        """
        self._get_hierarchy().check()

    def check(self) -> None:
        """Look whether certificates can be issued.

        :raises CAUnavailable: with what is wrong
        """
        authority = self._get_issuer(hierarchy.INSTANCE)
        if authority.not_after <= self._clock():
            raise exceptions.CAUnavailable(
                'The certificate of the instance intermediate expired at %s.'
                % authority.not_after.isoformat()
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
        """Return ``[ca_embedded] extended_key_usages``.

        Without what the intermediate that issues does not permit: for a
        moment of a rotation the process may have other settings than that.

        :raises CAUnavailable: there is no CA
        """
        authority = self._get_hierarchy().get_active(hierarchy.INSTANCE)
        return tuple(
            name
            for name in self.settings.extended_key_usages
            if authority.permits_usage(name)
        )

    def check_order(self, order: models.CertificateOrder) -> None:
        """Look whether :meth:`issue` would refuse an order.

        :raises CAUnavailable: there is no CA
        :raises IdentityRefused: names or usages that the issuer may not
            certify, or a key that is none
        """
        _check_instance_order(
            order, self._get_hierarchy().get_active(hierarchy.INSTANCE)
        )
        _load_public_key(order.public_key)

    def issue(
        self, order: models.CertificateOrder
    ) -> models.IssuedCertificate:
        """Sign a certificate for an instance, as ordered.

        Its dates are cut to those of the issuer.

        :raises CAUnavailable: the key is not with this process, or the
            issuer has expired or was revoked
        :raises DatabaseUnavailable: try again
        :raises IdentityRefused: names or usages that the issuer may not
            certify, or a key that is none
        """
        authority = self._get_issuer(hierarchy.INSTANCE)
        _check_instance_order(order, authority)
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
        published = self._publisher.publish(active, now, force=force)
        for authority in former:
            if authority.key is not None:
                self._publisher.publish(authority, now)
        return published

    def publish_other_crls(
        self, now: datetime.datetime, *, force: bool = False
    ) -> list[models.Crl]:
        """Sign and store new CRLs of root and service CAs where they are due.

        The root's key may be offline: what is due then is warned of in time.

        :param now: becomes the CRLs' thisUpdate
        :param force: sign new ones in any case
        :returns: the new ones
        :raises CAUnavailable: there are no CAs
        :raises DatabaseUnavailable: try again
        """
        published = []
        for authority in self._get_hierarchy().list_all():
            if authority.kind == hierarchy.INSTANCE or authority.key is None:
                continue
            new = self._publisher.publish(authority, now, force=force)
            if new is not None:
                published.append(new)
        self._publisher.warn(self.list_crl_faults(now), now)
        return published

    def list_crl_faults(self, now: datetime.datetime) -> list[str]:
        """Return which CRLs are, or are about to be, out of date.

        :returns: sentences for the operator
        :raises CAUnavailable: there are no CAs
        :raises DatabaseUnavailable: try again
        """
        faults = [
            self._publisher.find_fault(authority, now)
            for authority in self._get_hierarchy().list_all()
        ]
        return [fault for fault in faults if fault is not None]

    @functools.cached_property
    def _publisher(self) -> crl.Publisher:
        lifetime = datetime.timedelta(seconds=self.settings.crl_lifetime)
        return crl.Publisher(
            self.store.crls,
            {
                hierarchy.ROOT: datetime.timedelta(
                    days=self.settings.root_crl_lifetime
                ),
                hierarchy.SERVICE: lifetime,
                hierarchy.INSTANCE: lifetime,
            },
        )

    # The check-in service's own certificates.

    def issue_service(
        self, csr: bytes, names: frozenset[str], now: datetime.datetime
    ) -> models.IssuedCertificate:
        """Sign a check-in process's own certificate.

        Its common name is its first short DNS name, for people; software
        reads the alternative names.

        :param csr: DER PKCS#10
        :param names: the DNS names and IP addresses that it may ask for
        :param now: the present
        :raises CsrError: the request is refused
        :raises IdentityRefused: the service intermediate may not certify
            what the configuration allows
        :raises CAUnavailable: the key is not with this process, or the
            issuer has expired or was revoked
        """
        authority = self._get_issuer(hierarchy.SERVICE)
        request = ca_csr.match_service(csr, names)
        lifetime = datetime.timedelta(
            seconds=self.settings.service_certificate_lifetime
        )
        now = now.replace(microsecond=0)
        order = models.CertificateOrder(
            serial=ca_authority.make_serial(),
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
        return models.IssuedCertificate(
            serial=order.serial,
            issuer=authority.id,
            der=self._sign(authority, order),
            not_before=order.not_before,
            not_after=order.not_after,
        )

    # Rotation and leaks, for novajoin-manage.

    def rotate(
        self,
        kind: str,
        *,
        reported: Collection[frozenset[str]] = (),
        in_use: Collection[str] = (),
    ) -> repository.Rotation:
        """Make and promote an intermediate.

        See :meth:`novajoin.ca.hierarchy.Hierarchy.rotate`. While the root's
        key is at hand, its CRL is signed for another while.
        """
        rotation = self._get_hierarchy().rotate(
            kind, reported=reported, in_use=in_use
        )
        self.publish_other_crls(self._clock(), force=True)
        return rotation

    def compromise(self, kind: str, authority_id: str) -> str:
        """Use another intermediate at once, and put this on the root's CRL.

        It goes on signing its own CRL: what it issued is served until it is
        replaced. Idempotent; whatever stops it, doing it again completes it.

        :param kind: ``ca/service`` or ``ca/instance``
        :param authority_id: of an intermediate in the key repository
        :returns: the id of the CA that issues from now on
        :raises ConfigurationError: it is the root
        :raises CAUnavailable: the root's key is elsewhere, or nothing can be
            written
        :raises DatabaseUnavailable: try again
        """
        known = self._get_hierarchy()
        authority = known.retire(kind, authority_id)
        now = self._clock().replace(microsecond=0)
        root = known.get_active(hierarchy.ROOT)
        self.store.crls.revoke_authority(
            models.RevokedAuthority(
                id=authority.id,
                issuer=root.id,
                serial='%x' % authority.certificate.serial_number,
                not_after=authority.not_after,
                revoked_at=now,
            )
        )
        self.publish_other_crls(now, force=True)
        return known.get_active(kind).id

    def _get_issuer(self, kind: str) -> ca_authority.Authority:
        """Return the intermediate that issues, with its key.

        Where it is on the root's CRL there is another one; the key
        repository of this host may not have it yet.

        :raises CAUnavailable: it or its key is not here
        """
        known = self._get_hierarchy()
        issuer = known.get_active(kind)
        if self._is_compromised(issuer):
            known.reload()
            issuer = known.get_active(kind)
            if self._is_compromised(issuer):
                raise exceptions.CAUnavailable(
                    'The CA %s is revoked, and another one issues in its '
                    'place; copy the key repository from the host that has '
                    'it.' % issuer.id
                )
        issuer.get_key()
        return issuer

    def _is_compromised(self, authority: ca_authority.Authority) -> bool:
        now = self._clock()
        read_at, serials = self._compromised
        age = (now - read_at).total_seconds() if read_at else -1
        if not 0 <= age < repository.MAX_AGE:
            root = self._get_hierarchy().get_active(hierarchy.ROOT)
            entries = self.store.crls.list_revoked(root.id, now)
            serials = frozenset(int(entry.serial, 16) for entry in entries)
            self._compromised = (now, serials)
        return authority.certificate.serial_number in serials

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
        self, authority: ca_authority.Authority, order: models.CertificateOrder
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
            .add_extension(ca_csr.make_usages(order.eku), critical=False)
            # Critical where it is all there is (RFC 5280 4.2.1.6).
            .add_extension(_make_names(order), critical=not order.common_name)
            .add_extension(
                ca_authority.make_key_identifier(order.public_key),
                critical=False,
            )
            .add_extension(authority.key_identifier, critical=False)
        )
        for extension in self._get_pointers(authority):
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(key, ca_authority.get_hash(key))
        return certificate.public_bytes(serialization.Encoding.DER)

    def _get_pointers(
        self, authority: ca_authority.Authority
    ) -> list[x509.ExtensionType]:
        """Return where certificates of a CA point to, by the settings."""
        if authority.id not in self._pointers:
            made: list[x509.ExtensionType] = []
            url = self.settings.crl_url
            if authority.kind == hierarchy.SERVICE:
                url = pointers.find_service_url(url)
            if url:
                made.append(pointers.make_crl_pointer(url, authority.id))
            # There is one URL, and it is of the instance intermediate.
            if (
                self.settings.issuer_url
                and authority.kind == hierarchy.INSTANCE
            ):
                made.append(
                    pointers.make_issuer_pointer(self.settings.issuer_url)
                )
            self._pointers[authority.id] = made
        return self._pointers[authority.id]


def _read_settings(settings: Any) -> maker.Settings:
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
    if 'clientAuth' not in settings.extended_key_usages:
        raise exceptions.ConfigurationError(
            '[ca_embedded] extended_key_usages',
            'clientAuth is missing: no instance could renew its certificate, '
            'which it shows as TLS client certificate.',
        )
    try:
        networks = tuple(map(ipaddress.ip_network, settings.ip_networks))
    except ValueError as error:
        raise exceptions.ConfigurationError(
            '[ca_embedded] ip_networks', '%s.' % error
        ) from error
    return maker.Settings(
        create=settings.create,
        name=settings.name,
        key_type=settings.key_type,
        root_lifetime=datetime.timedelta(days=settings.root_lifetime),
        intermediate_lifetime=datetime.timedelta(
            days=settings.intermediate_lifetime
        ),
        extended_key_usages=tuple(settings.extended_key_usages),
        networks=networks,
        crl_url=settings.crl_url,
    )


def _check_instance_order(
    order: models.CertificateOrder, authority: ca_authority.Authority
) -> None:
    if not order.common_name:
        raise exceptions.IdentityRefused('There is no common name.')
    _check_order(order, authority)


def _check_order(
    order: models.CertificateOrder, authority: ca_authority.Authority
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
    if not 0 < order.serial < 1 << ca_authority.SERIAL_BITS:
        raise exceptions.IdentityRefused('The serial number is out of range.')
    _check_usages(order.eku, authority)


def _check_usages(
    names: Collection[str], authority: ca_authority.Authority
) -> None:
    if not names or not all(map(authority.permits_usage, names)):
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


def _make_names(
    order: models.CertificateOrder,
) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in order.dns]
    names += [
        x509.IPAddress(ipaddress.ip_address(address)) for address in order.ip
    ]
    names += [x509.UniformResourceIdentifier(uri) for uri in order.uri]
    return x509.SubjectAlternativeName(names)
