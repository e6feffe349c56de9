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

import hashlib
import ipaddress
import subprocess
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
import hypothesis
from hypothesis import strategies
import testscenarios

from novajoin import exceptions
from novajoin import models
from novajoin.ca import csr
from novajoin.ca import profiles
from novajoin.tests import base
from novajoin.tests.unit.ca import requests as make

UUID = '0b7e0d3c-5a57-4ea8-8ac5-8d5a3f1cf0a1'
FQDN = 'web-1.example.com'
ALIAS = 'www.xn--bcher-kva.example.com'
URN = 'urn:uuid:' + UUID

TEMPLATE = models.CsrTemplate(
    subject=(('CN', FQDN),),
    dns=(FQDN, ALIAS),
    ip=('192.0.2.7', '2001:db8::7'),
    uri=(URN,),
)
V4 = ipaddress.ip_address('192.0.2.7').packed
V6 = ipaddress.ip_address('2001:db8::7').packed

NAMES = (
    make.dns(FQDN),
    make.dns(ALIAS),
    make.ip(V4),
    make.ip(V6),
    make.uri(URN),
)


def build(
    *, subject=None, names=NAMES, extensions=(), attributes=(), **options
):
    """Return a CSR that matches but for what is asked for here."""
    return make.make(
        subject=[make.cn(FQDN)] if subject is None else subject,
        attributes=[
            make.extension_request(make.san(*names), *extensions),
            *attributes,
        ],
        **options,
    )


def with_names(*names):
    return build(names=names)


def with_dns(name):
    return build(names=(make.dns(name), *NAMES[1:]))


class TestAccepted(testscenarios.WithScenarios, base.TestCase):
    """EM16: the exact set is accepted, in each of its spellings."""

    scenarios = [
        (name, {'der': der})
        for name, der in {
            'plain': build(),
            'other order': build(names=NAMES[::-1]),
            'PrintableString': build(subject=[make.cn(FQDN, make.PRINTABLE)]),
            'challengePassword': build(
                attributes=[
                    make.attribute(
                        make.CHALLENGE_PASSWORD, make.tlv(0x0C, b'ignored')
                    )
                ]
            ),
            'critical names': make.make(
                subject=[make.cn(FQDN)],
                attributes=[
                    make.extension_request(make.san(*NAMES, critical=True))
                ],
            ),
            'key usage': build(extensions=[make.key_usage(7, 0x80)]),
            'key usage, not critical': build(
                extensions=[make.key_usage(7, 0x80, critical=False)]
            ),
            'extended key usage': build(
                extensions=[make.eku(make.CLIENT_AUTH, make.SERVER_AUTH)]
            ),
            'extended key usage, other order': build(
                extensions=[make.eku(make.SERVER_AUTH, make.CLIENT_AUTH)]
            ),
            'ec-p384': build(
                key=make.get_key('SECP384R1'), digest=hashes.SHA384()
            ),
            'rsa-3072': build(key=make.get_key('rsa-3072')),
            'rsa-3072 with its key usage': build(
                key=make.get_key('rsa-3072'),
                extensions=[make.key_usage(5, 0xA0)],
            ),
            'SHA-512': build(digest=hashes.SHA512()),
        }.items()
    ]

    def test_match(self):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            matched = csr.match(self.der, TEMPLATE)
        request = x509.load_der_x509_csr(self.der)
        self.assertEqual(make.get_spki(request), matched.public_key)
        self.assertEqual(
            hashlib.sha256(matched.public_key).digest(),
            matched.public_key_sha256,
        )
        self.assertEqual(
            profiles.find_key_type(request.public_key()).name,
            matched.key_type,
        )


def mismatch(field, der):
    return 'csr_mismatch.' + field, der


def make_explicit_spki():
    """Return P-256 with its parameters written out (RFC 5480 forbids it)."""
    numbers = make.get_key('SECP256R1').public_key().public_numbers()
    size = 32
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    a, b = (
        p - 3,
        int(
            '5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b',
            16,
        ),
    )
    generator = bytes.fromhex(
        '046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296'
        '4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5'
    )
    order = int(
        'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 16
    )

    def integer(value):
        return make.tlv(0x02, value.to_bytes(size + 1, 'big'))

    parameters = make.seq(
        make.tlv(0x02, b'\1'),
        make.seq(make.oid('1.2.840.10045.1.1'), integer(p)),
        make.seq(
            make.tlv(0x04, a.to_bytes(size, 'big')),
            make.tlv(0x04, b.to_bytes(size, 'big')),
        ),
        make.tlv(0x04, generator),
        integer(order),
        make.tlv(0x02, b'\1'),
    )
    point = (
        b'\4'
        + numbers.x.to_bytes(size, 'big')
        + numbers.y.to_bytes(size, 'big')
    )
    return make_ec_spki(parameters, point)


