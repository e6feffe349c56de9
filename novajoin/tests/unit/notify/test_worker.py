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
import time
import types

import fixtures
from oslo_context import context
import oslo_messaging

from novajoin import exceptions
from novajoin import models
from novajoin.db import engine
from novajoin.db import leases
from novajoin.db import migration
from novajoin.db import processes
from novajoin.enrollment import reconciliation
from novajoin.notify import worker
from novajoin.tests import base
from novajoin.tests.unit.notify import test_events
from novajoin.tests.unit.notify import test_listener

PATIENCE = 30


class Context(context.RequestContext):
    """What nova's context is to oslo.messaging."""

    def redacted_copy(self):
        return self


class ContextSerializer(oslo_messaging.NoOpSerializer):
    def serialize_context(self, ctxt):
        return ctxt.to_dict()


class Domain:
    """What the worker calls: it counts, and fails when told to."""

    def __init__(self, database, clock, process='host:1:a'):
        self.calls = {}
        self.errors = {}
        self.hints = []
        self.is_closed = False
        self.pending = 0
        self.changed = threading.Condition()
        self.services = worker.Services(
            database=database,
            clock=clock,
            process=process,
            take_hint=self.take_hint,
            work_outbox=self.work_outbox,
            sweep=self.sweep,
            expire=lambda: self.count('expire'),
            sign_service_certificates=lambda: self.count('sign') and 0,
            list_keys=lambda: {'credential': ['0123456789abcdef']},
            publish_crl=lambda: self.count('crl'),
            close=self.close,
        )

    def count(self, name):
        with self.changed:
            self.calls[name] = self.calls.get(name, 0) + 1
            self.changed.notify_all()
        errors = self.errors.get(name)
        if errors:
            raise errors.pop(0)
        return self.calls[name]

    def take_hint(self, hint, request_id):
        self.count('take_hint')
        with self.changed:
            self.hints.append((hint, request_id))
            self.changed.notify_all()

        return True

    def sweep(self):
        a, b, c = (
            reconciliation.Difference(name, name, models.State.ENROLLED)
            for name in 'abc'
        )
        return reconciliation.SweepResult(self.count('sweep'), (a, b), (c,))

    def work_outbox(self, limit):
        self.count('outbox')
        with self.changed:
            worked = min(limit, self.pending)
            self.pending -= worked
            return worked

    def close(self):
        self.is_closed = True

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), (
                self.calls,
                self.hints,
            )

    def has(self, **counts):
        return lambda: all(
            self.calls.get(name, 0) >= count for name, count in counts.items()
        )


class WorkerCase(base.TestCase):
    transport = ''

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger())
        self.clock = base.Clock()
        self.database = engine.Database(
            'sqlite:///%s' % (self.make_directory() / 'novajoin.sqlite')
        )
        self.addCleanup(self.database.close)
        migration.sync(self.database)
        self.conf = test_listener.build_conf(
            self.make_directory(), self.transport
        )
        # Everything at once, and then not again unless woken.
        for option in (
            'outbox_interval',
            'sweep_interval',
            'expiry_interval',
            'service_certificate_interval',
        ):
            self.conf.set_override(option, 3600, 'notify')
        self.conf.set_override('outbox_threads', 1, 'notify')
        self.settings = types.SimpleNamespace(**self.conf.notify)

    def build(self, domain):
        return worker.Worker(self.conf, self.settings, lambda: domain.services)

    def start(self, domain):
        subject = self.build(domain)
        subject.start()
        self.addCleanup(subject.stop)
        return subject

    def send(self, notification, exchange='nova', topic='notifications'):
        conf = test_listener.build_conf(
            self.make_directory(),
            self.transport + 'control_exchange = %s\n' % exchange,
        )
        oslo_messaging.Notifier(
            oslo_messaging.get_notification_transport(conf),
            notification['publisher_id'],
            driver='messagingv2',
            topics=[topic],
            serializer=ContextSerializer(),
        ).info(
            Context(
                request_id=notification.get('ctxt', {}).get('request_id'),
                overwrite=False,
            ),
            notification['event_type'],
            notification.get('payload', {}),
        )


