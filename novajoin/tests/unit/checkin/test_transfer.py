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
"""What EST carries, byte by byte."""

import base64
import dataclasses

from cryptography import x509
import hypothesis
from hypothesis import strategies as st
from pyasn1.codec.der import decoder
from pyasn1_modules import rfc5280
from pyasn1_modules import rfc7030

from novajoin import exceptions
from novajoin.ca import profiles
from novajoin.checkin import transfer
from novajoin.tests import base
from novajoin.tests.unit.checkin import fakes


class TestDecode(base.TestCase):
    @hypothesis.given(
        st.binary(min_size=1, max_size=300),
        st.integers(1, 100),
        st.sampled_from([b'\n', b'\r\n', b' \r\n\t']),
    )
    def test_white_space_does_not_matter(self, der, width, separator):
        text = base64.b64encode(der)
        lines = [text[i : i + width] for i in range(0, len(text), width)]
        self.assertEqual(der, transfer.decode(separator.join(lines)))

    @hypothesis.given(st.binary(max_size=300))
    def test_any_other_bytes(self, body):
        """Bytes are taken or refused, and nothing else happens."""
        try:
            der = transfer.decode(body)
        except exceptions.CsrMalformed:
            return
        # Base64 leaves up to four bits open in the last digit.
        compact = bytes(c for c in body if c not in b' \t\r\n')
        self.assertEqual(
            compact.rstrip(b'=')[:-1],
            base64.b64encode(der).rstrip(b'=')[:-1],
        )

    @hypothesis.given(st.binary(min_size=1, max_size=300))
    def test_encode_is_the_inverse(self, der):
        self.assertEqual(der, transfer.decode(transfer.encode(der)))


class TestEncodeAttributes(base.TestCase):
    def read(self, template):
        """Return the attributes by type, in text form."""
        der = base64.b64decode(transfer.encode_attributes(template))
        attributes, rest = decoder.decode(der, asn1Spec=rfc7030.CsrAttrs())
        self.assertEqual(b'', rest)
        found = {}
        for choice in attributes:
            self.assertEqual('attribute', choice.getName())
            attribute = choice['attribute']
            (value,) = attribute['attrValues']
            found[str(attribute['attrType'])] = bytes(value)
        return found

    def test_extensions(self):
        """RFC 9908: the extensions are those that the CSR is to hold."""
        found = self.read(fakes.TEMPLATE)
        extensions, _ = decoder.decode(
            found['1.2.840.113549.1.9.14'], asn1Spec=rfc5280.Extensions()
        )
        values = {
            str(extension['extnID']): bytes(extension['extnValue'])
            for extension in extensions
        }
        names = x509.SubjectAlternativeName(
            [
                x509.DNSName(fakes.TEMPLATE.dns[0]),
                x509.UniformResourceIdentifier(fakes.TEMPLATE.uri[0]),
            ]
        )
        self.assertEqual(
            {names.public_bytes()},
            {values.pop(x509.SubjectAlternativeName.oid.dotted_string)},
        )
        usages = values.pop(x509.ExtendedKeyUsage.oid.dotted_string)
        self.assertIn(
            fakes.pki.CLIENT.dotted_string,
            str(
                decoder.decode(usages, asn1Spec=rfc5280.ExtKeyUsageSyntax())[0]
            ),
        )
        self.assertEqual({}, values)

    def test_usages(self):
        """Each that [ca_embedded] extended_key_usages takes, in order."""
        names = tuple(sorted(profiles.EXTENDED_KEY_USAGES))
        found = self.read(dataclasses.replace(fakes.TEMPLATE, eku=names))
        usages = x509.ExtendedKeyUsage(
            [profiles.EXTENDED_KEY_USAGES[name] for name in names]
        )
        self.assertIn(usages.public_bytes(), found['1.2.840.113549.1.9.14'])

    def test_keys(self):
        for keys, kind, value in (
            (
                ('ec-p256', 'rsa-3072'),
                '1.2.840.10045.2.1',
                '1.2.840.10045.3.1.7',
            ),
            (('ec-p384',), '1.2.840.10045.2.1', '1.3.132.0.34'),
            (('rsa-3072', 'ec-p256'), '1.2.840.113549.1.1.1', '3072'),
        ):
            found = self.read(dataclasses.replace(fakes.TEMPLATE, keys=keys))
            self.assertEqual(value, str(decoder.decode(found[kind])[0]))

    def test_addresses_and_no_usages(self):
        template = dataclasses.replace(
            fakes.TEMPLATE, ip=('192.0.2.1', '2001:db8::1'), eku=()
        )
        found = self.read(template)['1.2.840.113549.1.9.14']
        self.assertIn(b'\xc0\x00\x02\x01', found)
        self.assertNotIn(b'\x55\x1d\x25', found)
