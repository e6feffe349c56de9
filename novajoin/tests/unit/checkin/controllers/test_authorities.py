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
"""Root and CRLs over the application."""

import datetime

from cryptography import x509

from novajoin import models
from novajoin.tests.unit.checkin import fakes


class TestAuthorities(fakes.AppTestCase):
    def test_root(self):
        """EM12: exactly one certificate."""
        answer = self.ask('/ca.crt')
        self.assertEqual(200, answer.status_int)
        self.assertEqual('application/x-pem-file', answer.content_type)
        found = x509.load_pem_x509_certificates(answer.body)
        self.assertEqual([self.pki.root.certificate], found)

    def test_crl(self):
        issuer = 'c' * 16
        self.crls[issuer] = models.Crl(
            issuer=issuer,
            number=1,
            der=b'0\x00',
            this_update=fakes.NOW,
            next_update=fakes.NOW + datetime.timedelta(days=1),
        )
        answer = self.ask('/crl/%s.crl' % issuer)
        self.assertEqual((200, b'0\x00'), (answer.status_int, answer.body))
        self.assertEqual('application/pkix-crl', answer.content_type)
        self.assertEqual('max-age=30', answer.headers['Cache-Control'])
        head = self.ask('/crl/%s.crl' % issuer, 'HEAD')
        self.assertEqual((200, b''), (head.status_int, head.body))

    def test_no_such_crl(self):
        self.crls['..'] = self.crls['c' * 17] = None
        for name in (
            '',
            '.crl',
            'c' * 16,
            '%s.crl' % ('d' * 16),
            '%s.crl' % ('C' * 16),
            '%s.crl.crl' % ('c' * 16),
            '%s.CRL' % ('c' * 16),
            '%s.crl/' % ('c' * 16),
            '../%s.crl' % ('c' * 16),
            '%2e%2e.crl',
            '%00.crl',
            'x' * 4000,
        ):
            answer = self.ask('/crl/' + name)
            self.assert_error(answer, 404, 'not_found')