class TestWorker(WorkerCase):
    def test_does_all_its_work_without_a_broker(self):
        domain = Domain(self.database, self.clock)
        subject = self.start(domain)
        domain.wait_for(domain.has(outbox=1, sweep=1, expire=1, sign=1, crl=1))
        subject.stop()
        self.assertTrue(domain.is_closed)
        self.assertIn('2 instances are missing and 1 have', self.log.output)
        self.assertIn('NOT listened to', self.log.output)

    def test_more_work_than_a_batch(self):
        domain = Domain(self.database, self.clock)
        domain.pending = 2 * self.conf.notify.outbox_batch + 1
        self.start(domain)
        domain.wait_for(lambda: domain.pending == 0)

    def test_each_kind_of_work_survives_its_failure(self):
        for option in ("sweep_interval", "outbox_interval", "crl_interval"):
            setattr(self.settings, option, 0.01)
        domain = Domain(self.database, self.clock)
        domain.errors = {
            name: [
                exceptions.ComputeUnavailable(),
                exceptions.DatabaseUnavailable(),
                ValueError('a programming error'),
            ]
            for name in ('sweep', 'outbox', 'crl')
        }
        self.start(domain)
        domain.wait_for(domain.has(outbox=5, sweep=5, crl=5))
        self.assertIn('a programming error', self.log.output)

    def test_reports_its_keys(self):
        domain = Domain(self.database, self.clock)
        subject = self.start(domain)
        domain.wait_for(domain.has(outbox=1))
        self.assertTrue(subject._loops[3].name, 'report')
        deadline = time.monotonic() + PATIENCE
        known = []
        while not known and time.monotonic() < deadline:
            known = self.database.read(
                lambda tx: processes.list_keys(
                    tx, 'credential', self.clock.now
                )
            )
        self.assertEqual([frozenset({'0123456789abcdef'})], known)

    def test_a_start_that_fails_is_in_the_log(self):
        """What oslo.service would write to stderr only."""

        def build():
            raise exceptions.KeyUnavailable('no such key')

        subject = worker.Worker(self.conf, self.conf.notify, build)
        self.assertRaises(exceptions.KeyUnavailable, subject.start)
        self.assertIn('no such key', self.log.output)

    def test_stop_twice(self):
        domain = Domain(self.database, self.clock)
        subject = self.start(domain)
        subject.stop()
        subject.stop(graceful=True)
        subject.wait()
        subject.reset()

    def test_stop_does_not_wait_for_ever(self):
        self.settings.shutdown_timeout = 0.1
        domain = Domain(self.database, self.clock)
        never = threading.Event()
        self.addCleanup(never.set)
        object.__setattr__(
            domain.services, 'sweep', lambda: never.wait(PATIENCE)
        )
        subject = self.start(domain)
        domain.wait_for(domain.has(outbox=1))
        subject.stop()
        subject.wait()

    def test_a_wrong_url_is_found_before_the_fork(self):
        self.transport = '[DEFAULT]\ntransport_url = nosuch://\n'
        self.conf = test_listener.build_conf(
            self.make_directory(), self.transport
        )
        self.assertRaises(
            exceptions.ConfigurationError,
            self.build,
            Domain(self.database, self.clock),
        )


class TestSingle(WorkerCase):
    """What one process does is not done by two."""

    def test_one_sweeps(self):
        first = Domain(self.database, self.clock, 'host:1:a')
        second = Domain(self.database, self.clock, 'host:2:b')
        self.start(first)
        first.wait_for(first.has(sweep=1, expire=1))
        self.start(second)
        second.wait_for(second.has(outbox=1, sign=1, crl=1))
        self.assertNotIn('sweep', second.calls)
        self.assertNotIn('expire', second.calls)

    def test_its_successor_needs_not_wait(self):
        first = Domain(self.database, self.clock, 'host:1:a')
        second = Domain(self.database, self.clock, 'host:2:b')
        subject = self.start(first)
        first.wait_for(first.has(sweep=1))
        subject.stop()
        self.start(second)
        second.wait_for(second.has(sweep=1))

    def test_a_dead_one_is_succeeded(self):
        now = self.clock.now
        self.database.write(
            lambda tx: leases.acquire(
                tx, 'notify.sweep', 'host:0:dead', now, now
            )
        )
        domain = Domain(self.database, self.clock)
        self.start(domain)
        domain.wait_for(domain.has(sweep=1))


class TestHints(WorkerCase):
    transport = '[DEFAULT]\ntransport_url = fake://\n'

    def setUp(self):
        super().setUp()
        self.domain = Domain(self.database, self.clock)
        self.subject = self.start(self.domain)
        self.subject._listener._thread.join(PATIENCE)
        (self.delete,) = [
            notification
            for notification in test_events.load('28-delete')
            if notification['event_type'] == 'instance.delete.end'
        ]

    def test_delete(self):
        """NJ3: the delete that nova published reaches the domain."""
        self.domain.wait_for(self.domain.has(outbox=1))
        for notification in test_events.load('28-delete'):
            self.send(notification)
        self.domain.wait_for(lambda: len(self.domain.hints) == 2)
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
        # Work is begun at once and not at the end of the interval.
        self.domain.wait_for(self.domain.has(outbox=2))
        self.assertIn('nova says instance.delete.end', self.log.output)

    def test_what_is_not_ours_is_not_worth_a_line(self):
        def take_hint(hint, request_id):
            self.domain.take_hint(hint, request_id)
            return False

        object.__setattr__(self.domain.services, 'take_hint', take_hint)
        self.send(self.delete)
        self.domain.wait_for(lambda: self.domain.hints)
        self.subject.stop()
        self.assertNotIn('nova says', self.log.output)

    def test_both_topics(self):
        for topic in self.conf.notify.topics:
            self.send(self.delete, topic=topic)
        self.domain.wait_for(lambda: len(self.domain.hints) == 2)

    def test_without_a_request_id(self):
        self.delete['ctxt']['request_id'] = 'forged'
        self.send(self.delete)
        self.domain.wait_for(lambda: self.domain.hints)
        self.assertRegex(self.domain.hints[0][1], '^req-[0-9a-f-]{36}$')

    def test_database_away(self):
        """A hint waits for the database: nothing is lost in bad times."""
        self.domain.errors['take_hint'] = [
            exceptions.DatabaseUnavailable()
        ] * 2
        self.send(self.delete)
        self.domain.wait_for(lambda: self.domain.hints)
        self.assertEqual(3, self.domain.calls['take_hint'])

    def test_stop_drains(self):
        """What was taken from the broker is finished before the end."""
        for _ in range(20):
            self.send(self.delete)
        self.domain.wait_for(self.domain.has(take_hint=1))
        self.subject.stop()
        taken = self.domain.calls['take_hint']
        self.assertEqual(taken, len(self.domain.hints))
