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

import json
import logging
import pathlib

import fixtures
import hypothesis
from hypothesis import strategies
import testscenarios

from novajoin import models
from novajoin.notify import events
from novajoin.tests import base

RECORDED = pathlib.Path(__file__).parent / 'recorded'

WEB = '9baef604-e3c9-4708-9b18-8e9fef008537'

#: The recorded steps from which hints come, each in both formats. From all
#: the others nothing may come.
HINTS = {
    '17-rebuild-same-image': ['rebuild'],
    '18-rebuild-other-image': ['rebuild'],
    '19-rebuild-hostname-2.90': ['rebuild'],
    '25-evacuate': ['rebuild'],
    '28-delete': ['delete'],
    '31-delete-no-network': ['delete'],
    '33-shelved-then-deleted': ['delete'],
    '34-delete-while-compute-down': ['delete'],
    '36-delete-errored': ['delete'],
    '40-delete-fqdn': ['delete'],
}

UNVERSIONED = 'compute.instance.%s.end'
VERSIONED = 'instance.%s.end'


def load(step):
    path = RECORDED / ('notifications-%s.json' % step)
    return json.loads(path.read_text())


def list_steps():
    return [
        path.stem.removeprefix('notifications-')
        for path in sorted(RECORDED.glob('notifications-*.json'))
    ]


def parse(notification):
    return events.parse(
        notification['event_type'], notification.get('payload')
    )


class TestRecorded(testscenarios.WithScenarios, base.TestCase):
    """NJ3: what nova really publishes, in both formats."""

    scenarios = [(step, {'step': step}) for step in list_steps()]

    def test_hints(self):
        hints = [
            hint for hint in map(parse, load(self.step)) if hint is not None
        ]
        self.assertEqual(
            [
                (kind, event_type % kind)
                for kind in HINTS.get(self.step, [])
                for event_type in (UNVERSIONED, VERSIONED)
            ],
            [(hint.kind, hint.event_type) for hint in hints],
        )
        self.assertLessEqual(len({hint.instance for hint in hints}), 1)


class TestParse(base.TestCase):
    def test_all_steps_are_there(self):
        self.assertEqual(41, len(list_steps()))
        self.assertEqual(set(), HINTS.keys() - set(list_steps()))

    def test_the_instance(self):
        hints = [hint for hint in map(parse, load('28-delete')) if hint]
        self.assertEqual(
            [
                models.Hint(WEB, 'delete', 'compute.instance.delete.end'),
                models.Hint(WEB, 'delete', 'instance.delete.end'),
            ],
            hints,
        )

    def test_publishers(self):
        """Errored and shelved instances are deleted by nova's api."""
        publishers = {
            notification['publisher_id'].partition('.')[0].partition(':')[0]
            for step in HINTS
            for notification in load(step)
            if parse(notification)
        }
        self.assertEqual({'compute', 'nova-compute', 'nova-api'}, publishers)

    def test_kinds(self):
        for action, kind in (
            ('delete', 'delete'),
            ('force_delete', 'delete'),
            ('soft_delete', 'soft_delete'),
            ('restore', 'restore'),
            ('rebuild', 'rebuild'),
        ):
            self.assertEqual(
                models.Hint(WEB, kind, UNVERSIONED % action),
                events.parse(UNVERSIONED % action, {'instance_id': WEB}),
            )
            self.assertEqual(
                models.Hint(WEB, kind, VERSIONED % action),
                events.parse(
                    VERSIONED % action, {'nova_object.data': {'uuid': WEB}}
                ),
            )

    def test_other_events(self):
        payload = {'instance_id': WEB, 'nova_object.data': {'uuid': WEB}}
        for event_type in (
            'instance.delete.start',
            'instance.delete.error',
            'compute.instance.delete',
            'instance.delete.end.more',
            'xinstance.delete.end',
            'port.delete.end',
            'image.delete',
            'instance.delete.end\n',
            '',
            None,
            7,
            ['instance.delete.end'],
        ):
            self.assertIsNone(events.parse(event_type, payload), event_type)

    def test_uuid_is_made_canonical(self):
        self.assertEqual(
            WEB,
            events.parse(
                'compute.instance.delete.end', {'instance_id': WEB.upper()}
            ).instance,
        )


class TestForged(testscenarios.WithScenarios, base.TestCase):
    """Whatever is sent, nothing happens but a warning."""

    scenarios = [
        (str(number), {'payload': payload})
        for number, payload in enumerate(
            (
                None,
                'delete everything',
                [],
                {},
                {'instance_id': None},
                {'instance_id': 17},
                {'instance_id': ''},
                {'instance_id': [WEB]},
                {'instance_id': '{%s}' % WEB},
                {'instance_id': 'urn:uuid:' + WEB},
                {'instance_id': WEB.replace('-', '')},
                {'instance_id': WEB + "'; DROP TABLE enrollments; --"},
                {'nova_object.data': None},
                {'nova_object.data': {}},
                {'nova_object.data': {'uuid': {'uuid': WEB}}},
                {'nova_object.data': {'uuid': '../../etc/passwd'}},
            )
        )
    ]

    def test_ignored(self):
        for event_type in (UNVERSIONED, VERSIONED):
            log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
            self.assertIsNone(
                events.parse(event_type % 'delete', self.payload)
            )
            self.assertIn('does not say which instance', log.output)
            self.assertNotIn('DROP', log.output)


JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.floats()
    | strategies.text(),
    lambda children: (
        strategies.lists(children, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(
                ['instance_id', 'nova_object.data', 'uuid', 'x']
            ),
            children,
            max_size=3,
        )
    ),
    max_leaves=8,
)


class TestAnything(base.TestCase):
    @hypothesis.given(
        event_type=JSON
        | strategies.sampled_from(
            ['instance.delete.end', 'compute.instance.rebuild.end']
        ),
        payload=JSON,
    )
    @hypothesis.settings(max_examples=100)
    def test_never_raises(self, event_type, payload):
        self.assertIsNone(events.parse(event_type, payload))

    @hypothesis.given(context=JSON)
    @hypothesis.settings(max_examples=50)
    def test_context(self, context):
        self.assertIsNone(events.find_request_id(context))


class TestFindRequestId(base.TestCase):
    def test_recorded(self):
        found = {
            events.find_request_id(notification['ctxt'])
            for notification in load('28-delete')
            if parse(notification)
        }
        self.assertEqual({'req-b210a456-82ae-45df-8579-c916c38f8c6d'}, found)

    def test_forged(self):
        for request_id in ('req-1\nERROR all is lost', 7, 'x' * 4000):
            self.assertIsNone(
                events.find_request_id({'request_id': request_id})
            )
