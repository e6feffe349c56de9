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
"""The check-in service's own certificate, as data."""

import datetime

from cryptography import x509

from novajoin import exceptions
from novajoin.checkin import certificate
from novajoin.tests import base
from novajoin.tests.unit.checkin import pki


class TestGetNames(base.TestCase):
    def test_names(self):
        self.assertEqual(
            {
                'join.example.com',
                '192.0.2.1',
                '2001:db8::1',
                'fe80::1',
                'xn--jin-sna.example.com',
            },
            certificate.get_names(
                [
                    'https://Join.Example.com:9998',
                    'https://join.example.com./',
                    'https://192.0.2.1',
                    'https://[2001:DB8:0::1]:443',
                    'https://[fe80::1%25eth0]:9998',
                    'https://j\xf6in.example.com',
                ]
            ),
        )

    def test_refused(self):
        for url in (
            '',
            'join.example.com',
            'http://join.example.com',
            'https://',
            'https://:9998',
            'https://join.example.com:x',
            'https://join.example.com:99999',
            'https://join.example.com/est',
            'https://join.example.com?x',
            'https://join.example.com#x',
            'https://me@join.example.com',
            'https://[::1',
            'https://join.example.com:0',
            'https://a..b',
            'https://jo_in.example.com',
            'https://-join.example.com',
            'https://*.example.com',
            'https://%s.example.com' % ('x' * 64),
            'https://192.0.2.1%25eth0',
        ):
            for function in (
                certificate.get_names,
                certificate.canonicalize_urls,
            ):
                error = self.assertRaises(
                    exceptions.ConfigurationError, function, [url]
                )
                self.assertEqual('[checkin] urls', error.option)
                self.assertIn(repr(url), error.message)

    def test_how_many(self):
        urls = ['https://join%d.test' % i for i in range(9)]
        self.assertEqual(
            tuple(urls[:8]), certificate.canonicalize_urls(urls[:8])
        )
        self.assertRaises(
            exceptions.ConfigurationError, certificate.canonicalize_urls, urls
        )


class TestMakeCsr(base.TestCase):
    def read(self, *names):
        key = certificate.make_key()
        csr = x509.load_der_x509_csr(
            certificate.make_csr(key, frozenset(names))
        )
        self.assertTrue(csr.is_signature_valid)
        return csr

    def test_names(self):
        csr = self.read('join.example.com', '::1', '192.0.2.1')
        self.assertEqual('CN=join.example.com', csr.subject.rfc4514_string())
        (extension,) = csr.extensions
        self.assertEqual(
            {'join.example.com', '::1', '192.0.2.1'},
            {str(name.value) for name in extension.value},
        )

    def test_without_common_name(self):
        for name in ('192.0.2.1', '.'.join(['x' * 60, 'example.com'])):
            self.assertEqual(0, len(list(self.read(name).subject)))


class TestParse(base.TestCase):
    def setUp(self):
        super().setUp()
        self.pki = pki.get_pki()
        self.own = self.pki.issue_own()

    def test_parse(self):
        own = certificate.parse(
            self.own.key_pem + self.own.pem + self.pki.service.pem
        )
        self.assertEqual({'localhost', '127.0.0.1'}, own.names)
        self.assertEqual(self.pki.service.der, own.issuer)
        life = own.not_after - own.not_before
        self.assertEqual(own.not_before + life * 2 / 3, own.renew_at)
        self.assertGreater(life, datetime.timedelta(days=1))

    def test_refused(self):
        other = self.pki.issue_own()
        nameless = pki.issue('x', self.pki.service)
        service = self.pki.service.pem
        for text in (
            b'',
            b'junk',
            self.own.key_pem,
            self.own.pem + service,
            self.own.key_pem + self.own.pem,
            self.own.key_pem + self.own.pem + self.pki.instance.pem,
            other.key_pem + self.own.pem + service,
            (self.own.key_pem + self.own.pem + service)[:-40],
            (self.own.key_pem + self.own.pem + service)[40:],
            nameless.key_pem + nameless.pem + service,
        ):
            self.assertRaises(ValueError, certificate.parse, text)
