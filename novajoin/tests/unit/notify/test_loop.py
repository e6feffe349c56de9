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

import threading

import fixtures

from novajoin import exceptions
from novajoin.notify import loop
from novajoin.tests import base


class TestLoop(base.TestCase):
    """No time is measured: what is waited for must come."""

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger())
        self.calls = 0
        self.results = []
        self.done = threading.Event()
        self.farewells = 0

    def body(self):
        self.calls += 1
        if not self.results:
            self.done.set()
            return False
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def farewell(self):
        self.farewells += 1

    def run_until_done(self, interval):
        subject = loop.Loop(
            'a-loop', interval, self.body, farewell=self.farewell
        )
        subject.start()
        self.assertTrue(self.done.wait(30))
        subject.stop()
        self.assertTrue(subject.join(30))
        return subject

    def test_calls_again_at_once_while_there_is_more(self):
        self.results = [True] * 5
        self.run_until_done(interval=3600)
        self.assertEqual(6, self.calls)

    def test_calls_again_after_the_interval(self):
        self.results = [False] * 5
        self.run_until_done(interval=0.001)
        self.assertGreaterEqual(self.calls, 6)

    def test_survives_failures(self):
        self.results = [
            RuntimeError('a programming error'),
            exceptions.DatabaseUnavailable('the database is away'),
            True,
        ]
        self.run_until_done(interval=0.001)
        self.assertIn('a-loop failed', self.log.output)
        self.assertIn('a-loop has to wait: the database', self.log.output)

    def test_farewell(self):
        self.run_until_done(interval=3600)
        self.assertEqual(1, self.farewells)

    def test_wake(self):
        subject = loop.Loop('a-loop', 3600, self.body)
        subject.start()
        self.assertTrue(self.done.wait(30))
        self.done.clear()
        subject.wake()
        self.assertTrue(self.done.wait(30))
        subject.stop()
        self.assertTrue(subject.join(30))

    def test_stop_does_not_wait_for_the_interval(self):
        subject = self.run_until_done(interval=3600)
        self.assertTrue(subject.join(0))

    def test_failures_grow_apart(self):
        subject = loop.Loop('a-loop', 1, self.body)
        delays = [subject._get_delay(failures) for failures in range(40)]
        self.assertLess(delays[0], 1.2)
        self.assertGreater(delays[3], 5)
        self.assertLess(max(delays), loop.LONGEST_DELAY * 1.2)
