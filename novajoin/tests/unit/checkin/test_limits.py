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
"""The rate limit."""

from novajoin import exceptions
from novajoin.checkin import limits
from novajoin.tests import base
from novajoin.tests.unit.checkin import fakes


class TestRateLimit(base.TestCase):
    def setUp(self):
        super().setUp()
        self.now = 1000.0

    def make(self, per_minute):
        return limits.RateLimit(per_minute, timer=lambda: self.now)

    def assert_full(self, limit, address):
        self.assertRaises(exceptions.TooManyRequests, limit.take, address)

    def test_a_minute_refills(self):
        limit = self.make(60)
        for _ in range(60):
            limit.take('192.0.2.1')
        self.assert_full(limit, '192.0.2.1')
        self.now += 1.0
        limit.take('192.0.2.1')
        self.assert_full(limit, '192.0.2.1')
        self.now += 3600.0
        for _ in range(60):
            limit.take('192.0.2.1')
        self.assert_full(limit, '192.0.2.1')

    def test_asking_while_empty_costs_nothing(self):
        limit = self.make(1)
        limit.take('192.0.2.1')
        for _ in range(100):
            self.assert_full(limit, '192.0.2.1')
        self.now += 60.0
        limit.take('192.0.2.1')

    def test_senders(self):
        """Others are not touched; an IPv6 /64 is one sender."""
        limit = self.make(1)
        limit.take('192.0.2.1')
        limit.take('192.0.2.2')
        self.assert_full(limit, '::ffff:192.0.2.2')
        limit.take('2001:db8::1')
        self.assert_full(limit, '2001:db8::ffff')
        limit.take('2001:db8:0:1::1')
        limit.take('fe80::1%eth0')
        self.assert_full(limit, 'fe80::2%eth1')
        limit.take('not:an:address')
        limit.take('')

    def test_off(self):
        limit = self.make(0)
        for _ in range(1000):
            limit.take('192.0.2.1')

    def test_memory_is_bounded(self):
        limit = self.make(1)
        for number in range(20000):
            limit.take('host%d' % number)
        self.assertLessEqual(len(limit._buckets), 16384)


class TestLimitedApplication(fakes.AppTestCase):
    rate_limit = 2

    def test_429(self):
        """IDENTITY 5: rate 429, with Retry-After."""
        self.ask('/ca.crt')
        self.ask('/nothing')
        answer = self.enroll()
        self.assert_error(answer, 429, 'too_many_requests')
        self.assertEqual('5', answer.headers['Retry-After'])
        self.assert_untouched()
        other = self.ask('/ca.crt', environ={'REMOTE_ADDR': '192.0.2.8'})
        self.assertEqual(200, other.status_int)

    def test_forwarded_addresses_are_not_believed(self):
        answers = [
            self.ask(
                '/ca.crt', headers={'X-Forwarded-For': '192.0.2.%d' % number}
            ).status_int
            for number in range(4)
        ]
        self.assertEqual([200, 200, 429, 429], answers)
