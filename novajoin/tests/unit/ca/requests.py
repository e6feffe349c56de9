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
"""CSRs of every shape, also of those that no library would make.

Everything is put together from DER by hand and signed with a real key.
"""

import functools

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa

UTF8 = 0x0C
PRINTABLE = 0x13

SAN = '2.5.29.17'
KEY_USAGE = '2.5.29.15'
EKU = '2.5.29.37'
BASIC_CONSTRAINTS = '2.5.29.19'
CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
EXTENSION_REQUEST = '1.2.840.113549.1.9.14'
CHALLENGE_PASSWORD = '1.2.840.113549.1.9.7'
MS_EXTENSION_REQUEST = '1.3.6.1.4.1.311.2.1.14'


def tlv(tag, *parts):
    content = b''.join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, 'big')
    return bytes([tag, 0x80 | len(length)]) + length + content


def seq(*parts):
    return tlv(0x30, *parts)


def set_of(*parts):
    return tlv(0x31, *sorted(parts))


def oid(dotted):
    first, second, *rest = (int(part) for part in dotted.split('.'))
    out = b''
    for arc in [first * 40 + second, *rest]:
        chunk = [arc & 0x7F]
        while arc := arc >> 7:
            chunk.insert(0, 0x80 | arc & 0x7F)
        out += bytes(chunk)
    return tlv(0x06, out)


def rdn(*pairs):
    """Each pair is (dotted type, text or bytes[, string tag])."""
    return set_of(
        *(
            seq(
                oid(name),
                tlv(
                    rest[0] if rest else UTF8,
                    text if isinstance(text, bytes) else text.encode(),
                ),
            )
            for name, text, *rest in pairs
        )
    )


def cn(text, tag=UTF8):
    return rdn(('2.5.4.3', text, tag))


def dns(name):
    return tlv(0x82, name if isinstance(name, bytes) else name.encode())


def email(name):
    return tlv(0x81, name.encode())


def uri(name):
    return tlv(0x86, name if isinstance(name, bytes) else name.encode())


def ip(packed):
    return tlv(0x87, packed)


def extension(name, value, critical=False):
    flag = (tlv(0x01, b'\xff'),) if critical else ()
    return seq(oid(name), *flag, tlv(0x04, value))


def san(*names, critical=False):
    return extension(SAN, seq(*names), critical)


def eku(*names):
    return extension(EKU, seq(*(oid(name) for name in names)))


def key_usage(unused, *octets, critical=True):
    value = tlv(0x03, bytes([unused, *octets]))
    return extension(KEY_USAGE, value, critical)


def attribute(name, *values):
    return seq(oid(name), tlv(0x31, *values))


def extension_request(*extensions):
    return attribute(EXTENSION_REQUEST, seq(*extensions))


@functools.cache
def get_key(kind, which=0):
    """Return one and the same key for the same arguments."""
    if kind == 'ed25519':
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith('rsa-'):
        _, size, *exponent = kind.split('-')
        return rsa.generate_private_key(
            int(exponent[0]) if exponent else 65537, int(size)
        )
    return ec.generate_private_key(getattr(ec, kind)())


def get_spki(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )


def sign(key, data, digest=None):
    """Return (AlgorithmIdentifier, signature)."""
    digest = digest or hashes.SHA256()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return seq(oid('1.3.101.112')), key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        arc = {'sha1': 5, 'sha256': 11, 'sha384': 12, 'sha512': 13}
        name = '1.2.840.113549.1.1.%d' % arc[digest.name]
        return (
            seq(oid(name), tlv(0x05)),
            key.sign(data, padding.PKCS1v15(), digest),
        )
    arc = {'sha1': '1', 'sha256': '3.2', 'sha384': '3.3', 'sha512': '3.4'}
    name = '1.2.840.10045.4.' + arc[digest.name]
    return seq(oid(name)), key.sign(data, ec.ECDSA(digest))


def make(
    *,
    subject,
    attributes,
    key=None,
    spki=None,
    version=b'\0',
    digest=None,
    tbs_tail=b'',
    signature=None,
):
    """Return the DER of a request.

    :param subject: list of RDNs
    :param attributes: list of attributes, sorted here as DER wants it
    """
    key = key or get_key('SECP256R1')
    body = seq(
        tlv(0x02, version),
        seq(*subject),
        spki or get_spki(key),
        tlv(0xA0, *sorted(attributes)),
        tbs_tail,
    )
    algorithm, value = sign(key, body, digest)
    value = value if signature is None else signature
    return seq(body, algorithm, tlv(0x03, b'\0' + value))
