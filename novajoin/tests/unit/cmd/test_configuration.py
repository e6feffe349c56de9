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
import contextlib
import contextvars
import io
import logging
import pathlib
import sys
from unittest import mock

import fixtures

from novajoin import exceptions
from novajoin.cmd import checkin
from novajoin.cmd import configuration
from novajoin.cmd import manage
from novajoin.cmd import notify
from novajoin.cmd import server
from novajoin.cmd import status
from novajoin.conf import project
from novajoin.tests import base
from novajoin.tests.unit.cmd import conf as test_conf

#: What the README of the first novajoin and its release 1.3.0 wrote.
_OLD_FILE = """\
[DEFAULT]
join_listen = 127.0.0.1
join_listen_port = 9090
api_paste_config = /etc/novajoin/join-api-paste.ini
debug = True
auth_strategy = noauth
url = https://ipa.host.domain/ipa/json
keytab = /etc/krb5.keytab
domain = example.com
connect_retries = 4
project_subdomain = True
normalize_project = False
glance_num_retries = 3
notifications_topic = novajoin_notifications
notification_format = versioned

[tripleo]
allowed_classes = webserver
"""


class ConfigurationTest(base.TestCase):
    def read(self, *arguments):
        conf = configuration.make_conf()
        configuration.read(conf, arguments)
        return conf

    def test_old_file(self):
        """NJ7: an old join.conf loads unchanged."""
        path = self.make_directory() / 'join.conf'
        path.write_text(_OLD_FILE)
        conf = self.read('--config-file', str(path))
        self.assertEqual(9090, conf.api.port)
        self.assertEqual('127.0.0.1', conf.api.listen)
        self.assertEqual('noauth', conf.api.auth_strategy)
        self.assertTrue(conf.debug)
        self.assertEqual('example.com', conf.naming.domain)
        self.assertTrue(conf.naming.project_subdomain)
        self.assertFalse(conf.naming.normalize_project)
        self.assertEqual(3, conf.glance.num_retries)
        self.assertEqual(['novajoin_notifications'], conf.notify.topics)
        for _ in range(2):
            self.assertEqual(
                {'tripleo': ('webserver',)}, project.list_old_classes(conf)
            )

    def list_warnings(self, *arguments):
        """Return what gets to the log where the options want it."""
        log = self.make_directory() / 'log'
        conf = configuration.make_conf()
        configuration.read(conf, ['--log-file', str(log), *arguments])
        configuration.set_up_log(conf)
        for handler in logging.getLogger().handlers:
            handler.close()
        return log.read_text().splitlines() if log.exists() else []

    def test_old_sections(self):
        """They are named one by one, once the log is set up."""
        path = self.make_directory() / 'join.conf'
        path.write_text(_OLD_FILE.replace('debug = True', ''))
        (warning,) = self.list_warnings('--config-file', str(path))
        self.assertIn('[tripleo] allowed_classes', warning)

    def test_sections_that_are_of_no_project(self):
        path = self.make_directory() / 'join.conf'
        path.write_text(
            '[DEFAULT]\nallowed_classes = a\n'
            '[naming]\nallowed_classes = b\n'
            '[other]\nclasses = c\n'
            '[project:%s]\nallowed_classes = d\n' % ('ab' * 16)
        )
        conf = self.read('--config-file', str(path))
        self.assertEqual({}, project.list_old_classes(conf))
        self.assertEqual([], self.list_warnings('--config-file', str(path)))

    def test_defaults(self):
        """NJ7: the README's port; keystone unless told otherwise."""
        conf = self.read('--config-file', '/dev/null')
        self.assertEqual(9999, conf.api.port)
        self.assertEqual('127.0.0.1', conf.api.listen)
        self.assertEqual('keystone', conf.api.auth_strategy)
        self.assertFalse(conf.debug)

    def test_missing_file(self):
        error = self.assertRaises(
            exceptions.ConfigurationError,
            self.read,
            '--config-file',
            '/nowhere/join.conf',
        )
        self.assertIn('/nowhere/join.conf', error.message)

    def test_wrong_value_names_the_option(self):
        path = self.make_directory() / 'join.conf'
        for text, name in (
            ('[api]\nport = many\n', 'port'),
            ('[credential]\ntoken_lifetime = 10\n', 'token_lifetime'),
            ('[credential]\ntoken_delivery = post\n', 'token_delivery'),
            ('[naming]\nproject_subdomain = perhaps\n', 'project_subdomain'),
            ('not a file of options\n', 'join.conf'),
        ):
            path.write_text(text)
            error = self.assertRaises(
                exceptions.ConfigurationError,
                self._read_and_use,
                str(path),
            )
            self.assertIn(name, error.message)

    def _read_and_use(self, path):
        conf = self.read('--config-file', path)
        # oslo.config checks some values only when they are asked for.
        configuration.check(conf)

    def test_start_ends_with_one_line(self):
        error = self.assertRaises(
            SystemExit,
            configuration.start,
            ['--config-file', '/nowhere/join.conf'],
        )
        self.assertIn('/nowhere/join.conf', str(error.code))
        self.assertNotIn('\n', str(error.code))

    def test_help(self):
        """What each program does; what it takes follows."""
        for module, text in (
            (server, "Answer nova's"),
            (checkin, 'Serve instances'),
            (notify, 'Follow what nova does'),
            (manage, 'Look after the database'),
            (status, 'Tell whether this installation'),
        ):
            out = io.StringIO()
            with (
                mock.patch.object(sys, 'argv', ['program', '--help']),
                contextlib.redirect_stdout(out),
            ):
                ended = self.assertRaises(SystemExit, module.main)
            self.assertEqual(0, ended.code)
            self.assertIn(text, out.getvalue())

    def test_oldest_place(self):
        """The README's /etc/nova/join.conf is found, with a warning."""
        path = self.make_directory() / 'join.conf'
        path.write_text('[DEFAULT]\njoin_listen_port = 4711\n')
        with (
            mock.patch.object(configuration, '_OLD_FILE', path),
            mock.patch.object(
                configuration.cfg,
                'find_config_files',
                autospec=True,
                return_value=[],
            ),
        ):
            conf = self.read()
            (warning,) = self.list_warnings()
            others = self.list_warnings('--config-file', '/dev/null')
        self.assertEqual(4711, conf.api.port)
        self.assertIn(str(path), warning)
        # It was not read.
        self.assertEqual([], others)

    def test_read_again(self):
        directory = self.make_directory()
        conf = test_conf.read(directory)
        path = pathlib.Path(directory, 'join.conf')
        path.write_text(path.read_text() + '\n[naming]\ndomain = new.test\n')
        domain = conf.naming.domain
        fresh = configuration.read_again(conf)
        self.assertEqual('new.test', fresh.naming.domain)
        self.assertEqual(domain, conf.naming.domain)

    def test_read_again_keeps_what_worked(self):
        directory = self.make_directory()
        conf = test_conf.read(directory)
        pathlib.Path(directory, 'join.conf').write_text('nonsense')
        self.assertRaises(
            exceptions.ConfigurationError, configuration.read_again, conf
        )
        self.assertEqual('noauth', conf.api.auth_strategy)


class HushTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.logger = self.useFixture(fixtures.FakeLogger())
        self.conf = mock.Mock(debug=False)

    def say(self, text):
        logging.getLogger('novajoin.db.engine').error('%s', text)

    def test_one_in_another(self):
        """Also where several begin and end in any order."""
        first = configuration.hush_database(self.conf)
        contexts = [contextvars.copy_context() for _ in range(2)]
        second = configuration.hush_database(self.conf)
        contexts[0].run(first.__enter__)
        contexts[1].run(second.__enter__)
        contexts[0].run(self.say, 'hushed')
        self.say('heard between')
        contexts[0].run(first.__exit__, None, None, None)
        contexts[1].run(self.say, 'hushed')
        contexts[1].run(second.__exit__, None, None, None)
        self.say('heard after')
        self.assertEqual('heard between\nheard after\n', self.logger.output)

    def test_debug(self):
        self.conf.debug = True
        with configuration.hush_database(self.conf):
            self.say('heard')
        self.assertEqual('heard\n', self.logger.output)
