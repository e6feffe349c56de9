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

import dataclasses
import pathlib

import testscenarios

from novajoin import exceptions
from novajoin.cmd import nova_conf
from novajoin.tests import base

#: What the installation guide says, in sections.
GOOD = {
    'DEFAULT': {},
    'api': {
        'vendordata_providers': 'StaticJSON,DynamicJSON',
        'vendordata_jsonfile_path': '@FILE@',
        'vendordata_dynamic_targets': 'join@http://127.0.0.1:9999/v1/',
        'vendordata_dynamic_connect_timeout': '5',
        'vendordata_dynamic_read_timeout': '30',
        'vendordata_dynamic_failure_fatal': 'false',
    },
    'vendordata_dynamic_auth': {
        'auth_type': 'password',
        'auth_url': 'http://controller/identity',
        'username': 'nova',
        'password': 'a-password',
        'project_name': 'service',
        'user_domain_name': 'Default',
        'project_domain_name': 'Default',
    },
    'notifications': {'notification_format': 'both'},
    'oslo_messaging_notifications': {'driver': 'messagingv2'},
}

EXPECTED = nova_conf.Expectation(
    budget=2.0,
    is_noauth=False,
    has_user_ids=False,
    topics=frozenset({'notifications', 'versioned_notifications'}),
    exchanges=frozenset({'nova', 'neutron'}),
)

WRONG = nova_conf.Severity.WRONG
POOR = nova_conf.Severity.POOR


def render(changes):
    """Return the good nova.conf with changes; None takes an option out."""
    lines = []
    for section, options in GOOD.items():
        lines.append('[%s]' % section)
        values = {**options, **changes.get(section, {})}
        lines += [
            '%s = %s' % (name, value)
            for name, value in values.items()
            if value is not None
        ]
    return '\n'.join(lines) + '\n'


class NovaConfCase(base.TestCase):
    def read(self, text):
        directory = self.make_directory()
        part = directory / 'vendordata.json'
        part.write_text('{"cloud-init": "#!/bin/sh"}')
        (directory / 'broken.json').write_text('#!/bin/sh')
        path = directory / 'nova.conf'
        path.write_text(
            text.replace('@FILE@', str(part)).replace(
                '@BROKEN@', str(directory / 'broken.json')
            )
        )
        return nova_conf.read([path])

    def list_faults(self, changes, **expected):
        faults = nova_conf.list_faults(
            self.read(render(changes)),
            dataclasses.replace(EXPECTED, **expected),
        )
        return [(fault.severity, fault.option) for fault in faults]


class TestGood(NovaConfCase):
    def test_as_the_guide_says(self):
        """NJ5: what the guide says is what is looked for."""
        self.assertEqual([], self.list_faults({}))

    def test_the_guide_itself(self):
        guide = (
            pathlib.Path(nova_conf.__file__).parents[2]
            / 'doc/source/install/nova.rst'
        )
        text = guide.read_text()
        block = text.split('.. code-block:: ini')[1].split('\n\n*')[0]
        faults = nova_conf.list_faults(
            self.read(
                '\n'.join(line.strip() for line in block.splitlines()).replace(
                    '/etc/novajoin/cloud-config-novajoin.json', '@FILE@'
                )
            ),
            EXPECTED,
        )
        self.assertEqual([], [str(fault) for fault in faults])

    def test_values_that_are_fine(self):
        for changes in (
            {'api': {'vendordata_dynamic_failure_fatal': 'true'}},
            {'api': {'vendordata_providers': 'DynamicJSON, StaticJSON'}},
            {
                'api': {
                    'vendordata_dynamic_targets': (
                        'other@http://h/, join@https://h/join/v1/'
                    )
                }
            },
            {'notifications': {'notification_format': 'versioned'}},
            {'notifications': {'notification_format': 'unversioned'}},
            {'notifications': {'notification_format': None}},
            {'oslo_messaging_notifications': {'driver': 'messaging'}},
            {
                'oslo_messaging_notifications': {
                    'topics': 'ceilometer,notifications'
                }
            },
        ):
            self.assertEqual([], self.list_faults(changes), changes)

    def test_what_novajoin_itself_is_told(self):
        other_user = {'vendordata_dynamic_auth': {'username': 'metadata'}}
        self.assertEqual([], self.list_faults(other_user, has_user_ids=True))
        no_account = {'vendordata_dynamic_auth': {'auth_type': None}}
        self.assertEqual([], self.list_faults(no_account, is_noauth=True))

    def test_later_files_win(self):
        directory = self.make_directory()
        paths = [directory / 'a.conf', directory / 'b.conf']
        paths[0].write_text('[api]\nvendordata_dynamic_read_timeout = 1\n')
        paths[1].write_text('[api]\nvendordata_dynamic_read_timeout = 30\n')
        self.assertEqual(
            30, nova_conf.read(paths).api.vendordata_dynamic_read_timeout
        )