def make_ec_spki(parameters, point):
    return make.seq(
        make.seq(make.oid('1.2.840.10045.2.1'), parameters),
        make.tlv(0x03, b'\0' + point),
    )


def make_compressed_spki():
    point = (
        make.get_key('SECP256R1')
        .public_key()
        .public_bytes(
            serialization.Encoding.X962,
            serialization.PublicFormat.CompressedPoint,
        )
    )
    return make_ec_spki(make.oid('1.2.840.10045.3.1.7'), point)


def make_off_curve_spki():
    return make_ec_spki(make.oid('1.2.840.10045.3.1.7'), b'\4' + b'\1' * 64)


def make_even_rsa_spki(size=3072, exponent=65537):
    def integer(value):
        length = value.bit_length() // 8 + 1
        return make.tlv(0x02, value.to_bytes(length, 'big'))

    return make.seq(
        make.seq(make.oid('1.2.840.113549.1.1.1'), make.tlv(0x05)),
        make.tlv(
            0x03,
            b'\0' + make.seq(integer(2 ** (size - 1)), integer(exponent)),
        ),
    )


def flip_last_bit(der):
    return der[:-1] + bytes([der[-1] ^ 1])


def make_deep(depth):
    der = b''
    for _ in range(depth):
        der = make.tlv(0x30, der)
    return der


