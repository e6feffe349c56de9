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

from novajoin import exceptions
from novajoin.enrollment import service_certificates
from novajoin.tests.unit.enrollment import world

NAMES = frozenset({world.CHECKIN})


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
        issuer = Issuer(b'first', b'second')
        self.assertEqual(2, self.requests.sign_pending(issuer, NAMES))
        self.assertEqual(
            [
                (b'one', NAMES, self.world.clock()),
                (b'two', NAMES, self.world.clock()),
            ],
            issuer.asked,
        )
        self.assertEqual(b'first', self.requests.find(first).certificate)
        self.assertEqual(b'second', self.requests.find(second).certificate)
        self.assertEqual(0, self.requests.sign_pending(issuer, NAMES))

    def test_refused(self):
        """The reason is on the row; the others are signed all the same."""
        bad = self.requests.request(b'bad', 'host1')
        self.world.clock.advance(1)
        good = self.requests.request(b'good', 'host2')
        issuer = Issuer(
            exceptions.CsrMismatch('dns_extra', 'x' * 999), b'good'
        )
        self.assertEqual(2, self.requests.sign_pending(issuer, NAMES))
        self.assertEqual('x' * 255, self.requests.find(bad).refusal)
        self.assertIsNone(self.requests.find(bad).certificate)
        self.assertEqual(b'good', self.requests.find(good).certificate)

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
        self.assertEqual(1, self.requests.sign_pending(Issuer(b'x'), NAMES))

    def test_limit(self):
        for number in range(3):
            self.requests.request(b'%d' % number, 'host')
        self.assertEqual(
            2,
            self.requests.sign_pending(Issuer(b'x', b'x'), NAMES, limit=2),
        )

    def test_unknown(self):
        self.assertIsNone(self.requests.find(world.make_uuid()))
