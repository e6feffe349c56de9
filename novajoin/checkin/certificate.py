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
from novajoin.ca import csr as ca_csr
from novajoin.enrollment import naming

#: So many check-in URLs fit into a payload.
_MOST_URLS: Final = 8
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


def canonicalize_urls(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the check-in URLs as instances are told them.

    Host names are lower-case A-labels without a final dot, so that each of
    them is a name in the certificate; nothing follows the port.

    :param urls: ``[checkin] urls``
    :raises ConfigurationError: one is not ``https://name[:port]``, or there
        are too many for a payload
    """
    if len(urls) > _MOST_URLS:
        raise exceptions.ConfigurationError(
            '[checkin] urls',
            'there are %d; an instance is given %d at most'
            % (len(urls), _MOST_URLS),
        )
    canonical = []
    for url in urls:
        host, port = _split(url)
        canonical.append(
            'https://%s%s'
            % (
                '[%s]' % host if ':' in host else host,
                '' if port is None else ':%d' % port,
            )
        )
    return tuple(canonical)


def get_names(urls: Sequence[str]) -> frozenset[str]:
    """Return the names that the certificate has to have.

    :param urls: ``[checkin] urls``
    :returns: canonical DNS names and IP addresses, those without a zone
    :raises ConfigurationError: one is not ``https://name[:port]``
    """
    # The CA reads the same names out of the URLs and out of requests: were
    # they normalized twice, a certificate could lack a name for ever.
    addresses, dns = ca_csr.split_names([_split(url)[0] for url in urls])
    return addresses | dns


def _split(url: str) -> tuple[str, int | None]:
    """Return host and port of a check-in URL.

    :returns: an address, in the case of IPv6 perhaps with a zone, or a
        canonical name; None where the port is left out
    :raises ConfigurationError: it is not ``https://name[:port]``
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if (
        not host
        or port == 0
        or parts.scheme != 'https'
        or parts.path not in ('', '/')
        or parts.query
        or parts.fragment
        or '@' in parts.netloc
    ):
        raise exceptions.ConfigurationError(
            '[checkin] urls',
            '%s is not of the form https://name:port' % ascii(url),
        )
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            host = naming.canonicalize(host)
        except exceptions.InvalidHostname as exc:
            raise exceptions.ConfigurationError(
                '[checkin] urls', '%s: %s' % (ascii(url), exc.message)
            ) from exc
    return host, port


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
