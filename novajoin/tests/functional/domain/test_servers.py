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
"""MariaDB and PostgreSQL give the same answers as SQLite."""

import datetime
import functools
import time

from alembic import autogenerate
from alembic.runtime import migration as alembic_migration
import sqlalchemy
from sqlalchemy.dialects import mysql

from novajoin import exceptions
from novajoin import models
from novajoin.db import credential_keys
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import leases
from novajoin.db import migration
from novajoin.db import service_certificates
from novajoin.db import stores
from novajoin.db import tables
from novajoin.enrollment import lifecycle
from novajoin.enrollment import service_certificates as domain_certificates
from novajoin.keys import repository
from novajoin.tests.functional.domain import processes
from novajoin.tests.functional.domain import races
from novajoin.tests.functional.domain import servers
from novajoin.tests.unit.db import test_migration
from novajoin.tests.unit.enrollment import invariants
from novajoin.tests.unit.enrollment import world

State = models.State


def compare_type(context, column, metadata_column, found, expected):
    """Say whether types differ; None: alembic knows."""
    if isinstance(found, mysql.MEDIUMBLOB):
        return expected.length != 2**24 - 1
    return None


def _make_generation(made, key_id, *generation):
    """Make one as a process does that has not looked at its keys again."""
    key = made.keys.get(repository.CREDENTIAL, key_id)
    return lifecycle.make_generation(
        key.secret,
        key.id,
        world.LIFETIME,
        made.clock(),
        *generation,
        ('clientAuth',),
    )


class Server:
    """A mixin: one server for a class, one database for a test."""

    server_class = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.server_class()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()

    def get_url(self):
        url = self.server.create()
        database = engine.Database(url)
        migration.sync(database)
        database.close()
        return url


