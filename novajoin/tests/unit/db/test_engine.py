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
"""Transactions: what is tried again, what is reported, what is kept."""

import functools
import sqlite3
import threading

import fixtures
from oslo_db import exception as db_exception
import sqlalchemy

from novajoin import exceptions
from novajoin.db import engine
from novajoin.db import leases
from novajoin.tests import base
from novajoin.tests.unit.enrollment import world

NOW = base.Clock()()


def count(tx):
    return tx.execute(
        sqlalchemy.select(sqlalchemy.func.count()).select_from(leases._T)
    ).scalar_one()


def insert(name, tx):
    tx.execute(
        sqlalchemy.insert(leases._T),
        {'name': name, 'owner': 'me', 'until': NOW},
    )


class EngineTestCase(world.TestCase):
    def setUp(self):
        super().setUp()
        self.database = self.make_world().database

    def fail_times(self, number, error):
        """Return a function for a transaction that fails so many times."""
        calls = []

        def function(tx):
            calls.append(1)
            insert('x%d' % len(calls), tx)
            if len(calls) <= number:
                raise error
            return len(calls)

        return function

    def test_commit(self):
        self.database.write(functools.partial(insert, 'a'))
        self.assertEqual(1, self.database.read(count))

    def test_roll_back(self):
        """Whatever the function raises rolls everything back."""
        for error in (ValueError(), exceptions.KeyReused(), SystemExit()):
            self.assertRaises(
                type(error), self.database.write, self.fail_times(1, error)
            )
            self.assertEqual(0, self.database.read(count))

    def test_duplicate(self):
        self.database.write(functools.partial(insert, 'a'))
        error = self.assertRaises(
            engine.DuplicateRow,
            self.database.write,
            functools.partial(insert, 'a'),
        )
        self.assertIn('name', str(error))

    def test_deadlock(self):
        """Tried again, and what the failed tries did is undone."""
        self.useFixture(fixtures.MonkeyPatch('time.sleep', lambda s: None))
        result = self.database.write(
            self.fail_times(3, db_exception.DBDeadlock())
        )
        self.assertEqual(4, result)
        self.assertEqual(1, self.database.read(count))

    def test_deadlock_without_end(self):
        self.useFixture(fixtures.MonkeyPatch('time.sleep', lambda s: None))
        error = self.assertRaises(
            exceptions.DatabaseUnavailable,
            self.database.write,
            self.fail_times(99, db_exception.DBDeadlock()),
        )
        self.assertIn('busy', error.message)
        self.assertEqual(0, self.database.read(count))

    def test_away(self):
        for error in (
            db_exception.DBConnectionError(),
            db_exception.DBError(),
            sqlalchemy.exc.TimeoutError(),
            sqlalchemy.exc.OperationalError('x', {}, sqlite3.Error('y')),
        ):
            self.assertRaises(
                exceptions.DatabaseUnavailable,
                self.database.write,
                self.fail_times(1, error),
            )

    def test_failure_is_remembered(self):
        """Only that the database failed, and until somebody forgets it."""
        self.assertRaises(
            ValueError, self.database.write, self.fail_times(1, ValueError())
        )
        self.assertFalse(self.database.has_failed)
        self.assertRaises(
            exceptions.DatabaseUnavailable,
            self.database.write,
            self.fail_times(1, db_exception.DBError()),
        )
        self.database.write(functools.partial(insert, 'a'))
        self.assertTrue(self.database.has_failed)

    def test_nothing_is_lost_with_the_power(self):
        """A commit is on the disk: a token that was redeemed stays so."""
        database = engine.Database(str(self.database.url))
        self.addCleanup(database.close)
        for pragma, value in (
            ('synchronous', 2),  # FULL
            ('journal_mode', 'wal'),
            ('foreign_keys', 1),
        ):
            for use in (database.read, database.write):
                self.assertEqual(
                    value,
                    use(
                        lambda tx, pragma=pragma: tx.exec_driver_sql(
                            'PRAGMA ' + pragma
                        ).scalar_one()
                    ),
                )

    def test_locked(self):
        """A writer that does not end: 503, not a traceback."""
        self.useFixture(
            fixtures.MonkeyPatch('novajoin.db.engine._SQLITE_BUSY', 0.1)
        )
        database = engine.Database(str(self.database.url))
        self.addCleanup(database.close)
        other = sqlite3.connect(self.database.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute('BEGIN IMMEDIATE')
        self.assertRaises(
            exceptions.DatabaseUnavailable,
            database.write,
            functools.partial(insert, 'a'),
        )
        # Readers do not wait for writers.
        self.assertEqual(0, database.read(count))
        other.execute('ROLLBACK')
        database.write(functools.partial(insert, 'a'))

    def test_full_disk(self):
        """Nothing is lost and nothing is half written."""
        connection = self.database.engine.raw_connection()
        connection.execute('PRAGMA max_page_count=1')
        connection.close()

        def fill(tx):
            tx.exec_driver_sql('PRAGMA max_page_count=1')
            for number in range(500):
                insert('x' * 60 + str(number), tx)

        self.assertRaises(
            exceptions.DatabaseUnavailable, self.database.write, fill
        )
        self.assertEqual(0, self.database.read(count))

    def test_parameters_are_not_logged(self):
        """They may be somebody's data."""
        logger = self.useFixture(fixtures.FakeLogger())
        self.assertRaises(
            exceptions.DatabaseUnavailable,
            self.database.write,
            lambda tx: tx.execute(
                sqlalchemy.text('SELECT :a FROM nowhere'), {'a': 'njt1_x'}
            ),
        )
        self.assertIn('nowhere', logger.output)
        self.assertNotIn('njt1_x', logger.output)

    def test_foreign_keys(self):
        """Enforced on SQLite, too."""
        self.assertRaises(
            exceptions.DatabaseUnavailable,
            self.database.write,
            lambda tx: tx.execute(
                sqlalchemy.text("INSERT INTO names VALUES ('a', 'nobody')")
            ),
        )

    def test_threads(self):
        """Any number of them, one write after the other."""
        lock = threading.Lock()
        inside = []

        def write(number, tx):
            self.assertTrue(lock.acquire(blocking=False))
            inside.append(number)
            insert('x%d' % number, tx)
            lock.release()

        self.at_once(
            *[
                functools.partial(
                    self.database.write, functools.partial(write, number)
                )
                for number in range(20)
            ]
        )
        self.assertEqual(20, len(inside))
        self.assertEqual(20, self.database.read(count))

    def test_close(self):
        """The next use opens it again."""
        self.database.write(functools.partial(insert, 'a'))
        self.database.close()
        self.database.close()
        self.assertEqual(1, self.database.read(count))

    def test_kinds(self):
        self.assertTrue(self.database.is_embedded)
        self.assertEqual('novajoin.sqlite', self.database.path.name)
        for url, is_embedded in (
            ('sqlite://', True),
            ('mysql+pymysql://u:p@h/d', False),
        ):
            made = engine.Database(url)
            self.assertEqual(is_embedded, made.is_embedded)
            self.assertIsNone(made.path)
