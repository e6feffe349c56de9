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
"""Whose turn it is to write."""

import fcntl
import stat
import threading

import fixtures
import sqlalchemy

from novajoin.db import engine
from novajoin.db import turn
from novajoin.tests import base

PATIENCE = 30


class TurnTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = self.make_directory() / 'novajoin.sqlite'

    def make_turn(self):
        made = turn.Turn(self.path)
        self.addCleanup(made.close)
        return made

    def start(self, function):
        thread = threading.Thread(target=function)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        return thread

    def test_one_after_the_other(self):
        """Two of them on one file are as two processes."""
        mine, other = self.make_turn(), self.make_turn()
        order = []
        is_waiting = threading.Event()

        def wait():
            is_waiting.set()
            with other.take():
                order.append('other')

        with mine.take():
            thread = self.start(wait)
            self.assertTrue(is_waiting.wait(PATIENCE))
            order.append('mine')
        thread.join(PATIENCE)
        self.assertEqual(['mine', 'other'], order)

    def test_within_itself(self):
        made = self.make_turn()
        with made.take_here(), made.take_here(), made.take():
            pass
        with made.take():
            pass

    def test_given_back_after_an_error(self):
        made = self.make_turn()

        def fail():
            with made.take():
                raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, fail)
        with self.make_turn().take():
            pass

    def test_frozen_process(self):
        """Whoever has it for ever keeps nobody from asking SQLite."""
        self.useFixture(fixtures.MonkeyPatch('novajoin.db.turn._PATIENCE', 0))
        with self.make_turn().take(), self.make_turn().take():
            pass

    def test_no_file(self):
        """It is no reason to fail that there can be none."""
        self.path.with_name('novajoin.sqlite.turn').mkdir()
        with self.make_turn().take():
            pass

    def test_file_system_without_locks(self):
        def fail(descriptor, how):
            raise OSError('no locks available')

        made = self.make_turn()
        self.useFixture(fixtures.MonkeyPatch('fcntl.flock', fail))
        with made.take():
            pass

    def test_in_memory(self):
        with turn.Turn(None).take():
            pass


class DatabaseTest(base.TestCase):
    def test_writes_take_it(self):
        path = self.make_directory() / 'novajoin.sqlite'
        database = engine.Database('sqlite:///%s' % path)
        self.addCleanup(database.close)
        file = path.with_name('novajoin.sqlite.turn')

        def is_free(tx):
            tx.execute(sqlalchemy.text('SELECT 1'))
            with file.open('rb') as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
            return True

        with database.take_turn():
            self.assertFalse(database.write(is_free))
        self.assertTrue(database.read(is_free))
        self.assertEqual(0o600, stat.S_IMODE(file.stat().st_mode))