def make_refused(names):
    """Return (reason, DER) of requests that are refused, by what they are.

    One of them is not, though it looks like the others: its reason is None.

    :param names: what the template has, with FQDN first and URN last
    """

    def alter(**options):
        return build(**{'names': names, **options})

    def add(*others):
        return alter(names=names + others)

    def swap(name):
        return alter(names=(make.dns(name), *names[1:]))

    return {
        # Alternative names: DNS.
        'extra name': mismatch('dns_extra', add(make.dns('db.example.com'))),
        'other name': mismatch('dns_extra', swap('db.example.com')),
        'name missing': mismatch('dns_missing', with_names(*names[1:])),
        'wildcard': mismatch('dns_wildcard', add(make.dns('*.example.com'))),
        'partial wildcard': mismatch(
            'dns_wildcard', swap('web-*.example.com')
        ),
        'case': mismatch('dns_case', swap('WEB-1.example.com')),
        'case of a second one': mismatch(
            'dns_case', add(make.dns(FQDN.upper()))
        ),
        'trailing dot': mismatch('dns_trailing_dot', swap(FQDN + '.')),
        'leading dot': mismatch('dns_extra', swap('.' + FQDN)),
        'empty name': mismatch('dns_extra', add(make.dns(''))),
        'parent domain': mismatch('dns_extra', swap('example.com')),
        'space': mismatch('dns_extra', swap(FQDN + ' ')),
        'NUL in a name': mismatch('dns_nul', swap(FQDN + '\0.example.org')),
        'line feed in a name': mismatch('dns_nul', swap(FQDN + '\n401 ok')),
        'address as a name': mismatch('dns_is_ip', add(make.dns('192.0.2.7'))),
        'IPv6 address as a name': mismatch(
            'dns_is_ip', add(make.dns('2001:db8::7'))
        ),
        'punycode that was not injected': mismatch(
            'dns_idn', add(make.dns('xn--mnchen-3ya.example.com'))
        ),
        'U-label in UTF-8': mismatch(
            'dns_not_ascii',
            add(make.dns('www.bücher.example.com'.encode())),
        ),
        'U-label in Latin-1': (
            'csr_malformed',
            add(make.dns('www.bücher.example.com'.encode('l1'))),
        ),
        'a name twice': mismatch('san_duplicate', add(make.dns(FQDN))),
        # Alternative names: other types.
        'name as an address': (
            'csr_malformed',
            add(make.ip(FQDN.encode())),
        ),
        'extra address': mismatch('ip_extra', add(make.ip(b'\xc0\0\2\x08'))),
        'network': mismatch(
            'ip_extra',
            add(make.ip(b'\xc0\0\2\0\xff\xff\xff\0')),
        ),
        'mapped address': mismatch(
            'ip_extra',
            add(make.ip(b'\0' * 10 + b'\xff\xff' + V4)),
        ),
        'extra URI': mismatch(
            'uri_extra', add(make.uri('spiffe://example.com/web'))
        ),
        'URI of another instance': mismatch(
            'uri_extra',
            with_names(*names[:-1], make.uri(URN.replace('0b7e', '1b7e'))),
        ),
        'URI in upper case': mismatch(
            'uri_extra', with_names(*names[:-1], make.uri(URN.upper()))
        ),
        'URI missing': mismatch('uri_missing', with_names(*names[:-1])),
        'e-mail address': mismatch(
            'email', add(make.email('root@example.com'))
        ),
        'directory name': mismatch(
            'directory_name',
            add(make.tlv(0xA4, make.seq(make.cn('x')))),
        ),
        'registered id': mismatch(
            'registered_id', add(make.tlv(0x88, b'\x2a\x03'))
        ),
        'otherName': mismatch(
            'other_name',
            add(
                make.tlv(
                    0xA0,
                    make.oid('1.3.6.1.4.1.311.20.2.3'),
                    make.tlv(0xA0, make.tlv(0x0C, b'root@EXAMPLE.COM')),
                )
            ),
        ),
        'x400Address': mismatch('san_type', add(make.tlv(0xA3))),
        'ediPartyName': mismatch(
            'san_type',
            add(make.tlv(0xA5, make.tlv(0xA1, make.tlv(0x0C, b'x')))),
        ),
        'no alternative names': mismatch(
            'san_missing',
            make.make(
                subject=[make.cn(FQDN)],
                attributes=[make.extension_request()],
            ),
        ),
        'no extensions asked for': mismatch(
            'san_missing',
            make.make(subject=[make.cn(FQDN)], attributes=[]),
        ),
        # Subject.
        'two CNs': mismatch(
            'cn_count', alter(subject=[make.cn(FQDN), make.cn('x')])
        ),
        'one CN twice': mismatch(
            'cn_count', alter(subject=[make.cn(FQDN)] * 2)
        ),
        'two CNs in one part': mismatch(
            'subject_multivalued',
            alter(subject=[make.rdn(('2.5.4.3', FQDN), ('2.5.4.3', 'x.org'))]),
        ),
        'NUL in CN': mismatch(
            'cn_nul', alter(subject=[make.cn(FQDN + '\0.example.org')])
        ),
        'NUL in a PrintableString CN': mismatch(
            'subject_encoding',
            alter(subject=[make.cn(FQDN + '\0.org', make.PRINTABLE)]),
        ),
        'CN in upper case': mismatch(
            'cn_case', alter(subject=[make.cn(FQDN.upper())])
        ),
        'CN with a trailing dot': mismatch(
            'cn_trailing_dot', alter(subject=[make.cn(FQDN + '.')])
        ),
        'CN a wildcard': mismatch(
            'cn_wildcard', alter(subject=[make.cn('*.example.com')])
        ),
        'CN not ASCII': mismatch(
            'cn_not_ascii',
            alter(subject=[make.cn('wеb-1.example.com')]),
        ),
        'CN of another': mismatch(
            'cn', alter(subject=[make.cn('web-2.example.com')])
        ),
        'CN empty': mismatch('cn', alter(subject=[make.cn('')])),
        'CN not UTF-8': mismatch(
            'subject_encoding', alter(subject=[make.cn(b'\xff\xfe')])
        ),
        'extra OU': mismatch(
            'subject_count',
            alter(subject=[make.cn(FQDN), make.rdn(('2.5.4.11', 'admin'))]),
        ),
        'OU first': mismatch(
            'subject_count',
            alter(subject=[make.rdn(('2.5.4.11', 'admin')), make.cn(FQDN)]),
        ),
        'OU in the same part': mismatch(
            'subject_multivalued',
            alter(
                subject=[make.rdn(('2.5.4.3', FQDN), ('2.5.4.11', 'admin'))]
            ),
        ),
        'OU for CN': mismatch(
            'subject_attribute',
            alter(subject=[make.rdn(('2.5.4.11', FQDN))]),
        ),
        'e-mail address in the subject': mismatch(
            'subject_count',
            alter(
                subject=[
                    make.cn(FQDN),
                    make.rdn(('1.2.840.113549.1.9.1', 'a@example.com', 0x16)),
                ]
            ),
        ),
        'empty subject': mismatch('subject_missing', alter(subject=[])),
        'empty part': mismatch(
            'subject_multivalued', alter(subject=[make.set_of()])
        ),
        **{
            'CN as %s' % name: mismatch(
                'subject_encoding',
                alter(subject=[make.cn(FQDN.encode(codec), tag)]),
            )
            for name, tag, codec in (
                ('TeletexString', 0x14, 'ascii'),
                ('IA5String', 0x16, 'ascii'),
                ('NumericString', 0x12, 'ascii'),
                ('VisibleString', 0x1A, 'ascii'),
                ('UniversalString', 0x1C, 'utf-32-be'),
                ('BMPString', 0x1E, 'utf-16-be'),
            )
        },
        # Extensions and attributes.
        'CA:TRUE': mismatch(
            'basic_constraints',
            alter(
                extensions=[
                    make.extension(
                        make.BASIC_CONSTRAINTS,
                        make.seq(make.tlv(0x01, b'\xff')),
                        critical=True,
                    )
                ]
            ),
        ),
        'CA:FALSE': mismatch(
            'basic_constraints',
            alter(
                extensions=[make.extension(make.BASIC_CONSTRAINTS, make.seq())]
            ),
        ),
        'key usage keyCertSign': mismatch(
            'key_usage', alter(extensions=[make.key_usage(2, 0x84)])
        ),
        'key usage of another key type': mismatch(
            'key_usage', alter(extensions=[make.key_usage(5, 0xA0)])
        ),
        'extra extended key usage': mismatch(
            'eku',
            alter(
                extensions=[
                    make.eku(
                        make.CLIENT_AUTH,
                        make.SERVER_AUTH,
                        '1.3.6.1.5.5.7.3.3',
                    )
                ]
            ),
        ),
        'any extended key usage': mismatch(
            'eku', alter(extensions=[make.eku('2.5.29.37.0')])
        ),
        'too little extended key usage': mismatch(
            'eku', alter(extensions=[make.eku(make.CLIENT_AUTH)])
        ),
        'an extended key usage twice': mismatch(
            'eku',
            alter(extensions=[make.eku(make.CLIENT_AUTH, make.CLIENT_AUTH)]),
        ),
        'unknown critical extension': mismatch(
            'extension_critical',
            alter(
                extensions=[make.extension('1.2.3.4', b'\5\0', critical=True)]
            ),
        ),
        'unknown extension': mismatch(
            'extension',
            alter(extensions=[make.extension('1.2.3.4', b'\5\0')]),
        ),
        'subject key identifier': mismatch(
            'extension',
            alter(
                extensions=[
                    make.extension('2.5.29.14', make.tlv(0x04, b'x' * 20))
                ]
            ),
        ),
        'name constraints': mismatch(
            'extension_critical',
            alter(
                extensions=[
                    make.extension(
                        '2.5.29.30',
                        make.seq(
                            make.tlv(0xA0, make.seq(make.dns('example.org')))
                        ),
                        critical=True,
                    )
                ]
            ),
        ),
        'SAN twice': mismatch(
            'extension_duplicate',
            alter(extensions=[make.san(*names)]),
        ),
        'unknown extension twice': mismatch(
            'extension_duplicate',
            alter(extensions=[make.extension('1.2.3.4', b'\5\0')] * 2),
        ),
        'extension requests twice': mismatch(
            'attribute_duplicate',
            alter(
                attributes=[
                    make.extension_request(make.san(make.dns('x.example.org')))
                ]
            ),
        ),
        'extension request with two values': mismatch(
            'attribute_duplicate',
            make.make(
                subject=[make.cn(FQDN)],
                attributes=[
                    make.attribute(
                        make.EXTENSION_REQUEST,
                        *sorted(
                            [
                                make.seq(make.san(*names)),
                                make.seq(make.san(make.dns('x'))),
                            ]
                        ),
                    )
                ],
            ),
        ),
        'extension request without a value': mismatch(
            'attribute_duplicate',
            make.make(
                subject=[make.cn(FQDN)],
                attributes=[make.attribute(make.EXTENSION_REQUEST)],
            ),
        ),
        'challengePassword twice': mismatch(
            'attribute_duplicate',
            alter(
                attributes=[
                    make.attribute(
                        make.CHALLENGE_PASSWORD, make.tlv(0x0C, text)
                    )
                    for text in (b'a', b'b')
                ]
            ),
        ),
        'unstructuredName': mismatch(
            'attribute',
            alter(
                attributes=[
                    make.attribute(
                        '1.2.840.113549.1.9.2', make.tlv(0x0C, b'x')
                    )
                ]
            ),
        ),
        "Microsoft's extension request": mismatch(
            'attribute',
            alter(
                attributes=[
                    make.attribute(
                        make.MS_EXTENSION_REQUEST,
                        make.seq(make.san(make.dns('x.example.org'))),
                    )
                ]
            ),
        ),
        'trailing bytes in the SAN': (
            'csr_malformed',
            make.make(
                subject=[make.cn(FQDN)],
                attributes=[
                    make.extension_request(
                        make.extension(make.SAN, make.seq(*names) + b'\5\0')
                    )
                ],
            ),
        ),
        'SAN cut off': (
            'csr_malformed',
            make.make(
                subject=[make.cn(FQDN)],
                attributes=[
                    make.extension_request(
                        make.extension(make.SAN, make.seq(*names)[:-1])
                    )
                ],
            ),
        ),
        # Keys.
        **{
            'key ' + kind: ('csr_key', alter(key=make.get_key(kind)))
            for kind in (
                'SECP224R1',
                'SECP521R1',
                'SECP256K1',
                'BrainpoolP256R1',
                'ed25519',
                'rsa-1024',
                'rsa-2048',
                'rsa-4096',
                'rsa-3072-3',
            )
        },
        'explicit curve parameters': (
            'csr_key',
            alter(spki=make_explicit_spki()),
        ),
        'compressed point': (
            'csr_key',
            alter(spki=make_compressed_spki()),
        ),
        'point that is not on the curve': (
            'csr_key',
            alter(spki=make_off_curve_spki()),
        ),
        'point at infinity': (
            'csr_key',
            alter(spki=make_ec_spki(make.oid('1.2.840.10045.3.1.7'), b'\0')),
        ),
        'unknown curve': (
            'csr_key',
            alter(spki=make_ec_spki(make.oid('1.2.3.4'), b'\4' * 65)),
        ),
        'unknown kind of key': (
            'csr_key',
            alter(
                spki=make.seq(
                    make.seq(make.oid('1.2.3.4')), make.tlv(0x03, b'\0x')
                )
            ),
        ),
        'RSA with a huge exponent': (
            'csr_key',
            alter(spki=make_even_rsa_spki(exponent=2**3000 + 1)),
        ),
        'RSA with an even modulus': (
            'csr_signature',
            alter(key=make.get_key('rsa-3072'), spki=make_even_rsa_spki()),
        ),
        'RSA of 40000 bits': (
            'csr_key',
            alter(spki=make_even_rsa_spki(40000)),
        ),
        # Signatures.
        'signature changed': ('csr_signature', flip_last_bit(alter())),
        'signature empty': ('csr_signature', alter(signature=b'')),
        'signature all zero': (
            'csr_signature',
            alter(
                signature=make.seq(
                    make.tlv(0x02, b'\0'), make.tlv(0x02, b'\0')
                )
            ),
        ),
        'signed by another key': (
            'csr_signature',
            alter(
                key=make.get_key('SECP256R1', 1),
                spki=make.get_spki(make.get_key('SECP256R1')),
            ),
        ),
        'signed by a key of another type': (
            'csr_signature',
            alter(
                key=make.get_key('rsa-3072'),
                spki=make.get_spki(make.get_key('SECP256R1')),
            ),
        ),
        'signed with SHA-1': (
            'csr_signature',
            alter(key=make.get_key('rsa-3072'), digest=hashes.SHA1()),
        ),
        # Not PKCS#10, or not DER.
        'version 2': mismatch('version', alter(version=b'\1')),
        'version -1': mismatch('version', alter(version=b'\xff')),
        'version 0, long': mismatch('version', alter(version=b'\0\0')),
        'nothing': ('csr_malformed', b''),
        'one byte': ('csr_malformed', b'\x30'),
        'text': ('csr_malformed', b'MIIBZzCCAQ0CAQAw'),
        'PEM': (
            'csr_malformed',
            b'-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n',
        ),
        'trailing byte': ('csr_malformed', alter() + b'\0'),
        'trailing request': ('csr_malformed', alter() * 2),
        'cut off': ('csr_malformed', alter()[:-1]),
        'trailing part': ('csr_malformed', alter(tbs_tail=b'\5\0')),
        'indefinite length': (
            'csr_malformed',
            b'\x30\x80' + alter()[4:] + b'\0\0',
        ),
        'length of 4 GiB': (
            'csr_malformed',
            b'\x30\x84\xff\xff\xff\xff' + alter()[4:],
        ),
        'length of 126 bytes': (
            'csr_malformed',
            b'\x30\xfe' + b'\xff' * 126,
        ),
        'length in too many bytes': (
            'csr_malformed',
            b'\x30\x83\0' + alter()[2:],
        ),
        'deep nesting': ('csr_malformed', make_deep(1500)),
        'deep nesting in an attribute': (
            'csr_mismatch.attribute',
            alter(attributes=[make.attribute('1.2.3', make_deep(1500))]),
        ),
        'deep nesting of a password': (
            None,
            alter(
                attributes=[
                    make.attribute(make.CHALLENGE_PASSWORD, make_deep(1500))
                ]
            ),
        ),
        'certificate': ('csr_malformed', make.seq(make.seq(), make.seq())),
        'larger than 8 KiB': (
            'csr_malformed',
            alter(
                attributes=[
                    make.attribute(
                        make.CHALLENGE_PASSWORD,
                        make.tlv(0x0C, b'x' * 8192),
                    )
                ]
            ),
        ),
    }


