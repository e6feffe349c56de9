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
"""What nova says decides; what it does not say changes nothing."""

import dataclasses
import datetime

from novajoin import exceptions
from novajoin import models
from novajoin.enrollment import inspection
from novajoin.tests.unit.enrollment import world

State = models.State


class InspectorTestCase(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.instance = self.world.start()
        self.world.post(self.instance)
        self.row = self.world.find(self.instance)
        self.inspector = self.world.inspector

    def verify(self, **changes):
        return self.inspector.verify(
            dataclasses.replace(self.row, **changes), 1.0
        )

    def test_confirmed(self):
        """Transition 3: uuid, project and hostname."""
        self.assertEqual(inspection.Verdict(), self.verify())

    def test_refused(self):
        self.assertIn('hostname', self.verify(hostname='other').refusal)
        self.assertIn('project', self.verify(project='other').refusal)
        self.world.nova.change(self.instance, hostname='a b')
        self.assertIn('DNS label', self.verify().refusal)
        self.world.nova.change(self.instance, status='DELETED')
        self.assertIn('does not know', self.verify().refusal)
        self.world.nova.delete(self.instance)
        self.assertIn('does not know', self.verify().refusal)

    def test_full_name(self):
        """From microversion 2.94 nova's hostname can be a full one."""
        self.world.nova.change(self.instance, hostname='Web1.example.com')
        self.assertIsNone(self.verify().refusal)

    def test_silent(self):
        self.world.nova.is_away = True
        self.assertRaises(exceptions.ComputeUnavailable, self.verify)

    def test_blind(self):
        made = self.make_world(is_blind=True)
        self.assertTrue(made.inspector.is_blind)
        self.assertEqual(
            inspection.Verdict(), made.inspector.verify(self.row, 1.0)
        )

    def make_finding(self, started=None, **changes):
        server = dataclasses.replace(
            self.world.nova.servers[self.instance], **changes
        )
        rebuild = None
        if started is not None:
            rebuild = models.Rebuild(
                'req-r',
                self.row.created_at + datetime.timedelta(seconds=started),
            )
        return inspection.Finding(server, rebuild)

    def is_new(self, row, started):
        finding = self.make_finding(started=started)
        return self.inspector.find_new_rebuild(row, finding) is not None

    def test_new_rebuild(self):
        """Before nova confirmed the row, one may be what led to it."""
        self.assertIsNone(
            self.inspector.find_new_rebuild(self.row, self.make_finding())
        )
        row = dataclasses.replace(self.row, nova_confirmed=None)
        self.assertFalse(self.is_new(row, -1))
        self.assertFalse(self.is_new(row, 5))
        self.assertTrue(self.is_new(row, 6))

    def test_new_rebuild_of_a_confirmed_row(self):
        """Nova gives the second only, and its clock may be behind ours."""
        row = dataclasses.replace(self.row, nova_confirmed=True)
        self.assertFalse(self.is_new(row, -60))
        self.assertTrue(self.is_new(row, -0.9))
        self.assertTrue(self.is_new(row, 1))
        known = dataclasses.replace(row, rebuild_id='req-r')
        self.assertFalse(self.is_new(known, 1))

    def test_one_rebuild_after_the_other(self):
        """The newest that is known decides, by its id and by its time."""
        known = dataclasses.replace(
            self.row,
            rebuild_id='req-other',
            rebuild_at=self.row.created_at + datetime.timedelta(seconds=9),
        )
        self.assertFalse(self.is_new(known, 8))
        self.assertTrue(self.is_new(known, 9))
        self.assertTrue(self.is_new(known, 10))

    def test_new_disk(self):
        """Only the rebuild's spawning phase, or a launch later than it."""
        began = self.row.created_at
        row = dataclasses.replace(self.row, epoch=2, rebuild_at=began)
        before = began - datetime.timedelta(seconds=5)
        after = began + datetime.timedelta(seconds=5)
        for task, launched, expected in (
            ('rebuild_spawning', None, True),
            ('rebuild_spawning', before, True),
            ('rebuilding', after, False),
            ('rebuild_block_device_mapping', after, False),
            (None, before, False),
            (None, None, False),
            (None, began, True),
            (None, after, True),
            ('powering-off', after, True),
        ):
            finding = self.make_finding(task_state=task, launched_at=launched)
            self.assertIs(
                expected,
                self.inspector.is_new_disk(row, finding),
                (task, launched),
            )
        gone = inspection.Finding(None, None)
        self.assertFalse(self.inspector.is_new_disk(row, gone))
        self.assertFalse(
            self.inspector.is_new_disk(self.row, self.make_finding())
        )

    def test_differs(self):
        """It tells beforehand whether there is something to write."""
        gone = inspection.Finding(None, None)
        for state in State:
            row = dataclasses.replace(self.row, state=state)
            is_suspended = state is State.SUSPENDED
            for finding, expected in (
                (gone, True),
                (self.make_finding(status='DELETED'), True),
                (self.make_finding(status='SOFT_DELETED'), not is_suspended),
                (self.make_finding(), is_suspended),
                (self.make_finding(started=10), True),
                (self.make_finding(started=-10), is_suspended),
            ):
                self.assertIs(
                    expected and row.is_living,
                    self.inspector.differs(row, finding),
                    (state, finding),
                )

    def test_act_on_nothing(self):
        self.assertIsNone(
            self.world.database.write(
                lambda tx: self.inspector.act(
                    tx, self.row, self.make_finding(), None
                )
            )
        )

    def test_act_on_an_old_row(self):
        """Who is late changes nothing."""
        old = dataclasses.replace(self.row, generation=9)
        for finding in (
            inspection.Finding(None, None),
            self.make_finding(status='SOFT_DELETED'),
            self.make_finding(started=10),
        ):
            with self.assert_nothing_written(self.world):
                self.assertIsNone(
                    self.world.database.write(
                        lambda tx, finding=finding: self.inspector.act(
                            tx, old, finding, None
                        )
                    )
                )
        suspended = dataclasses.replace(old, state=State.SUSPENDED)
        with self.assert_nothing_written(self.world):
            self.world.database.write(
                lambda tx: self.inspector.act(
                    tx, suspended, self.make_finding(), None
                )
            )
