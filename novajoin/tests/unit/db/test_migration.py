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
"""NJ-database: ``db sync`` makes what the code expects, once and safely."""

import multiprocessing
from multiprocessing import util
import stat

from alembic import autogenerate
from alembic.runtime import migration as alembic_migration
import sqlalchemy

from novajoin import exceptions
from novajoin.db import engine
from novajoin.db import migration
from novajoin.db import tables
from novajoin.tests import base

context = multiprocessing.get_context('forkserver')
context.set_forkserver_preload([__name__])


def sync(url, barrier):
    database = engine.Database(url)
    barrier.wait(60)
    migration.sync(database)
    database.close()


class MigrationTestCase(base.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        util.get_temp_dir()

    def setUp(self):
        super().setUp()
        self.path = self.make_directory() / 'state' / 'novajoin.sqlite'
        self.url = 'sqlite:///%s' % self.path
        self.database = engine.Database(self.url)
        self.addCleanup(self.database.close)

    def test_sync(self):
        self.assertIsNone(migration.find_version(self.database))
        head = migration.get_head()
        self.assertEqual(head, migration.sync(self.database))
        self.assertEqual(head, migration.find_version(self.database))
        self.assertEqual(head, migration.sync(self.database))

    def test_private(self):
        """The file, its journals and its directory: for one user only."""
        migration.sync(self.database)
        self.database.write(
            lambda tx: tx.execute(sqlalchemy.text('DELETE FROM events'))
        )
        files = list(self.path.parent.iterdir())
        self.assertGreaterEqual(len(files), 2)
        for path in files:
            self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode), path)
        self.assertEqual(0o700, stat.S_IMODE(self.path.parent.stat().st_mode))

    def test_agrees_with_the_tables(self):
        """What the migrations make is what the code describes."""
        migration.sync(self.database)

        def compare(tx):
            made = alembic_migration.MigrationContext.configure(
                tx, opts={'compare_type': True}
            )
            return autogenerate.compare_metadata(made, tables.metadata)

        self.assertEqual([], self.database.read(compare))

    def test_constraints_agree(self):
        """Unique, foreign and primary keys too, by their names."""
        migration.sync(self.database)
        inspector = sqlalchemy.inspect(self.database.engine)
        for table in tables.metadata.sorted_tables:
            self.assertEqual(
                [column.name for column in table.primary_key],
                inspector.get_pk_constraint(table.name)['constrained_columns'],
            )
            self.assertEqual(
                sorted(
                    (key.parent.name, key.target_fullname)
                    for key in table.foreign_keys
                ),
                sorted(
                    (
                        key['constrained_columns'][0],
                        '%s.%s'
                        % (key['referred_table'], key['referred_columns'][0]),
                    )
                    for key in inspector.get_foreign_keys(table.name)
                ),
            )
            unique = {
                tuple(column.name for column in constraint.columns)
                for constraint in table.constraints
                if isinstance(constraint, sqlalchemy.UniqueConstraint)
            }
            self.assertEqual(
                unique,
                {
                    tuple(found['column_names'])
                    for found in inspector.get_unique_constraints(table.name)
                },
            )
            for column in inspector.get_columns(table.name):
                self.assertEqual(
                    table.c[column['name']].nullable,
                    column['nullable'],
                    column,
                )

    def test_two_processes(self):
        """Two that start at once on an empty machine."""
        for _ in range(3):
            path = self.make_directory() / 'new' / 'novajoin.sqlite'
            url = 'sqlite:///%s' % path
            barrier = context.Barrier(4)
            started = [
                context.Process(target=sync, args=(url, barrier), daemon=True)
                for _ in range(4)
            ]
            for process in started:
                process.start()
            for process in started:
                process.join(60)
                self.assertEqual(0, process.exitcode)
            database = engine.Database(url)
            self.addCleanup(database.close)
            self.assertEqual(
                migration.get_head(), migration.find_version(database)
            )

    def test_newer(self):
        """A database of a newer release is refused and left alone."""
        migration.sync(self.database)
        self.database.write(
            lambda tx: tx.execute(
                sqlalchemy.text("UPDATE alembic_version SET version_num='9x'")
            )
        )
        error = self.assertRaises(
            exceptions.ConfigurationError, migration.sync, self.database
        )
        self.assertEqual('[database] connection', error.option)
        self.assertIn('9x', error.message)
        self.assertEqual('9x', migration.find_version(self.database))

    def test_breaks_off(self):
        """A migration that fails leaves nothing half done."""
        self.database.write(
            lambda tx: tx.execute(
                sqlalchemy.text('CREATE TABLE leases (x INTEGER)')
            )
        )
        self.assertRaises(
            exceptions.DatabaseUnavailable, migration.sync, self.database
        )
        self.assertEqual(
            ['leases'],
            sqlalchemy.inspect(self.database.engine).get_table_names(),
        )
        self.database.write(
            lambda tx: tx.execute(sqlalchemy.text('DROP TABLE leases'))
        )
        migration.sync(self.database)

    def test_away(self):
        """A path that cannot be: an error, not a traceback."""
        database = engine.Database('sqlite:////proc/nothing/x.sqlite')
        self.assertRaises(
            exceptions.DatabaseUnavailable, migration.sync, database
        )