class TestRefused(testscenarios.WithScenarios, base.TestCase):
    """EM16: whatever is more, less or other has its own reason."""

    scenarios = [
        (name, {'der': der, 'reason': reason})
        for name, (reason, der) in {
            **make_refused(NAMES),
            'punycode, upper case': mismatch(
                'dns_case',
                build(
                    names=(
                        NAMES[0],
                        make.dns(ALIAS.replace('xn--', 'XN--')),
                        *NAMES[2:],
                    )
                ),
            ),
            'address missing': mismatch(
                'ip_missing', with_names(*NAMES[:2], NAMES[4])
            ),
        }.items()
    ]

    def test_refused(self):
        if self.reason is None:
            csr.match(self.der, TEMPLATE)
            return
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            error = self.assertRaises(
                exceptions.CsrError, csr.match, self.der, TEMPLATE
            )
        self.assertEqual(self.reason, error.reason)
        self.assertEqual(400, error.status)
        # It goes into a text answer of three lines.
        self.assertTrue(error.message.isprintable(), error.message)
        self.assertTrue(error.message.isascii(), error.message)
        self.assertLess(len(error.message), 400)


class TestTemplate(base.TestCase):
    """What the template asks for decides, not a list of ours."""

    def test_every_field_has_a_message(self):
        for field, message in csr.FIELDS.items():
            self.assertTrue(message.endswith('.'), field)

    def test_keys_are_those_offered(self):
        template = models.CsrTemplate(
            subject=TEMPLATE.subject,
            dns=TEMPLATE.dns,
            ip=TEMPLATE.ip,
            uri=TEMPLATE.uri,
            keys=('ec-p384',),
        )
        error = self.assertRaises(
            exceptions.CsrKeyRefused, csr.match, build(), template
        )
        self.assertIn('ec-p384', error.message)

    def test_several_parts_of_a_subject_keep_their_order(self):
        template = models.CsrTemplate(
            subject=(('O', 'Example'), ('CN', FQDN)),
            dns=(FQDN,),
            ip=(),
            uri=(),
        )
        parts = [make.rdn(('2.5.4.10', 'Example')), make.cn(FQDN)]
        names = (make.dns(FQDN),)
        csr.match(build(subject=parts, names=names), template)
        for subject, reason in (
            (parts[::-1], 'subject_attribute'),
            ([make.rdn(('2.5.4.10', 'x')), parts[1]], 'subject'),
            ([make.rdn(('2.5.4.10', b'\xff')), parts[1]], 'subject_encoding'),
        ):
            error = self.assertRaises(
                exceptions.CsrMismatch,
                csr.match,
                build(subject=subject, names=names),
                template,
            )
            self.assertEqual(reason, error.field)

    def test_printable_string_cannot_hold_everything(self):
        template = models.CsrTemplate(
            subject=(('CN', 'a_b'),), dns=(), ip=(), uri=()
        )
        options = {'attributes': []}
        csr.match(make.make(subject=[make.cn('a_b')], **options), template)
        error = self.assertRaises(
            exceptions.CsrMismatch,
            csr.match,
            make.make(subject=[make.cn('a_b', make.PRINTABLE)], **options),
            template,
        )
        self.assertEqual('subject_encoding', error.field)

    def test_no_names_asked_for(self):
        template = models.CsrTemplate(
            subject=TEMPLATE.subject, dns=(), ip=(), uri=()
        )
        bare = make.make(subject=[make.cn(FQDN)], attributes=[])
        csr.match(bare, template)
        self.assertRaises(exceptions.CsrMismatch, csr.match, build(), template)

    def test_address_in_another_text_form(self):
        template = models.CsrTemplate(
            subject=TEMPLATE.subject,
            dns=(),
            ip=('2001:DB8:0::7',),
            uri=(),
        )
        csr.match(build(names=[make.ip(V6)]), template)

    def test_messages_do_not_repeat_what_was_sent_unescaped(self):
        error = self.assertRaises(
            exceptions.CsrMismatch,
            csr.match,
            with_dns('a\r\n\x1b[31m' + 'b' * 500),
            TEMPLATE,
        )
        self.assertIn(r"'a\r\n\x1b[31mbbb", error.message)
        self.assertLess(len(error.message), 300)


