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

"""Health."""

import threading

import fixtures

from novajoin import exceptions
from novajoin.api import health
from novajoin.tests import base as tests_base
from novajoin.tests.unit.api import base


class TestHealth(tests_base.TestCase):
    def test_no_checks(self):
        report = health.Health({}).get_report()
        self.assertEqual({'is_ready': True, 'checks': []}, report)

    def test_remembers(self):
        calls = []
        checks = {'a': health.Check(lambda: calls.append(1))}
        well = health.Health(checks, ttl=1000)
        well.get_report()
        well.get_report()
        self.assertEqual([1], calls)
        well = health.Health(checks, ttl=0)
        well.get_report()
        well.get_report()
        self.assertEqual([1, 1, 1], calls)

    def test_a_check_that_hangs(self):
        """It costs one thread, not one for each look."""
        release = threading.Event()
        self.addCleanup(release.set)
        calls = []

        def hang():
            calls.append(1)
            release.wait(60)

        well = health.Health(
            {'a': health.Check(hang), 'b': health.Check(lambda: None)},
            ttl=0,
            timeout=0.05,
        )
        for _ in range(3):
            report = well.get_report()
            self.assertFalse(report['is_ready'])
            self.assertEqual(
                [('a', 'timeout'), ('b', 'ok')],
                [(row['name'], row['status']) for row in report['checks']],
            )
        self.assertEqual([1], calls)

    def test_only_one_thread_waits(self):
        release = threading.Event()
        self.addCleanup(release.set)
        is_slow = threading.Event()

        def hang():
            if is_slow.is_set():
                release.wait(60)

        well = health.Health({'a': health.Check(hang)}, ttl=0, timeout=60)
        before = well.get_report()
        is_slow.set()
        thread = threading.Thread(target=well.get_report)
        thread.start()
        while well._lock.acquire(blocking=False):
            well._lock.release()
        self.assertIs(before, well.get_report())
        release.set()
        thread.join()
        self.assertIsNot(before, well.get_report())


class TestHealthcheck(base.ApiTestCase):
    is_noauth = False

    def setUp(self):
        super().setUp()
        self.faults = {}
        self.checks = {
            'database': health.Check(lambda: self.fail_as('database')),
            'identity': health.Check(
                lambda: self.fail_as('identity'), is_needed=False
            ),
        }
        self.app = self.make_app()

    def fail_as(self, name):
        if name in self.faults:
            raise self.faults[name]

    def test_well(self):
        response = self.app.get('/healthcheck')
        self.assertEqual(
            {
                'status': 'ready',
                'checks': [
                    {'name': 'database', 'status': 'ok', 'is_needed': True},
                    {'name': 'identity', 'status': 'ok', 'is_needed': False},
                ],
            },
            response.json,
        )
        self.assertEqual('no-store', response.headers['Cache-Control'])
        self.assertIn('X-Openstack-Request-Id', response.headers)

    def test_what_is_not_needed(self):
        self.faults['identity'] = exceptions.IdentityUnavailable('secret')
        response = self.app.get('/healthcheck/')
        self.assertEqual('ready', response.json['status'])
        self.assertEqual(
            'identity_unavailable', response.json['checks'][1]['status']
        )
        self.assertNotIn('secret', response.text)

    def test_what_is_needed(self):
        self.faults['database'] = RuntimeError('mysql://user:secret@host')
        log = self.useFixture(fixtures.FakeLogger('novajoin.api.health'))
        response = self.app.get('/healthcheck', status=503)
        self.assertEqual('not ready', response.json['status'])
        self.assertEqual('failed', response.json['checks'][0]['status'])
        self.assertNotIn('secret', response.text)
        self.assertIn('the health check of database failed', log.output)
        response = self.app.get('/healthcheck/ready', status=503)
        self.assertEqual({'status': 'not ready'}, response.json)

    def test_live_whatever_happens(self):
        self.faults['database'] = RuntimeError()
        response = self.app.get('/healthcheck/live')
        self.assertEqual({'status': 'live'}, response.json)

    def test_head(self):
        self.app.head('/healthcheck/ready')

    def test_not_by_prefix(self):
        response = self.app.get('/healthchecks', status='*')
        self.assert_error(response, 401, 'unauthorized')
