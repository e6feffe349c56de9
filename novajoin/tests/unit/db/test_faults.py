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
"""What operators are told; the functional tests ask real servers."""

import sqlite3

from oslo_db import exception as db_exception
import sqlalchemy
import testscenarios

from novajoin.db import engine
from novajoin.db import faults
from novajoin.tests import base

URL = sqlalchemy.make_url('postgresql+psycopg2://joe:hidden@db1:5432/join')


class PgError(Exception):
    def __init__(self, text, pgcode=None):
        super().__init__(text)
        self.pgcode = pgcode


def wrap(origin):
    return sqlalchemy.exc.OperationalError('SELECT', {'a': 'data'}, origin)


class TestExplain(testscenarios.WithScenarios, base.TestCase):
    scenarios = [
        (words, {'words': words, 'origin': origin})
        for words, origin in (
            ('db sync', sqlite3.OperationalError('no such table: x')),
            ('db sync (', sqlite3.OperationalError('no such column: x')),
            ('has not the schema', Exception(1146, 'no table')),
            ('the schema of this', PgError('relation', '42P01')),
            ('refuses the account', Exception(1045, 'Access denied')),
            ('what it is granted', PgError('FATAL: role "joe" is not there')),
            ('create it', Exception(1049, 'Unknown database')),
            ('There is no database', PgError('FATAL:  database "join"\nis')),
            ('cannot be reached', Exception(2003, "Can't connect")),
            ('see that it runs', PgError('connection to server at "db1"\n')),
            ('failed: ', Exception('database or disk is full')),
        )
    ]

    def test_explain(self):
        text = faults.explain(wrap(self.origin), URL)
        self.assertIn(self.words.removesuffix(' ('), text)
        self.assertIn('join at db1:5432', text)
        self.assertNotIn('hidden', text)
        self.assertNotIn('data', text.replace('database', ''))
        self.assertEqual(1, len(text.splitlines()))


class TestCause(base.TestCase):
    def test_connection_error(self):
        error = db_exception.DBConnectionError(wrap(Exception('no route')))
        text = faults.explain(error, URL)
        self.assertIn('cannot be reached (Exception: no route)', text)

    def test_asker_and_operator(self):
        """Who asks is told no host and no file."""
        path = self.make_directory() / 'x.sqlite'
        database = engine.Database('sqlite:///%s' % path)
        self.addCleanup(database.close)
        error = self.assertRaises(
            engine.exceptions.DatabaseUnavailable,
            database.read,
            lambda tx: tx.exec_driver_sql('SELECT * FROM gone'),
        )
        self.assertEqual('The database is not available.', error.message)
        self.assertIn(str(path), error.cause)
        self.assertIn('db sync', error.cause)
