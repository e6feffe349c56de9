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

"""Bad input against the whole service: a 4xx, and nothing is written."""

import webtest

from novajoin.cmd import assembly
from novajoin.cmd import configuration
from novajoin.cmd import server
from novajoin.tests import base as tests_base
from novajoin.tests import rows
from novajoin.tests.unit.api import base
from novajoin.tests.unit.api import test_bad_input

_CONF = """\
[DEFAULT]
state_path = {directory}/state
[api]
auth_strategy = noauth
max_body = 65536
[checkin]
urls = https://join.example.com:9998
[naming]
domain = example.com
reserved = ipa.example.com
"""

#: What cannot be a name.
_INVALID = (
    '',
    '.',
    '..',
    'a..b',
    '.a',
    'a\0b',
    'a\nb',
    'a b',
    'a/b',
    '../../etc/passwd',
    'a\\b',
    'x' * 64,
    'x' * 300,
    'x' * 60000,
    '-a',
    'a-',
    'a_b',
    'ab--c',
    'xn--',
    'xn--ab-',
    'xn--999999999',
    '*',
    '*.example.com',
    '$(reboot)',
    '`reboot`',
    '; rm -rf /',
    '${jndi:ldap://x}',
    '{{ 7 * 7 }}',
    '%s%n',
    '<script>',
    "' OR 1=1 --",
    '\u202eevil',
    'a\u0000',
    '\ufeff',
    '::1',
)
_FOREIGN = (
    '127.0.0.1',
    'web.example.org',
    'web.example.com.evil.org',
    'a.b.example.com',
)
#: The check-in service's own name, and what is set.
_RESERVED = (
    'join',
    'JOIN',
    'join.example.com',
    'join.example.com.',
    'ipa',
    'Ipa.Example.COM',
)
#: Hostnames that no instance gets, each with the reason.
HOSTNAMES = {
    **dict.fromkeys(_INVALID, 'hostname_invalid'),
    **dict.fromkeys(_FOREIGN, 'hostname_zone'),
    **dict.fromkeys(_RESERVED, 'hostname_reserved'),
}


def show(hostname):
    """Return how the beginning of a message quotes a hostname."""
    return 'The hostname %s' % ascii(hostname)[:50].rstrip("'\"")


class TestNothingWritten(tests_base.TestCase):
    def setUp(self):
        super().setUp()
        directory = self.make_directory()
        path = directory / 'join.conf'
        path.write_text(_CONF.format(directory=directory))
        conf = configuration.make_conf()
        configuration.read(conf, ['--config-file', str(path)])
        self.assembly = assembly.Assembly(conf)
        self.assembly.prepare()
        self.addCleanup(self.assembly.database.close)
        self.app = webtest.TestApp(
            server.build(self.assembly),
            extra_environ={'REMOTE_ADDR': '127.0.0.1'},
        )

    def dump(self):
        """Return all that is in the database."""
        return rows.dump(self.assembly.database)

    def test_hostnames(self):
        before = self.dump()
        self.assertEqual([], before['enrollments'])
        for hostname, reason in HOSTNAMES.items():
            response = self.app.post_json(
                '/v1/', {**base.POST, 'hostname': hostname}, status='*'
            )
            error = response.json['error'] if response.json else response
            self.assertEqual(400, response.status_int, repr(hostname[:80]))
            self.assertEqual(reason, error['reason'], repr(hostname[:80]))
            self.assertIn(show(hostname), error['message'])
            self.assertLess(len(error['message']), 400)
            self.assertTrue(
                error['message'].replace('…', '').isprintable(), error
            )
        self.assertEqual(before, self.dump())

    def test_bodies(self):
        before = self.dump()
        for (
            name,
            body,
            content_type,
            status,
            reason,
            _,
        ) in test_bad_input.TABLE:
            response = self.app.post(
                '/v1/', body, content_type=content_type, status='*'
            )
            self.assertEqual(status, response.status_int, name)
            self.assertEqual(reason, response.json['error']['reason'], name)
        self.assertEqual(before, self.dump())

    def test_an_instance_that_does_not_ask_writes_nothing_either(self):
        before = self.dump()
        for hostname in HOSTNAMES:
            response = self.app.post_json(
                '/v1/',
                {**base.POST, 'metadata': {}, 'hostname': hostname},
            )
            self.assertEqual({}, response.json)
        self.assertEqual(before, self.dump())

    def test_a_name_that_is_taken(self):
        """The first is untouched by a second project that wants its name."""
        self.app.post_json('/v1/', base.POST)
        url = '/v1/enrollments/' + base.INSTANCE
        first = self.app.get(url).json
        response = self.app.post_json(
            '/v1/',
            {
                **base.POST,
                'instance-id': base.OTHER_INSTANCE,
                'project-id': base.OTHER_PROJECT,
            },
            status='*',
        )
        self.assertEqual(403, response.status_int, response.text)
        self.assertEqual('identity_refused', response.json['error']['reason'])
        self.assertNotIn(base.INSTANCE, response.text)
        self.assertNotIn(base.PROJECT, response.text)
        self.assertEqual(first, self.app.get(url).json)

    def test_an_instance_of_another_project(self):
        self.app.post_json('/v1/', base.POST)
        url = '/v1/enrollments/' + base.INSTANCE
        first, before = self.app.get(url).json, self.dump()
        response = self.app.post_json(
            '/v1/', {**base.POST, 'project-id': base.OTHER_PROJECT}, status='*'
        )
        self.assertEqual(403, response.status_int, response.text)
        self.assertEqual('identity_refused', response.json['error']['reason'])
        self.assertEqual(before, self.dump())
        self.assertEqual(first, self.app.get(url).json)
