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
"""The certificate that the check-in processes serve with, as data."""

from collections.abc import Sequence
import dataclasses
import datetime
import ipaddress
from typing import Final
import urllib.parse

from cryptography import exceptions as crypto_exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from novajoin import exceptions

_LONGEST_COMMON_NAME: Final = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Own:
    """A certificate with its key, as read from a file.

    :ivar names: DNS names and IP addresses in text form
    :ivar issuer: the service intermediate, DER
    :ivar serial: lower-case hex digits
    """

    names: frozenset[str]
    not_before: datetime.datetime
    not_after: datetime.datetime
    issuer: bytes
    serial: str

    @property
    def renew_at(self) -> datetime.datetime:
        """When two thirds of its life are over."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3


def get_names(urls: Sequence[str]) -> frozenset[str]:
    """Return the names that the certificate has to have.

    :param urls: ``[checkin] urls``
    :raises ConfigurationError: one is not ``https://name[:port]``
    """
    names = set()
    for url in urls:
        try:
            parts = urllib.parse.urlsplit(url)
            host = parts.hostname
            _ = parts.port  # raises when it is not one
        except ValueError:
            host = None
        if (
            not host
            or parts.scheme != 'https'
            or parts.path not in ('', '/')
            or parts.query
            or parts.fragment
            or '@' in parts.netloc
        ):
            raise exceptions.ConfigurationError(
                '[checkin] urls',
                '%r is not of the form https://name:port' % url,
            )
        names.add(_normalize(host))
    return frozenset(names)


def _normalize(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip('.')


def make_key() -> str:
    """Return a new key: PEM, PKCS#8, not encrypted."""
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def load_key(text: str) -> ec.EllipticCurvePrivateKey:
    """Return a key as made by :func:`make_key`.

    :raises ValueError: it is no such key
    """
    key = serialization.load_pem_private_key(text.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError('not a key of an elliptic curve')
    return key


def make_csr(key: str, names: frozenset[str]) -> bytes:
    """Return a request for a check-in certificate, DER.

    :param key: as made by :func:`make_key`
    :param names: DNS names and IP addresses in text form
    """
    general: list[x509.GeneralName] = []
    common_name = ''
    for name in sorted(names):
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
            if not common_name and len(name) <= _LONGEST_COMMON_NAME:
                common_name = name
    subject = []
    if common_name:
        subject = [x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name)]
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        .sign(load_key(key), hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def parse(text: bytes) -> Own:
    """Return what a file with key, certificate and intermediate holds.

    :raises ValueError: anything is wrong with it
    """
    key = serialization.load_pem_private_key(text, password=None)
    leaf, *others = x509.load_pem_x509_certificates(text)
    if not others:
        raise ValueError('the service intermediate is missing')
    if leaf.public_key() != key.public_key():
        raise ValueError('key and certificate do not belong together')
    try:
        leaf.verify_directly_issued_by(others[0])
        names = leaf.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except crypto_exceptions.InvalidSignature:
        raise ValueError('the intermediate did not issue it') from None
    except (TypeError, x509.ExtensionNotFound) as error:
        raise ValueError(str(error)) from None
    return Own(
        names=frozenset(
            str(name)
            for kind in (x509.DNSName, x509.IPAddress)
            for name in names.get_values_for_type(kind)
        ),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issuer=others[0].public_bytes(serialization.Encoding.DER),
        serial='%x' % leaf.serial_number,
    )