class TestMatchService(base.TestCase):
    NAMES = frozenset({'join.example.com', '[2001:db8::1]', '192.0.2.1'})

    def build(self, *names, subject=(), **options):
        return build(names=names, subject=list(subject), **options)

    def assertRefused(self, field, der):
        error = self.assertRaises(
            exceptions.CsrMismatch, csr.match_service, der, self.NAMES
        )
        self.assertEqual(field, error.field)

    def test_match(self):
        der = self.build(
            make.dns('join.example.com'),
            make.ip(ipaddress.ip_address('2001:db8::1').packed),
            subject=[make.cn('join.example.com')],
            extensions=[make.eku(make.SERVER_AUTH)],
        )
        request = csr.match_service(der, self.NAMES)
        self.assertEqual(('join.example.com',), request.dns)
        self.assertEqual(('2001:db8::1',), request.ip)
        self.assertEqual('ec-p256', request.key.key_type)

    def test_subject_may_be_empty(self):
        der = self.build(make.ip(b'\xc0\0\2\1'))
        self.assertEqual(('192.0.2.1',), csr.match_service(der, self.NAMES).ip)

    def test_refused(self):
        name = make.dns('join.example.com')
        for field, der in (
            ('san_missing', self.build()),
            ('dns_extra', self.build(name, make.dns('x.example.com'))),
            ('dns_extra', self.build(make.dns('x.join.example.com'))),
            ('dns_wildcard', self.build(make.dns('*.join.example.com'))),
            ('ip_extra', self.build(name, make.ip(b'\xc0\0\2\2'))),
            ('uri_extra', self.build(name, make.uri('urn:uuid:x'))),
            ('email', self.build(name, make.email('a@b'))),
            ('cn', self.build(name, subject=[make.cn('x.example.com')])),
            ('cn', self.build(name, subject=[make.cn('')])),
            ('cn', self.build(name, subject=[make.cn('192.0.2.1')])),
            ('cn', self.build(name, subject=[make.cn(b'\xff')])),
            (
                'cn_count',
                self.build(name, subject=[make.cn('join.example.com')] * 2),
            ),
            (
                'subject_attribute',
                self.build(
                    name, subject=[make.rdn(('2.5.4.11', 'join.example.com'))]
                ),
            ),
            ('eku', self.build(name, extensions=[make.eku(make.CLIENT_AUTH)])),
            (
                'basic_constraints',
                self.build(
                    name,
                    extensions=[
                        make.extension(make.BASIC_CONSTRAINTS, make.seq())
                    ],
                ),
            ),
        ):
            self.assertRefused(field, der)
        self.assertRefused('san_missing', make.make(subject=[], attributes=[]))

    def test_split_names(self):
        self.assertEqual(
            (
                frozenset({'192.0.2.1', '2001:db8::1'}),
                frozenset({'join.example.com'}),
            ),
            csr.split_names({'Join.Example.com.', *self.NAMES}),
        )
        self.assertEqual(
            (frozenset({'fe80::1'}), frozenset()),
            csr.split_names({'[fe80::1%25eth0]', 'fe80::1%eth0'}),
        )


