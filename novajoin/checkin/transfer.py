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
"""How EST writes what it carries (RFC 7030, RFC 8951).

Bodies are base64 without armor in both directions. RFC 8951 section 3.1
leaves line breaks and the Content-Transfer-Encoding header to taste: they
are tolerated in a request; an answer has both, in lines that every base64
tool reads.
"""

import base64
import binascii
from collections.abc import Iterable
import ipaddress
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from pyasn1.codec.der import encoder
from pyasn1.type import univ
from pyasn1_modules import rfc5280
from pyasn1_modules import rfc7030

from novajoin import exceptions
from novajoin import models
from novajoin.ca import csr as ca_csr

_WHITE_SPACE: Final = b' \t\r\n'
_LINE: Final = 64

_EXTENSION_REQUEST: Final = '1.2.840.113549.1.9.14'
_EC_PUBLIC_KEY: Final = '1.2.840.10045.2.1'
_RSA_ENCRYPTION: Final = '1.2.840.113549.1.1.1'
_CURVES: Final = {
    'ec-p256': '1.2.840.10045.3.1.7',
    'ec-p384': '1.3.132.0.34',
}
_RSA_BITS: Final = {'rsa-3072': 3072}


def decode(body: bytes) -> bytes:
    """Return the DER that a request carries.

    :param body: base64, with line breaks or without
    :raises CsrMalformed: it is not base64, or has PEM armor
    """
    if body.lstrip(_WHITE_SPACE).startswith(b'-----BEGIN'):
        raise exceptions.CsrMalformed(
            'The body is PEM; send the base64 of the DER without the BEGIN '
            'and END lines (RFC 8951).'
        )
    compact = body.translate(None, _WHITE_SPACE)
    try:
        der = base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        der = b''
    if not der:
        raise exceptions.CsrMalformed(
            'The body is not the base64 of a PKCS#10 request.'
        )
    return der


def encode(der: bytes) -> bytes:
    """Return what an answer carries for some DER."""
    text = base64.b64encode(der)
    lines = (
        text[start : start + _LINE] for start in range(0, len(text), _LINE)
    )
    return b'\n'.join(lines) + b'\n'


def encode_certificates(certificates: Iterable[bytes]) -> bytes:
    """Return a certs-only PKCS#7 message (RFC 7030 section 4.1.3).

    :param certificates: DER; their order is lost, as the message holds a set
    """
    message = pkcs7.serialize_certificates(
        [x509.load_der_x509_certificate(der) for der in certificates],
        serialization.Encoding.DER,
    )
    return encode(message)


def encode_attributes(template: models.CsrTemplate) -> bytes:
    """Return the CSR attributes of a template (RFC 7030 section 4.5).

    As RFC 9908 has it: one attribute for the kind of key that is liked best,
    and an extension request whose extensions are to be taken as they are.
    The subject has no place there; it is in the payload.
    """
    attributes = rfc7030.CsrAttrs()
    key = _make_key_attribute(template.keys[0])
    for attribute in (key, _make_extension_request(template)):
        choice = rfc7030.AttrOrOID()
        choice['attribute'] = attribute
        attributes.append(choice)
    return encode(encoder.encode(attributes))


def _make_attribute(
    kind: str, value: univ.Any | bytes | None
) -> rfc7030.Attribute:
    attribute = rfc7030.Attribute()
    attribute['attrType'] = univ.ObjectIdentifier(kind)
    attribute['attrValues'].clear()
    if value is not None:
        attribute['attrValues'].append(value)
    return attribute


def _make_key_attribute(key: str) -> rfc7030.Attribute:
    if key in _CURVES:
        curve = encoder.encode(univ.ObjectIdentifier(_CURVES[key]))
        return _make_attribute(_EC_PUBLIC_KEY, curve)
    bits = encoder.encode(univ.Integer(_RSA_BITS[key]))
    return _make_attribute(_RSA_ENCRYPTION, bits)


def _make_extension_request(
    template: models.CsrTemplate,
) -> rfc7030.Attribute:
    names: list[x509.GeneralName] = [
        *(x509.DNSName(name) for name in template.dns),
        *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in template.ip),
        *(x509.UniformResourceIdentifier(uri) for uri in template.uri),
    ]
    values: list[x509.ExtensionType] = [x509.SubjectAlternativeName(names)]
    if template.eku:
        values.append(ca_csr.make_usages(template.eku))
    extensions = rfc5280.Extensions()
    for value in values:
        extension = rfc5280.Extension()
        extension['extnID'] = univ.ObjectIdentifier(value.oid.dotted_string)
        extension['extnValue'] = univ.OctetString(value.public_bytes())
        extensions.append(extension)
    return _make_attribute(_EXTENSION_REQUEST, encoder.encode(extensions))
