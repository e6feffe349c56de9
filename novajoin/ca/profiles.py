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
"""Key types and usages by the names that settings and payloads call them."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import oid

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
HashAlgorithm = hashes.SHA256 | hashes.SHA384
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_RSA_EXPONENT: Final = 65537


@dataclasses.dataclass(frozen=True, slots=True)
class KeyType:
    """A kind of key that certificates may hold.

    :ivar name: for instance ``ec-p256``
    :ivar generate: makes a new one
    :ivar hash: what such a key signs with
    :ivar key_usage: the key usage of an end entity with such a key
    """

    name: str
    generate: Callable[[], PrivateKey]
    hash: HashAlgorithm
    key_usage: x509.KeyUsage


def make_key_usage(*names: str) -> x509.KeyUsage:
    """Return a key usage extension with the named bits on.

    :param names: as the arguments of ``x509.KeyUsage``
    """
    bits = dict.fromkeys(
        (
            'digital_signature',
            'content_commitment',
            'key_encipherment',
            'data_encipherment',
            'key_agreement',
            'key_cert_sign',
            'crl_sign',
            'encipher_only',
            'decipher_only',
        ),
        False,
    )
    return x509.KeyUsage(**bits | dict.fromkeys(names, True))


#: Every key type that the project knows.
KEY_TYPES: Final[Mapping[str, KeyType]] = {
    key_type.name: key_type
    for key_type in (
        KeyType(
            'ec-p256',
            lambda: ec.generate_private_key(ec.SECP256R1()),
            hashes.SHA256(),
            make_key_usage('digital_signature'),
        ),
        KeyType(
            'ec-p384',
            lambda: ec.generate_private_key(ec.SECP384R1()),
            hashes.SHA384(),
            make_key_usage('digital_signature'),
        ),
        KeyType(
            'rsa-3072',
            lambda: rsa.generate_private_key(_RSA_EXPONENT, 3072),
            hashes.SHA256(),
            make_key_usage('digital_signature', 'key_encipherment'),
        ),
    )
}

#: Extended key usages by their OpenSSL names.
EXTENDED_KEY_USAGES: Final[Mapping[str, x509.ObjectIdentifier]] = {
    'clientAuth': oid.ExtendedKeyUsageOID.CLIENT_AUTH,
    'serverAuth': oid.ExtendedKeyUsageOID.SERVER_AUTH,
    'codeSigning': oid.ExtendedKeyUsageOID.CODE_SIGNING,
    'emailProtection': oid.ExtendedKeyUsageOID.EMAIL_PROTECTION,
    'ipsecIKE': oid.ExtendedKeyUsageOID.IPSEC_IKE,
}

_CURVES: Final = {'secp256r1': 'ec-p256', 'secp384r1': 'ec-p384'}


def find_key_type(key: object) -> KeyType | None:
    """Return the type of a public or private key, None for any other.

    :param key: an object of the cryptography library
    """
    name = None
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        name = _CURVES.get(key.curve.name)
    elif isinstance(key, rsa.RSAPrivateKey):
        return find_key_type(key.public_key())
    elif (
        isinstance(key, rsa.RSAPublicKey)
        and key.key_size == 3072
        and key.public_numbers().e == _RSA_EXPONENT
    ):
        name = 'rsa-3072'
    return KEY_TYPES[name] if name else None


def get_extended_key_usages(
    names: Iterable[str],
) -> tuple[x509.ObjectIdentifier, ...]:
    """Return the object identifiers of extended key usages, in order.

    :param names: OpenSSL names
    :raises KeyError: with a name that is not known
    """
    return tuple(EXTENDED_KEY_USAGES[name] for name in names)
