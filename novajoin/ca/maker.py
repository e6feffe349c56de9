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
"""Makes the certificates of CAs: the root's and the intermediates'."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Final

from cryptography import x509
from cryptography.x509 import oid

from novajoin import exceptions
from novajoin.ca import authority
from novajoin.ca import constraints as ca_constraints
from novajoin.ca import pointers
from novajoin.ca import profiles
from novajoin.keys import authorities

#: A CA is valid from a little before it is made: clocks differ.
_BACKDATE: Final = datetime.timedelta(hours=1)
_CA_USAGE: Final = profiles.make_key_usage('key_cert_sign', 'crl_sign')

#: A certificate with its key.
Made = tuple[x509.Certificate, profiles.PrivateKey]


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a new CA is made with.

    :ivar create: whether to make a root where there is none
    :ivar name: what the names of the CAs begin with
    :ivar key_type: for instance ``ec-p256``
    :ivar extended_key_usages: those of the instance intermediate, by their
        OpenSSL names
    :ivar networks: whose addresses the instance intermediate may certify
    :ivar crl_url: where the root's CRL is fetched, or None
    """

    create: bool
    name: str
    key_type: str
    root_lifetime: datetime.timedelta
    intermediate_lifetime: datetime.timedelta
    extended_key_usages: tuple[str, ...]
    networks: tuple[ca_constraints.Network, ...]
    crl_url: str | None = None


class Maker:
    """Make CAs; keeps nothing.

    :param settings: what they are made with
    :param constraints: what certificates may name
    :param clock: the present, in UTC
    """

    def __init__(
        self,
        settings: Settings,
        constraints: ca_constraints.Constraints,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._settings = settings
        self._constraints = constraints
        self._clock = clock

    def make_root(self) -> Made:
        """Make a root."""
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
        return certificate, key

    def make_intermediate(self, kind: str, root: authority.Authority) -> Made:
        """Make an intermediate below the root.

        :param kind: ``ca/service`` or ``ca/instance``
        :raises CAUnavailable: the root's key is elsewhere
        :raises ConfigurationError: zones and check-in URLs do not go together
        """
        root_key = get_root_key(root)
        if kind == authorities.INSTANCE:
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
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (bounds.make_extension(), True),
            (
                x509.ExtendedKeyUsage(
                    profiles.get_extended_key_usages(usages)
                ),
                False,
            ),
            (root.key_identifier, False),
        ]
        url = self._settings.crl_url
        if kind == authorities.SERVICE:
            url = pointers.find_service_url(url)
        if url:
            pointer = pointers.make_crl_pointer(url, root.id)
            extensions.append((pointer, False))
        certificate = self._sign(
            key.public_key(),
            self._make_name(title, key),
            root_key,
            root.name,
            max(not_before, root.not_before),
            min(not_after, root.not_after),
            extensions,
        )
        return certificate, key

    def _get_validity(
        self, lifetime: datetime.timedelta
    ) -> tuple[datetime.datetime, datetime.datetime]:
        now = self._clock().replace(microsecond=0)
        return now - _BACKDATE, now + lifetime

    def _make_name(self, title: str, key: profiles.PrivateKey) -> x509.Name:
        text = '%s %s %s' % (
            self._settings.name,
            title,
            authority.get_key_digest(key.public_key()).hex()[:16],
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
            .serial_number(authority.make_serial())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(_CA_USAGE, critical=True)
            .add_extension(
                authority.make_key_identifier(authority.get_spki(public_key)),
                critical=False,
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key, authority.get_hash(key))


def get_root_key(root: authority.Authority) -> profiles.PrivateKey:
    """Return the root's key.

    :raises CAUnavailable: it is elsewhere
    """
    if root.key is None:
        raise exceptions.CAUnavailable(
            "An intermediate is signed and revoked with the root's key, which "
            'is not in this key repository; put key.pem back into ca/root/%s '
            'for as long as that takes.' % root.id
        )
    return root.key
