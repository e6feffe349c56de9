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
"""Every transition is a compare-and-swap: of many callers one gets it."""

import dataclasses
import functools

from novajoin import models
from novajoin.db import credential_keys
from novajoin.db import names
from novajoin.enrollment import lifecycle
from novajoin.tests.unit.enrollment import world

State = models.State


class LifecycleTestCase(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        guest = world.Guest(self.world, self.world.post(self.world.start()))
        self.instance = guest.instance
        self.row = self.world.find(self.instance)
        # That of make_calls(); its first use writes.
        self.world.database.write(
            lambda tx: credential_keys.is_usable(
                tx, '0' * 16, self.world.clock()
            )
        )

    def make_calls(self):
        """Return each transition as a function of (tx, row)."""
        now = self.world.clock()
        return {
            'refuse': lambda tx, row: lifecycle.refuse(
                tx, row, 'no', None, now
            ),
            'contest': lambda tx, row: lifecycle.contest(
                tx, row, 'why', None, now, revokes=True
            ),
            'expire': lambda tx, row: lifecycle.expire(
                tx, dataclasses.replace(row, expires_at=now), None, now
            ),
            'suspend': lambda tx, row: lifecycle.suspend(tx, row, None, now),
            'close': lambda tx, row: lifecycle.close(
                tx, row, 'why', None, now
            ),
            'settle': lambda tx, row: lifecycle.settle(
                tx, row, {'identity_confirmed': True}, None, now
            ),
            'reopen': lambda tx, row: lifecycle.reopen(
                tx,
                row,
                lifecycle.make_generation(
                    bytes(32),
                    '0' * 16,
                    60,
                    now,
                    row.instance,
                    1,
                    2,
                    ('clientAuth',),
                ),
                lifecycle.VERDICTS,
                None,
                now,
                {},
            ),
        }

    def test_late(self):
        """Whoever read an older row changes nothing."""
        for name, function in self.make_calls().items():
            for stale in (
                dataclasses.replace(self.row, epoch=2),
                dataclasses.replace(self.row, generation=2),
                dataclasses.replace(self.row, state=State.PENDING),
            ):
                with self.assert_nothing_written(self.world):
                    self.assertFalse(
                        self.world.database.write(
                            lambda tx, f=function, s=stale: f(tx, s)
                        ),
                        name,
                    )

    def test_at_once(self):
        """Of six that try the same transition, one does it."""
        for function in self.make_calls().values():
            self.setUp_again()
            call = functools.partial(
                self.world.database.write,
                lambda tx, f=function: f(tx, self.row),
            )
            results = self.at_once(*[call] * 6)
            if results[0] and isinstance(results[0], models.Enrollment):
                continue  # settled: the state may stay as it is
            self.assertEqual(
                1, sum(bool(result) for result in results), results
            )

    def setUp_again(self):
        name = 'web%s' % world.make_uuid()[:8]
        self.instance = self.world.start(name)
        self.world.post(self.instance, name)
        self.row = self.world.find(self.instance)

    def write(self, function, *args, **kwargs):
        return self.world.database.write(
            lambda tx: function(tx, *args, None, self.world.clock(), **kwargs)
        )

    def test_wrong_state(self):
        closed = dataclasses.replace(self.row, state=State.CLOSED)
        for function in (lifecycle.suspend, lifecycle.restore):
            with self.assert_nothing_written(self.world):
                self.assertFalse(self.write(function, closed))
        with self.assert_nothing_written(self.world):
            self.assertFalse(self.write(lifecycle.close, closed, 'why'))
            self.assertFalse(self.write(lifecycle.restore, self.row))
            suspended = dataclasses.replace(self.row, state=State.SUSPENDED)
            self.assertFalse(self.write(lifecycle.suspend, suspended))
            self.assertFalse(self.write(lifecycle.restore, suspended))
            self.assertFalse(self.write(lifecycle.expire, self.row))
            enrolled = dataclasses.replace(
                self.row, state=State.ENROLLED, expires_at=self.row.opened_at
            )
            self.assertFalse(self.write(lifecycle.expire, enrolled))

    def test_finish_closing(self):
        """12: only a closing one, and only when nothing is left to do."""
        finish = functools.partial(self.write, lifecycle.finish_closing)
        self.assertFalse(finish(world.make_uuid()))
        self.assertFalse(finish(self.instance))
        self.write(lifecycle.close, self.row, 'why')
        with self.assert_nothing_written(self.world):
            self.assertFalse(finish(self.instance))
        self.world.work()
        self.assertIs(State.CLOSED, self.world.get_state(self.instance))
        self.assertFalse(finish(self.instance))

    def test_long_refusal(self):
        """A reason that is longer than its column is cut, not an error."""
        instance = self.world.start('web2')
        made = self.make_world(waiting=0)
        made.nova.servers = self.world.nova.servers
        made.post(instance, 'web2')
        row = made.find(instance)
        made.database.write(
            lambda tx: lifecycle.refuse(
                tx, row, 'x' * 999, None, row.opened_at
            )
        )
        self.assertEqual('x' * 255, made.find(instance).refusal)

    def test_generation(self):
        """Whole seconds, a fresh salt, and nothing of the one before."""
        self.world.clock.advance(0.75)
        made = [
            lifecycle.make_generation(
                bytes(32),
                '0' * 16,
                300,
                self.world.clock(),
                self.instance,
                1,
                number,
                ('clientAuth',),
            )
            for number in (1, 2)
        ]
        for columns in made:
            self.assertEqual(0, columns['opened_at'].microsecond)
            self.assertEqual(
                300,
                (columns['expires_at'] - columns['opened_at']).seconds,
            )
            for name in (
                'public_key_sha256',
                'refusal',
                'suspended_from',
                'identity_confirmed',
            ):
                self.assertIsNone(columns[name])
        self.assertNotEqual(made[0]['salt'], made[1]['salt'])
        self.assertNotEqual(made[0]['token_sha256'], made[1]['token_sha256'])

    def test_holds_name(self):
        read = self.world.database.read
        self.assertTrue(read(lambda tx: lifecycle.holds_name(tx, self.row)))
        self.world.database.write(lambda tx: names.release(tx, self.instance))
        self.assertFalse(read(lambda tx: lifecycle.holds_name(tx, self.row)))