class TestFaults(testscenarios.WithScenarios, NovaConfCase):
    """NJ5: every key that is missing or wrong is named."""

    scenarios = [
        (
            '%s %s=%s' % (section, name, value),
            {
                'changes': {section: {name: value}},
                'expected': (severity, '[%s] %s' % (section, shown or name)),
            },
        )
        for section, name, value, severity, shown in (
            ('api', 'vendordata_providers', None, WRONG, None),
            ('api', 'vendordata_providers', 'StaticJSON', WRONG, None),
            ('api', 'vendordata_providers', 'DynamicJSON', POOR, None),
            ('api', 'vendordata_jsonfile_path', None, POOR, None),
            ('api', 'vendordata_jsonfile_path', '/nonexistent', POOR, None),
            ('api', 'vendordata_jsonfile_path', '@BROKEN@', POOR, None),
            ('api', 'vendordata_dynamic_targets', None, WRONG, None),
            (
                'api',
                'vendordata_dynamic_targets',
                'http://127.0.0.1:9999/v1/',
                WRONG,
                None,
            ),
            (
                'api',
                'vendordata_dynamic_targets',
                'novajoin@http://127.0.0.1:9999/v1/',
                WRONG,
                None,
            ),
            (
                'api',
                'vendordata_dynamic_targets',
                'join@127.0.0.1:9999',
                WRONG,
                None,
            ),
            (
                'api',
                'vendordata_dynamic_targets',
                'join@http://127.0.0.1:9999/',
                WRONG,
                None,
            ),
            (
                'api',
                'vendordata_dynamic_targets',
                'join@http://127.0.0.1:9999/v1',
                POOR,
                None,
            ),
            (
                'api',
                'vendordata_dynamic_targets',
                'join@http://192.0.2.1:9999/v1/',
                POOR,
                None,
            ),
            (
                'api',
                'vendordata_dynamic_targets',
                'join@http://localhost:1/v1/,join@http://localhost:2/v1/',
                WRONG,
                None,
            ),
            (
                'api',
                'vendordata_dynamic_ssl_certfile',
                '/nonexistent',
                WRONG,
                None,
            ),
            ('api', 'vendordata_dynamic_connect_timeout', '1', POOR, None),
            ('api', 'vendordata_dynamic_read_timeout', '2', WRONG, None),
            ('api', 'vendordata_dynamic_read_timeout', None, POOR, None),
            ('api', 'vendordata_dynamic_failure_fatal', None, POOR, None),
            ('vendordata_dynamic_auth', 'auth_type', None, WRONG, None),
            ('vendordata_dynamic_auth', 'username', 'neutron', WRONG, None),
            (
                'oslo_messaging_notifications',
                'driver',
                None,
                POOR,
                None,
            ),
            ('oslo_messaging_notifications', 'driver', 'noop', POOR, None),
            ('DEFAULT', 'control_exchange', 'other', POOR, None),
            (
                'DEFAULT',
                'vendordata_dynamic_targets',
                'join@http://127.0.0.1:9999/v1/',
                POOR,
                None,
            ),
        )
    ]

    def test_named(self):
        self.assertEqual([self.expected], self.list_faults(self.changes))


class TestMore(NovaConfCase):
    def test_nothing_is_set(self):
        faults = nova_conf.list_faults(self.read(''), EXPECTED)
        self.assertEqual(
            [
                '[api] vendordata_providers',
                '[api] vendordata_dynamic_targets',
                '[vendordata_dynamic_auth] auth_type',
                '[api] vendordata_jsonfile_path',
                '[api] vendordata_dynamic_read_timeout',
                '[api] vendordata_dynamic_failure_fatal',
                '[oslo_messaging_notifications] driver',
            ],
            [fault.option for fault in faults],
        )

    def test_account_that_is_not_complete(self):
        ((severity, option),) = self.list_faults(
            {'vendordata_dynamic_auth': {'auth_url': None}}
        )
        self.assertEqual(
            (WRONG, '[vendordata_dynamic_auth]'), (severity, option)
        )
        ((severity, option),) = self.list_faults(
            {'vendordata_dynamic_auth': {'auth_type': 'pasword'}}
        )
        self.assertEqual(WRONG, severity)

    def test_topics_that_nobody_listens_to(self):
        ((severity, option),) = self.list_faults(
            {}, topics=frozenset({'novajoin_notifications'})
        )
        self.assertEqual(POOR, severity)

    def test_a_longer_budget(self):
        ((severity, option),) = self.list_faults({}, budget=30.0)
        self.assertEqual(WRONG, severity)

    def test_passwords_are_not_shown(self):
        faults = nova_conf.list_faults(
            self.read(
                render(
                    {
                        'vendordata_dynamic_auth': {
                            'auth_url': None,
                            'username': 'neutron',
                        }
                    }
                )
            ),
            EXPECTED,
        )
        self.assertNotIn('a-password', str([str(each) for each in faults]))


class TestUnreadable(testscenarios.WithScenarios, NovaConfCase):
    scenarios = [
        (text[:20], {'text': text})
        for text in (
            'no section',
            '[api\nx = y\n',
            '[api]\nvendordata_dynamic_read_timeout = soon\n',
            '[api]\nvendordata_dynamic_failure_fatal = perhaps\n',
        )
    ]

    def test_refused(self):
        self.assertRaises(exceptions.ConfigurationError, self.read, self.text)

    def test_missing(self):
        self.assertRaises(
            exceptions.ConfigurationError,
            nova_conf.read,
            [pathlib.Path('/nonexistent/nova.conf')],
        )
