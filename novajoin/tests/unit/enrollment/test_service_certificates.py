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
"""Certificates of the check-in processes: asked for and signed by rows."""

import datetime

from novajoin import exceptions
from novajoin import models
from novajoin.enrollment import service_certificates
from novajoin.tests.unit.checkin import pki
from novajoin.tests.unit.enrollment import world

ISSUER = 'a' * 16
NAMES = frozenset({world.CHECKIN})


def make_certificate(serial=1):
    """Return a certificate of one more key."""
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    return models.IssuedCertificate(
        serial, ISSUER, pki.issue('host').der, begin, begin.replace(year=2126)
    )


class Issuer:
    """What signs; refuses or is away as the test says."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def issue_service(self, csr, names, now):
        self.asked.append((csr, names, now))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class ServiceCertificatesTestCase(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.requests = service_certificates.ServiceCertificates(
            self.world.database, self.world.clock
        )

    def test_signed(self):
        first = self.requests.request(b'one', 'host1')
        self.world.clock.advance(1)
        second = self.requests.request(b'two', 'host2')
        self.assertIsNone(self.requests.find(first).certificate)
        certificates = make_certificate(), make_certificate()
        issuer = Issuer(*certificates)
        self.assertEqual(2, self.requests.sign_pending(issuer, NAMES))
        self.assertEqual(
            [
                (b'one', NAMES, self.world.clock()),
                (b'two', NAMES, self.world.clock()),
            ],
            issuer.asked,
        )
        for request, certificate in zip(
            (first, second), certificates, strict=True
        ):
            self.assertEqual(
                certificate.der, self.requests.find(request).certificate
            )
        self.assertEqual(0, self.requests.sign_pending(issuer, NAMES))

    def test_refused(self):
        """The reason is on the row; the others are signed all the same."""
        bad = self.requests.request(b'bad', 'host1')
        self.world.clock.advance(1)
        good = self.requests.request(b'good', 'host2')
        certificate = make_certificate()
        issuer = Issuer(
            exceptions.CsrMismatch('dns_extra', 'x' * 999), certificate
        )
        self.assertEqual(2, self.requests.sign_pending(issuer, NAMES))
        self.assertEqual('x' * 255, self.requests.find(bad).refusal)
        self.assertIsNone(self.requests.find(bad).certificate)
        self.assertEqual(certificate.der, self.requests.find(good).certificate)

    def test_key_is_elsewhere(self):
        """The request waits for a process that has the key."""
        request = self.requests.request(b'one', 'host1')
        self.assertRaises(
            exceptions.CAUnavailable,
            self.requests.sign_pending,
            Issuer(exceptions.CAUnavailable()),
            NAMES,
        )
        self.assertIsNone(self.requests.find(request).refusal)
        self.assertEqual(
            1, self.requests.sign_pending(Issuer(make_certificate()), NAMES)
        )

    def test_limit(self):
        for number in range(3):
            self.requests.request(b'%d' % number, 'host')
        issuer = Issuer(make_certificate(), make_certificate())
        self.assertEqual(2, self.requests.sign_pending(issuer, NAMES, limit=2))

    def test_a_key_has_leaked(self):
        """By the id that "keys list" shows; the others stay."""
        for serial, host in ((0xA, 'host1'), (0xB, 'host2')):
            self.requests.request(b'csr', host)
            self.requests.sign_pending(Issuer(make_certificate(serial)), NAMES)
        first, second = self.requests.list_valid()
        self.assertRegex(first.key_id, '^[0-9a-f]{16}$')
        self.assertNotEqual(first.key_id, second.key_id)
        for _ in range(2):
            self.assertEqual(
                ['host1'], self.requests.compromise(first.key_id, 'req-1')
            )
        self.assertTrue(self.requests.is_revoked('a'))
        self.assertFalse(self.requests.is_revoked('b'))
        self.assertEqual([], self.requests.compromise('f' * 16, 'req-2'))
        (event,) = self.world.list_events()
        self.assertEqual(
            (
                'service_certificate.revoked',
                'req-1',
                {'key': first.key_id, 'hosts': ['host1']},
            ),
            (event.kind, event.request_id, event.detail),
        )

    def test_unknown(self):
        self.assertIsNone(self.requests.find(world.make_uuid()))
