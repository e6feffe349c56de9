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

"""The options of the control plane."""

from oslo_config import cfg
import testscenarios

from novajoin import exceptions
from novajoin.conf import api
from novajoin.tests import base


class ConfTestCase(base.TestCase):
    def make_conf(self, text=''):
        path = self.make_directory() / 'join.conf'
        path.write_text(text)
        conf = cfg.ConfigOpts()
        api.register_opts(conf)
        conf([], project='novajoin', prog='join', default_config_files=[path])
        return conf


class TestOptions(ConfTestCase):
    def test_defaults_can_be_served(self):
        conf = self.make_conf()
        api.validate(conf)
        self.assertEqual('127.0.0.1', conf.api.listen)
        self.assertEqual(9999, conf.api.port)
        self.assertEqual('keystone', conf.api.auth_strategy)
        self.assertEqual(2.0, conf.api.budget)

    def test_names_of_1_3_0(self):
        """NJ13: old names in [DEFAULT] go on working."""
        conf = self.make_conf(
            '[DEFAULT]\njoin_listen = ::1\njoin_listen_port = 9090\n'
            'auth_strategy = noauth\n'
        )
        self.assertEqual('::1', conf.api.listen)
        self.assertEqual(9090, conf.api.port)
        self.assertEqual('noauth', conf.api.auth_strategy)

    def test_every_option_has_help(self):
        for _, options in api.list_opts():
            for option in options:
                self.assertTrue(option.help.strip(), option.name)

    def test_registering_twice(self):
        conf = self.make_conf()
        api.register_opts(conf)


class TestValidate(testscenarios.WithScenarios, ConfTestCase):
    tls = 'tls_certificate = /c\ntls_key = /k\n'
    scenarios = [
        (name, {'text': text, 'option': option})
        for name, text, option in (
            ('loopback', 'listen = 127.0.0.2', None),
            ('loopback 6', 'listen = ::1', None),
            ('noauth on loopback', 'auth_strategy = noauth', None),
            ('tls', 'listen = 0.0.0.0\n' + tls, None),
            ('told to', 'listen = 0.0.0.0\ninsecure_http = true', None),
            ('plain', 'listen = 0.0.0.0', '[api] tls_certificate'),
            ('plain 6', 'listen = ::', '[api] tls_certificate'),
            ('a name', 'listen = localhost', '[api] tls_certificate'),
            (
                'noauth with tls',
                'listen = 0.0.0.0\nauth_strategy = noauth\n' + tls,
                '[api] auth_strategy',
            ),
            (
                'noauth told to',
                'listen = ::\nauth_strategy = noauth\ninsecure_http = true',
                '[api] auth_strategy',
            ),
            (
                'noauth on mapped',
                'listen = ::ffff:192.0.2.1\nauth_strategy = noauth',
                '[api] auth_strategy',
            ),
            (
                'noauth on a name',
                'listen = localhost\nauth_strategy = noauth',
                '[api] auth_strategy',
            ),
            ('key missing', 'tls_certificate = /c', '[api] tls_key'),
            ('certificate missing', 'tls_key = /k', '[api] tls_certificate'),
            (
                'budget',
                'budget = 5\nrequest_timeout = 5',
                '[api] request_timeout',
            ),
        )
    ]

    def test_validate(self):
        conf = self.make_conf('[api]\n' + self.text)
        if self.option is None:
            api.validate(conf)
            return
        error = self.assertRaises(
            exceptions.ConfigurationError, api.validate, conf
        )
        self.assertEqual(self.option, error.option)
        self.assertTrue(str(error).startswith(self.option + ': '))


class TestIsLoopback(testscenarios.WithScenarios, base.TestCase):
    scenarios = [
        (host or 'empty', {'host': host, 'expected': expected})
        for host, expected in (
            ('127.0.0.1', True),
            ('127.9.9.9', True),
            ('::1', True),
            ('::ffff:127.0.0.1', True),
            ('localhost', False),
            ('0.0.0.0', False),
            ('::', False),
            ('192.0.2.1', False),
            ('::ffff:192.0.2.1', False),
            ('127.0.0.1.example.com', False),
            ('', False),
        )
    ]

    def test_is_loopback(self):
        self.assertEqual(self.expected, api.is_loopback(self.host))
