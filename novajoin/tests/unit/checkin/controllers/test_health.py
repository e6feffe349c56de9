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
"""The health check."""

from novajoin import exceptions
from novajoin.tests.unit.checkin import fakes


class TestHealth(fakes.AppTestCase):
    def test_healthy(self):
        self.health['database'] = lambda: None
        answer = self.ask('/healthcheck')
        self.assertEqual((200, 'OK\n'), (answer.status_int, answer.text))
        self.assertEqual(200, self.ask('/healthcheck', 'HEAD').status_int)

    def test_attention(self):
        """A renewal that fails is told while it can still be mended."""
        self.health['certificate'] = lambda: 'it runs out at …'
        answer = self.ask('/healthcheck')
        self.assertEqual(200, answer.status_int)
        self.assertEqual('OK\nattention: certificate\n', answer.text)

    def test_not_healthy(self):
        def fail():
            raise exceptions.DatabaseUnavailable('host mysql-1 refuses us')

        self.health['database'] = fail
        self.health['certificate'] = lambda: None
        answer = self.ask('/healthcheck')
        self.assert_error(answer, 503, 'unavailable')
        self.assertIn('database', answer.text)
        self.assertNotIn('mysql', answer.text)

    def test_is_not_run_for_each_who_asks(self):
        calls = []
        self.health['database'] = lambda: calls.append(1)
        for _ in range(5):
            self.ask('/healthcheck')
        self.assertEqual([1], calls)


class TestHealthUnderLoad(fakes.AppTestCase):
    rate_limit = 1

    def test_is_not_limited(self):
        answers = {self.ask('/healthcheck').status_int for _ in range(3)}
        self.assertEqual({200}, answers)
