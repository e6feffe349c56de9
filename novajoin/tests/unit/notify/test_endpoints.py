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

import logging

import fixtures
import oslo_messaging

from novajoin import exceptions
from novajoin import models
from novajoin.notify import endpoints
from novajoin.tests import base
from novajoin.tests.unit.notify import test_events

TOKEN = 'gAAAAAB-the-live-token-of-a-user'


class TestInstanceEndpoint(base.TestCase):
    def setUp(self):
        super().setUp()
        self.taken = []
        self.error = None
        self.sleeps = []
        self.endpoint = endpoints.InstanceEndpoint(
            self.take, self.sleeps.append
        )
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))

    def take(self, hint, request_id):
        self.taken.append((hint, request_id))
        if isinstance(self.error, list):
            if self.error:
                raise self.error.pop()
        elif self.error:
            raise self.error

    def send(self, notification):
        return self.endpoint.info(
            notification.get('ctxt', {}),
            notification['publisher_id'],
            notification['event_type'],
            notification.get('payload'),
            {},
        )

    def test_recorded(self):
        """NJ3: a delete is handed on, in both formats."""
        for notification in test_events.load('28-delete'):
            self.assertEqual(
                oslo_messaging.NotificationResult.HANDLED,
                self.send(notification),
            )
        self.assertEqual(
            [
                (
                    models.Hint(test_events.WEB, 'delete', event_type),
                    'req-b210a456-82ae-45df-8579-c916c38f8c6d',
                )
                for event_type in (
                    'compute.instance.delete.end',
                    'instance.delete.end',
                )
            ],
            self.taken,
        )

    def test_filter_lets_pass_what_is_parsed(self):
        for step in test_events.list_steps():
            for notification in test_events.load(step):
                self.assertEqual(
                    test_events.parse(notification) is not None,
                    bool(
                        self.endpoint.filter_rule.match(
                            {},
                            notification['publisher_id'],
                            notification['event_type'],
                            {},
                            notification.get('payload') or {},
                        )
                    ),
                )

    def test_a_failure_is_not_sent_again(self):
        self.error = exceptions.ComputeUnavailable()
        for notification in test_events.load('28-delete'):
            self.assertEqual(
                oslo_messaging.NotificationResult.HANDLED,
                self.send(notification),
            )
        self.assertIn('could not be acted on', self.log.output)

    def test_waits_for_the_database(self):
        self.error = [exceptions.DatabaseUnavailable('it is away')] * 20
        self.send(test_events.load('28-delete')[-1])
        self.assertEqual(21, len(self.taken))
        self.assertEqual(20, len(self.sleeps))
        self.assertEqual([0.5, 1, 2], self.sleeps[:3])
        self.assertEqual(30, max(self.sleeps))
        self.assertIn('has to wait: it is away', self.log.output)

    def test_tokens_are_not_logged(self):
        """A context can hold a live token of a user."""
        self.error = RuntimeError('it failed')
        for step in test_events.list_steps():
            for notification in test_events.load(step):
                notification.setdefault('ctxt', {})['auth_token'] = TOKEN
                notification.setdefault('payload', {})['_context'] = {
                    'auth_token': TOKEN
                }
                self.send(notification)
        self.assertIn('it failed', self.log.output)
        self.assertNotIn(TOKEN, self.log.output)
