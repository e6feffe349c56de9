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

"""What each of nova's notifications does to an identity.

The table in doc/source/reference/notifications.rst has a row for each of
ACTIONS; both are about the notifications that were recorded from a real nova.
"""

from collections.abc import Callable
from collections.abc import Iterator
import copy
import dataclasses
import pathlib
import uuid

import testscenarios

from novajoin import models
from novajoin.notify import endpoints
from novajoin.notify import events
from novajoin.tests.unit.enrollment import world
from novajoin.tests.unit.notify import test_events

State = models.State

_DOCUMENT = (
    pathlib.Path(__file__).parents[4]
    / 'doc/source/reference/notifications.rst'
)


@dataclasses.dataclass(frozen=True)
class Action:
    """Something that nova does, and what becomes of the identity.

    :ivar steps: the recordings
    :ivar do: makes the scripted nova as it is afterwards
    """

    name: str
    steps: tuple[str, ...]
    do: Callable[[world.World, str], None]
    state: State = State.ENROLLED
    epoch: int = 1


def launch(made, instance):
    """What moves an instance, or starts it again, leaves it running."""
    made.nova.launch(instance)


def rebuild(made, instance):
    made.nova.begin_rebuild(instance)
    made.clock.advance(30)
    made.nova.launch(instance)


def rebuild_renamed(made, instance):
    made.nova.change(instance, hostname='renamed')
    rebuild(made, instance)


def delete(made, instance):
    made.nova.delete(instance)


def change(**kwargs):
    return lambda made, instance: made.nova.change(instance, **kwargs)


ACTIONS = (
    Action(
        'create',
        (
            '01-create',
            '30-create-no-network',
            '32-create-two-at-once',
            '35-create-no-valid-host',
            '37-create-fqdn-hostname-2.94',
        ),
        launch,
    ),
    Action('rename', ('10-hostname-update',), change(hostname='renamed')),
    Action('display name', ('11-display-name-update',), launch),
    Action(
        'metadata',
        ('12-metadata-update', '13-metadata-delete-key'),
        change(metadata={}),
    ),
    Action('reboot', ('14-reboot-hard',), launch),
    Action('stop', ('15-stop',), change(status='SHUTOFF')),
    Action('start', ('16-start',), launch),
    Action(
        'rebuild',
        ('17-rebuild-same-image', '18-rebuild-other-image'),
        rebuild,
        State.OFFERED,
        epoch=2,
    ),
    Action(
        'rebuild with another hostname',
        ('19-rebuild-hostname-2.90',),
        rebuild_renamed,
        State.OFFERED,
        epoch=2,
    ),
    Action('resize', ('20-resize', '21-resize-confirm'), launch),
    Action('shelve', ('22-shelve',), change(status='SHELVED_OFFLOADED')),
    Action('unshelve', ('24-unshelve',), launch),
    Action('evacuate', ('25-evacuate', '26-evacuated-host-returns'), launch),
    Action('live migration', ('27-live-migrate',), launch),
    Action(
        'delete',
        (
            '28-delete',
            '31-delete-no-network',
            '33-shelved-then-deleted',
            '34-delete-while-compute-down',
            '36-delete-errored',
            '40-delete-fqdn',
        ),
        delete,
        State.CLOSED,
    ),
)

#: What was recorded while nothing happened to an instance.
OTHERS = {
    '00-setup',
    '02-metadata-read',
    *(step for step in test_events.list_steps() if 'floatingip' in step),
    '23-metadata-while-shelved',
    '29-metadata-after-delete',
    '38-metadata-fqdn-hostname',
    '39-vendordata-service-failures',
}


def is_versioned(message):
    return not message['event_type'].startswith('compute.')


#: How the same messages can come. Each takes and returns a list.
WAYS = {
    'as recorded': lambda messages: messages,
    'doubled': lambda messages: [m for m in messages for _ in range(2)],
    'all again': lambda messages: messages * 2,
    'versioned': lambda messages: [*filter(is_versioned, messages)],
    'unversioned': lambda messages: [
        message for message in messages if not is_versioned(message)
    ],
    'backwards': lambda messages: messages[::-1],
}


