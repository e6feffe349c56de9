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
"""One CA of the embedded backend, and what every CA is told by."""

import dataclasses
import datetime
import functools
import hashlib
import secrets
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from novajoin import exceptions
from novajoin import models
from novajoin.ca import constraints as ca_constraints
from novajoin.ca import profiles
from novajoin.keys import authorities

#: Bits of a serial number (RFC 5280 4.1.2.2 allows 159).
SERIAL_BITS: Final = 127


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

    def permits_usage(self, name: str) -> bool:
        """Whether it may issue for a usage, by OpenSSL's name."""
        usage = profiles.EXTENDED_KEY_USAGES.get(name)
        return usage is not None and (
            not self.extended_key_usages or usage in self.extended_key_usages
        )

    def get_key(self) -> profiles.PrivateKey:
        """Return the private key.

        :raises CAUnavailable: it is not in this process's repository
        """
        if self.key is None:
            raise exceptions.CAUnavailable(
                'The key of the CA %s is not with this process.' % self.id
            )
        return self.key


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
    return get_key_digest(key).hex()[:16]


def make_key_identifier(spki: bytes) -> x509.SubjectKeyIdentifier:
    """Return the SubjectKeyIdentifier of a key.

    RFC 7093 section 2, method 4: a digest of the SubjectPublicKeyInfo, cut
    to 160 bits; SHA-1 is not needed for it.

    :param spki: DER SubjectPublicKeyInfo
    """
    return x509.SubjectKeyIdentifier(hashlib.sha256(spki).digest()[:20])


def get_key_digest(key: profiles.PublicKey) -> bytes:
    return hashlib.sha256(get_spki(key)).digest()