class Database(Server):
    def make(self, url=None, directory=None, **kwargs):
        return self.make_world(
            directory or self.make_directory() / 'shared',
            url=url or self.get_url(),
            **kwargs,
        )

    def test_what_operators_are_told(self):
        """Cause and remedy, for the operator and for nobody else."""
        url = sqlalchemy.make_url(self.server.create())
        for changes, *words in (
            ({}, 'has not the schema', 'novajoin-manage db sync'),
            ({'database': 'nothing'}, 'There is no database', 'create it'),
            ({'username': 'eve'}, 'refuses the account', 'granted'),
            ({'port': 1}, 'cannot be reached', 'see that it runs'),
        ):
            database = engine.Database(
                url.set(**changes).render_as_string(hide_password=False)
            )
            self.addCleanup(database.close)
            error = self.assertRaises(
                exceptions.DatabaseUnavailable,
                database.read,
                enrollments.list_key_ids,
            )
            self.assertEqual('The database is not available.', error.message)
            for word in words:
                self.assertIn(word, error.cause)
            self.assertEqual(1, len(error.cause.splitlines()))

    def test_migration(self):
        """Four processes on an empty database; it is what the code says."""
        url = self.server.create()
        barrier = processes.context.Barrier(4)
        started = [
            processes.context.Process(
                target=test_migration.sync, args=(url, barrier), daemon=True
            )
            for _ in range(4)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(processes.TIMEOUT)
            self.assertEqual(0, process.exitcode)
        database = engine.Database(url)
        self.addCleanup(database.close)
        self.assertEqual(
            migration.get_head(), migration.find_version(database)
        )

        def compare(tx):
            made = alembic_migration.MigrationContext.configure(
                tx, opts={'compare_type': compare_type}
            )
            return autogenerate.compare_metadata(made, tables.metadata)

        self.assertEqual([], database.read(compare))

    def test_life(self):
        """Enrolled, renewed, rebuilt, contested, reissued, gone."""
        made = self.make()
        guest = made.enroll()
        guest.send_receipt()
        made.clock.advance(100.25)
        successor = guest.renew(world.make_key())
        self.assertIsNotNone(successor.certificate)
        made.nova.begin_rebuild(guest.instance)
        new = world.Guest(made, made.post(guest.instance))
        made.work()
        self.assertIsNotNone(new.redeem().certificate)
        self.assertRaises(exceptions.KeyConflict, new.clone().redeem)
        self.assertEqual([], invariants.find_violations(made, is_quiet=False))
        made.operations.reissue(
            guest.instance, world.make_caller(), expected=(2, 1)
        )
        made.work()
        made.nova.launch(guest.instance)
        made.clock.advance(1)
        made.nova.launch(guest.instance)
        last = world.Guest(made, made.post(guest.instance))
        self.assertIsNotNone(last.redeem().certificate)
        made.nova.delete(guest.instance)
        made.hint(guest.instance)
        made.work()
        self.assertIs(State.CLOSED, made.get_state(guest.instance))
        self.assertEqual([], invariants.find_violations(made))
        self.assertEqual(4, len(made.ca.list_revoked()))

    def test_what_is_revoked(self):
        """An intermediate and a check-in key, each by several at once."""
        made = self.make()
        now = made.clock()
        store = stores.CAStore(made.database)
        issued = models.IssuedCertificate(
            2**126, 'a' * 16, b'der', now, now + datetime.timedelta(days=1)
        )
        made.database.write(
            lambda tx: (
                service_certificates.insert(
                    tx, models.ServiceCertificate('id', 'host', b'csr', now)
                ),
                service_certificates.put_certificate(
                    tx, 'id', issued, 'b' * 16
                ),
            )
        )
        authority = models.RevokedAuthority(
            issued.issuer, 'c' * 16, 'abc', issued.not_after, now
        )
        revoke = functools.partial(store.revoke_authority, authority)
        self.assertEqual([None] * 4, self.at_once(*[revoke] * 4))
        requests = domain_certificates.ServiceCertificates(
            made.database, made.clock
        )
        compromise = functools.partial(requests.compromise, 'b' * 16, 'req-1')
        self.assertEqual([['host']] * 4, self.at_once(*[compromise] * 4))
        reason = models.RevocationReason.KEY_COMPROMISE
        for issuer, serial in (
            (authority.issuer, 'abc'),
            (issued.issuer, '%x' % 2**126),
        ):
            self.assertEqual(
                [models.Revocation(serial, now, reason)],
                store.list_revoked(issuer, now),
            )
        self.assertEqual(
            ['authority.revoked', 'service_certificate.revoked'],
            [event.kind for event in made.list_events()],
        )

    def test_compromise_among_posts(self):
        """Nothing stays open with a key that was retired meanwhile."""
        url = self.get_url()
        directory = self.make_directory() / 'shared'
        made = self.make(url, directory)
        key_id = made.keys.get_primary(repository.CREDENTIAL).id
        made.keys.retire(repository.CREDENTIAL, key_id)
        others = []
        for number in range(3):
            other = self.make(url, directory, process='p%d' % number)
            other.generations._make = functools.partial(
                _make_generation, other, key_id
            )
            others.append(other)

        def post(other):
            for number in range(500):
                name = '%s-%d' % (other.outbox._settings.process, number)
                other.post(other.start(name), name)

        def compromise():
            while len(made.list_enrollments()) < 3:
                time.sleep(0.01)
            return made.operations.compromise(key_id, 'req-x')

        dead, *refused = self.at_once(
            compromise, *[functools.partial(post, each) for each in others]
        )
        self.assertIsInstance(dead, list)
        for result in refused:
            self.assertIsInstance(result, exceptions.KeyRetired)
        self.assertEqual(
            [],
            made.database.read(
                lambda tx: enrollments.list_of_key(tx, key_id, models.OPEN)
            ),
        )
        self.assertEqual(len(made.list_enrollments()), len(dead))

    def test_first_use_of_a_key(self):
        made = self.make()

        def use(number):
            return made.database.write(
                lambda tx: credential_keys.is_usable(
                    tx, 'a' * 16, made.clock()
                )
            )

        results = self.at_once(
            *[functools.partial(use, number) for number in range(6)]
        )
        self.assertEqual([True] * 6, results)

    def test_six_posts(self):
        """The same bytes from two processes' six answers."""
        url = self.get_url()
        directory = self.make_directory() / 'shared'
        one = self.make(url, directory)
        two = self.make(url, directory, process='other')
        two.nova.servers = one.nova.servers
        instance = one.start()
        answers = self.at_once(
            *[functools.partial(each.post, instance) for each in (one, two)]
            * 3
        )
        self.assertEqual([answers[0]] * 6, answers)
        one.work_on()
        self.assertEqual([], invariants.find_violations(one))

    def test_one_name(self):
        """Of many instances that want one name, one has it."""
        made = self.make()
        instances = [made.start() for _ in range(6)]
        results = self.at_once(
            *[functools.partial(made.post, each) for each in instances]
        )
        self.assertEqual(
            ['IdentityRefused'] * 5 + ['dict'],
            sorted(type(result).__name__ for result in results),
        )
        made.work_on()
        self.assertEqual([], invariants.find_violations(made))

    def test_second_key_while_signing(self):
        """The enrollment ends contested, whoever commits first."""
        made = self.make()
        for number in range(5):
            name = 'web%d' % number
            guest = world.Guest(made, made.post(made.start(name), name))
            self.at_once(guest.redeem, guest.clone().redeem)
            self.assertIs(State.CONTESTED, made.get_state(guest.instance))
        made.work_on()
        self.assertEqual([], invariants.find_violations(made))

    def test_renewal_and_revocation(self):
        """No certificate gets away from a revocation."""
        made = self.make()
        for number in range(5):
            guest = made.enroll('web%d' % number)
            self.at_once(
                guest.renew,
                functools.partial(
                    made.operations.revoke,
                    guest.instance,
                    world.make_caller(),
                ),
            )
            self.assertEqual(
                [],
                [
                    row.serial
                    for row in made.list_certificates(guest.instance)
                    if row.revoked_at is None
                ],
            )

    def test_hint_and_post(self):
        """A delete is never lost to what happens in the same moment."""
        made = self.make()
        for number in range(5):
            name = 'web%d' % number
            guest = made.enroll(name)
            made.nova.delete(guest.instance)
            self.at_once(
                functools.partial(made.hint, guest.instance),
                functools.partial(made.post, guest.instance, name),
                functools.partial(made.outbox.work, limit=5),
                guest.renew,
            )
            made.work_on()
            self.assertIs(State.CLOSED, made.get_state(guest.instance))
        self.assertEqual([], invariants.find_violations(made))

    def test_workers_at_once(self):
        """Any number of workers: every row is worked by one."""
        url = self.get_url()
        directory = self.make_directory() / 'shared'
        made = [
            self.make(url, directory, waiting=0, process='p%d' % number)
            for number in range(3)
        ]
        for number in range(10):
            made[0].post(made[0].start('web%d' % number), 'web%d' % number)
        for each in made[1:]:
            each.nova.servers = made[0].nova.servers
        self.at_once(*[each.work for each in made])
        made[0].work_on()
        self.assertEqual([], invariants.find_violations(made[0]))
        questions = [
            instance
            for each in made
            for method, instance in each.nova.questions
            if method == 'find_server'
        ]
        self.assertEqual(10, len(questions))

    def test_leases_and_crls(self):
        """First inserts at once: one wins, the others are told so."""
        database = self.make().database
        now = processes.base.Clock()()

        def acquire(number):
            try:
                return database.write(
                    lambda tx: leases.acquire(
                        tx, 'sweep', 'p%d' % number, now, now
                    )
                )
            except engine.DuplicateRow:
                return False

        def put(number):
            return stores.CAStore(database).put_crl(
                models.Crl('a' * 16, 1, b'%d' % number, now, now)
            )

        results = self.at_once(
            *[functools.partial(put, number) for number in range(6)]
        )
        self.assertEqual(1, results.count(True), results)
        results = self.at_once(
            *[functools.partial(acquire, number) for number in range(6)]
        )
        # The lease ends at once, so that it may be taken over.
        self.assertEqual(set(), set(results) - {True, False})
        self.assertIn(True, results)


class MariaDbTestCase(Database, processes.TestCase):
    server_class = servers.MariaDB


class PostgreSqlTestCase(Database, processes.TestCase):
    server_class = servers.PostgreSQL


class MariaDbRaceTestCase(Server, races.Races, processes.TestCase):
    server_class = servers.MariaDB


class PostgreSqlRaceTestCase(Server, races.Races, processes.TestCase):
    server_class = servers.PostgreSQL