class TestOpenSSL(base.TestCase):
    """What the openssl command makes of the same template."""

    def test_match(self):
        path = self.make_directory()
        names = 'DNS:%s,DNS:%s,IP:192.0.2.7,IP:2001:db8::7,URI:%s' % (
            FQDN,
            ALIAS,
            URN,
        )
        key = path / 'key.pem'
        run('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout',
            '-out', key)  # fmt: skip
        for mask in ('utf8only', 'pkix', 'nombstr'):
            config = path / 'openssl.cnf'
            config.write_text(
                '[req]\ndistinguished_name = dn\nstring_mask = %s\n[dn]\n'
                % mask
            )
            run('openssl', 'req', '-new', '-key', key, '-config', config,
                '-subj', '/CN=' + FQDN, '-addext', 'subjectAltName=' + names,
                '-outform', 'DER', '-out', path / 'csr.der')  # fmt: skip
            csr.match((path / 'csr.der').read_bytes(), TEMPLATE)


def run(*command):
    subprocess.run([str(part) for part in command], check=True,
                   capture_output=True)  # fmt: skip


SOUND = build()


class TestProperties(base.TestCase):
    """Nothing but CsrError comes out, whatever goes in."""

    def try_match(self, data):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            try:
                csr.match(data, TEMPLATE)
            except exceptions.CsrError:
                return False
        return True

    @hypothesis.given(strategies.binary(max_size=9000))
    def test_any_bytes(self, data):
        self.assertFalse(self.try_match(data))

    @hypothesis.settings(max_examples=400)
    @hypothesis.given(
        strategies.integers(0, len(SOUND) - 1), strategies.integers(1, 255)
    )
    def test_any_changed_byte(self, place, change):
        data = bytearray(SOUND)
        data[place] ^= change
        self.assertFalse(self.try_match(bytes(data)))

    @hypothesis.given(
        strategies.integers(0, len(SOUND)),
        strategies.integers(0, 12),
        strategies.binary(max_size=12),
    )
    def test_any_splice(self, place, removed, inserted):
        data = SOUND[:place] + inserted + SOUND[place + removed :]
        self.assertEqual(data == SOUND, self.try_match(data))

    @hypothesis.settings(max_examples=300)
    @hypothesis.given(strategies.data())
    def test_any_signed_bytes(self, data):
        """Also what a valid signature covers is hostile."""
        key = make.get_key('SECP256R1')
        sound = x509.load_der_x509_csr(SOUND).tbs_certrequest_bytes
        utf8, printable = (
            make.tlv(tag, FQDN.encode()) for tag in (make.UTF8, make.PRINTABLE)
        )
        same = (sound, sound.replace(utf8, printable))
        body = bytearray(sound)
        place = data.draw(strategies.integers(0, len(body) - 1))
        body[place] = data.draw(strategies.integers(0, 255))
        algorithm, value = make.sign(key, bytes(body))
        der = make.seq(bytes(body), algorithm, make.tlv(0x03, b'\0' + value))
        self.assertEqual(bytes(body) in same, self.try_match(der))

    @hypothesis.given(
        strategies.lists(
            strategies.one_of(
                strategies.binary(max_size=40).map(make.dns),
                strategies.binary(max_size=40).map(make.uri),
                strategies.sampled_from(NAMES),
                strategies.tuples(
                    strategies.integers(0, 255), strategies.binary(max_size=40)
                ).map(lambda pair: make.tlv(*pair)),
            ),
            max_size=8,
        )
    )
    def test_any_names(self, names):
        expected = sorted(names) == sorted(NAMES)
        self.assertEqual(expected, self.try_match(build(names=names)))

    @hypothesis.given(
        strategies.lists(
            strategies.tuples(
                strategies.sampled_from(['2.5.4.3', '2.5.4.11', '1.2.3']),
                strategies.one_of(
                    strategies.binary(max_size=70), strategies.just(FQDN)
                ),
                strategies.integers(0, 255),
            ).map(make.rdn),
            max_size=3,
        )
    )
    def test_any_subject(self, subject):
        expected = subject in (
            [make.cn(FQDN)],
            [make.cn(FQDN, make.PRINTABLE)],
        )
        self.assertEqual(expected, self.try_match(build(subject=subject)))

    @hypothesis.given(
        strategies.from_regex(
            '[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?', fullmatch=True
        ),
        strategies.lists(
            strategies.from_regex(
                r'[a-z0-9]{1,20}\.example\.com', fullmatch=True
            ),
            max_size=5,
            unique=True,
        ),
        strategies.lists(strategies.ip_addresses(), max_size=4, unique=True),
        strategies.sampled_from([ec.SECP256R1(), ec.SECP384R1()]),
    )
    def test_what_the_template_says_is_accepted(self, label, dns, ips, curve):
        """EM11: a CSR built from the payload alone is accepted."""
        fqdn = label + '.example.net'
        template = models.CsrTemplate(
            subject=(('CN', fqdn),),
            dns=tuple(sorted({fqdn, *dns})),
            ip=tuple(sorted(str(ip) for ip in ips)),
            uri=(URN,),
        )
        names = [x509.DNSName(name) for name in template.dns]
        names += [x509.IPAddress(ip) for ip in ips]
        names += [x509.UniformResourceIdentifier(uri) for uri in template.uri]
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(
                x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, fqdn)])
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(make.get_key(curve.name.upper()), hashes.SHA256())
        )
        csr.match(request.public_bytes(serialization.Encoding.DER), template)