def list_scenarios() -> Iterator[tuple[str, dict[str, object]]]:
    """Each recording of each action, in each way that may matter."""
    for action in ACTIONS:
        for step in action.steps:
            has_hints = step in test_events.HINTS
            for way in WAYS if has_hints else ['as recorded']:
                yield (
                    '%s,%s' % (step, way),
                    {'action': action, 'step': step, 'way': way},
                )


class LifeCase(testscenarios.WithScenarios, world.TestCase):
    """An instance that is enrolled, and nova's messages about it."""

    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.guest = self.world.enroll()
        self.instance = self.guest.instance
        self.world.clock.advance(3600)
        self.endpoint = endpoints.InstanceEndpoint(
            self.world.reconciliation.take_hint, self.fail
        )

    def load(self):
        """The recorded messages, all of them about our instance."""
        messages = copy.deepcopy(test_events.load(self.step))
        for message in messages:
            message['payload'] = {
                'instance_id': self.instance,
                'nova_object.data': {'uuid': self.instance},
            }
        return WAYS[self.way](messages)

    def feed(self, messages):
        """As oslo.messaging does: what the filter lets through."""
        rule = self.endpoint.filter_rule
        for message in messages:
            arguments = (
                message.get('ctxt', {}),
                message['publisher_id'],
                message['event_type'],
            )
            if rule.match(*arguments, {}, message['payload']):
                self.endpoint.info(*arguments, message['payload'], {})

    def assert_became(self, state, epoch):
        row = self.world.find(self.instance)
        self.assertEqual((state, epoch), (row.state, row.epoch))
        revoked = [
            certificate.revoked_at is not None
            for certificate in self.world.list_certificates(self.instance)
        ]
        # Whatever ends an epoch, or the instance, ends its certificate.
        self.assertEqual([epoch > 1 or state is State.CLOSED], revoked)
        self.assertEqual(
            state is State.CLOSED, not self.world.list_hosts(), 'the host'
        )
        self.assertEqual([], self.world.list_ready())


class TestLife(LifeCase):
    """NJ3, NJ14: every event that was recorded, however it comes."""

    scenarios = list(list_scenarios())

    def become(self):
        self.assert_became(self.action.state, self.action.epoch)

    def test_in_time(self):
        self.action.do(self.world, self.instance)
        self.feed(self.load())
        self.world.work()
        self.become()

    def test_worked_on_between(self):
        self.action.do(self.world, self.instance)
        for message in self.load():
            self.feed([message])
            self.world.work()
        self.become()

    def test_three_days_late(self):
        self.action.do(self.world, self.instance)
        self.world.clock.advance(3 * 24 * 3600)
        self.feed(self.load())
        self.world.work()
        self.become()

    def test_forged(self):
        """Nova knows nothing of it: whoever sent it, nothing happens."""
        self.world.nova.launch(self.instance)
        before = self.world.find(self.instance)
        self.feed(self.load())
        self.world.work()
        self.assertEqual(before, self.world.find(self.instance))
        self.assert_became(State.ENROLLED, 1)


class TestUnknown(LifeCase):
    """Instances that are not ours cost a read and no question."""

    scenarios = [
        (step, {'step': step, 'way': 'as recorded'})
        for step in test_events.list_steps()
    ]

    def test_unknown(self):
        self.instance = str(uuid.uuid4())
        self.world.nova.questions.clear()
        with self.assert_nothing_written(self.world):
            self.feed(self.load())
        self.assertEqual([], self.world.nova.questions)


class TestTable(world.TestCase):
    def test_every_recording_has_a_row(self):
        steps = [step for action in ACTIONS for step in action.steps]
        self.assertEqual(len(set(steps)), len(steps))
        self.assertEqual(set(test_events.list_steps()), OTHERS | set(steps))

    def test_document(self):
        """The page names each action, in this order, and each event."""
        text = _DOCUMENT.read_text()
        rows = [
            line.removeprefix('   * - ')
            for line in text.splitlines()
            if line.startswith('   * - ')
        ]
        self.assertEqual(['nova does', *(a.name for a in ACTIONS)], rows)
        for name in events.KINDS:
            self.assertIn('instance.%s.end' % name, text)
