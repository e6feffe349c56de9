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
"""The worker and a real RabbitMQ."""

import threading

from novajoin import exceptions
from novajoin.db import engine
from novajoin.db import migration
from novajoin.notify import worker
from novajoin.tests import base
from novajoin.tests.functional.notify import publisher
from novajoin.tests.functional.notify import rabbit
from novajoin.tests.unit.notify import test_events
from novajoin.tests.unit.notify import test_listener
from novajoin.tests.unit.notify import test_worker

PATIENCE = rabbit.PATIENCE


class WorkerCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.rabbit = self.useFixture(rabbit.Rabbit())
        self.database = engine.Database(
            'sqlite:///%s' % (self.make_directory() / 'novajoin.sqlite')
        )
        self.addCleanup(self.database.close)
        migration.sync(self.database)
        self.domain = self.make_domain()

    def make_domain(self, process='host:1:a'):
        return test_worker.Domain(self.database, base.Clock(), process)

    def start_worker(self, domain=None):
        conf = test_listener.build_conf(
            self.make_directory(),
            '[DEFAULT]\ntransport_url = %s\n'
            '[notify]\noutbox_interval = 0.2\n' % self.rabbit.url,
        )
        subject = worker.Worker(
            conf, conf.notify, lambda: (domain or self.domain).services
        )
        subject.start()
        self.addCleanup(subject.stop)
        return subject

    def publish(self, step):
        self.useFixture(publisher.Publisher(self.rabbit.url)).publish(step)

    def wait_for_hints(self, count, domain=None):
        domain = domain or self.domain
        with domain.changed:
            self.assertTrue(
                domain.changed.wait_for(
                    lambda: len(domain.hints) >= count, PATIENCE
                ),
                domain.hints,
            )


class TestNotifications(WorkerCase):
    def setUp(self):
        super().setUp()
        self.rabbit.start()

    def test_delete(self):
        """NJ3: what nova publishes at a delete reaches the domain."""
        self.start_worker()
        self.rabbit.wait_for_consumer()
        self.publish('28-delete')
        self.wait_for_hints(2)
        self.assertEqual(
            {
                (
                    test_events.WEB,
                    'delete',
                    'req-b210a456-82ae-45df-8579-c916c38f8c6d',
                )
            },
            {
                (hint.instance, hint.kind, request_id)
                for hint, request_id in self.domain.hints
            },
        )

    def test_from_conductor_and_api(self):
        """Errored and shelved instances are deleted by nova's api."""
        self.start_worker()
        self.rabbit.wait_for_consumer()
        self.publish('36-delete-errored')
        self.publish('33-shelved-then-deleted')
        self.wait_for_hints(4)
        self.assertEqual(
            {'delete'}, {hint.kind for hint, _ in self.domain.hints}
        )

    def test_two_workers_share_them(self):
        other = self.make_domain('host:2:b')
        self.start_worker()
        self.start_worker(other)
        self.rabbit.wait_for_consumer()
        for _ in range(10):
            self.publish('28-delete')
        rabbit.wait_for(
            lambda: len(self.domain.hints) + len(other.hints) == 20
        )

    def test_garbled_ones_do_no_harm(self):
        """Whatever is sent, the next notification is heard."""
        self.start_worker()
        self.rabbit.wait_for_consumer()
        sender = self.useFixture(publisher.Publisher(self.rabbit.url))
        notification = test_events.load('28-delete')[-1]
        for payload in ('', [], {'nova_object.data': 7}, 7, None, 'x' * 10**6):
            sender.publish_one(notification, payload)
        for event_type in (None, 7, ['instance.delete.end'], '', 'x' * 10**5):
            sender.publish_one({**notification, 'event_type': event_type})
        for _ in range(3):
            sender.publish('28-delete')
        self.wait_for_hints(6)
        self.assertEqual(
            {test_events.WEB},
            {hint.instance for hint, _ in self.domain.hints},
        )


class TestEnd(WorkerCase):
    def setUp(self):
        super().setUp()
        self.rabbit.start()

    def test_what_was_taken_is_finished(self):
        """A stop drains: nothing is taken and then dropped."""
        subject = self.start_worker()
        self.rabbit.wait_for_consumer()
        go_on = threading.Event()
        take = self.domain.take_hint

        def take_slowly(hint, request_id):
            self.domain.count('begun')
            go_on.wait(PATIENCE)
            take(hint, request_id)

        object.__setattr__(self.domain.services, 'take_hint', take_slowly)
        for _ in range(20):
            self.publish('28-delete')
        self.domain.wait_for(self.domain.has(begun=2))
        stopping = threading.Thread(target=subject.stop)
        stopping.start()
        go_on.set()
        stopping.join(PATIENCE)
        # What this one did not finish comes to the next one.
        other = self.make_domain('host:2:b')
        self.start_worker(other)
        rabbit.wait_for(
            lambda: len(self.domain.hints) + len(other.hints) >= 40
        )

    def test_what_could_not_be_written_goes_to_the_next(self):
        """The database is away and the worker ends: no hint is lost."""
        subject = self.start_worker()
        self.rabbit.wait_for_consumer()
        self.domain.errors['take_hint'] = [
            exceptions.DatabaseUnavailable()
        ] * 1000
        self.publish('28-delete')
        self.domain.wait_for(self.domain.has(take_hint=2))
        subject._settings.shutdown_timeout = 0.1
        subject.stop()
        # In this process the connection is still there; a real one is gone.
        subject._listener._transport.cleanup()
        subject._listener._server.listener.cleanup()
        other = self.make_domain('host:2:b')
        self.start_worker(other)
        self.wait_for_hints(2, other)
        self.domain.errors.clear()


class TestBroker(WorkerCase):
    """The broker comes and goes."""

    def test_absent_at_start(self):
        self.start_worker()
        self.domain.wait_for(self.domain.has(outbox=3, sweep=1))
        self.rabbit.start()
        self.rabbit.wait_for_consumer()
        self.publish('28-delete')
        self.wait_for_hints(2)

    def test_absent_at_start_and_end(self):
        subject = self.start_worker()
        self.domain.wait_for(self.domain.has(outbox=1))
        subject.stop()
        subject.wait()

    def test_restarted(self):
        self.rabbit.start()
        self.start_worker()
        self.rabbit.wait_for_consumer()
        self.publish('28-delete')
        self.wait_for_hints(2)
        self.rabbit.stop()
        before = self.domain.calls['outbox']
        self.domain.wait_for(self.domain.has(outbox=before + 3))
        self.rabbit.start()
        self.rabbit.wait_for_consumer()
        self.publish('28-delete')
        self.wait_for_hints(4)
