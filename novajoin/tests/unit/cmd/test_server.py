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

"""The composition of the control plane."""

import functools
import itertools
import pathlib
import types
import uuid

import fixtures
import sqlalchemy as sa
from sqlalchemy import event
import webtest

from novajoin import exceptions
from novajoin.cmd import assembly as parts
from novajoin.cmd import configuration
from novajoin.cmd import server
from novajoin.db import tables
from novajoin.tests import base
from novajoin.tests.unit.cmd import conf as test_conf
from novajoin.tests.unit.wsgi import test_server

_CONF = """\
[DEFAULT]
state_path = {directory}/state
[naming]
domain = example.com
[api]
auth_strategy = noauth
"""


class TestService(base.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = self.make_directory()
        self.path = pathlib.Path(self.directory, 'join.conf')
        self.write('')
        conf = configuration.make_conf()
        configuration.read(conf, ['--config-file', str(self.path)])
        self.conf = conf

    def write(self, text):
        self.path.write_text(_CONF.format(directory=self.directory) + text)

    def test_settings(self):
        self.write('port = 1\nworkers = 3\nthreads = 5\nconnections = 7\n')
        settings = server.Service(self.conf).load_settings()
        self.assertEqual('127.0.0.1', settings.host)
        self.assertEqual(1, settings.port)
        self.assertEqual(3, settings.processes)
        self.assertEqual(5, settings.threads)
        self.assertEqual(7, settings.connections)

    def test_what_is_refused_leaves_nothing_behind(self):
        service = server.Service(self.conf)
        for text, option in (
            ('listen = 0.0.0.0\n', '[api] auth_strategy'),
            ('request_timeout = 1\n', '[api] request_timeout'),
            ('budget = x\n', '[api] budget'),
            ('[naming]\ndomain = a b\n', '[naming] domain'),
        ):
            self.write('port = 4711\n' + text)
            error = self.assertRaises(
                exceptions.ConfigurationError, service.load_settings
            )
            self.assertIn(option, str(error))
            self.assertIs(self.conf, service._conf)
            self.assertEqual(9999, self.conf.api.port)
            self.assertEqual('127.0.0.1', self.conf.api.listen)
            self.assertEqual('example.com', self.conf.naming.domain)

    def test_tls_stays_on_or_off(self):
        service = server.Service(self.conf)
        self.assertIsNone(service.get_context)
        paths = test_server.make_certificate(self.directory)
        text = 'tls_certificate = %s\ntls_key = %s\n' % paths
        self.write(text)
        self.assertRaises(exceptions.ConfigurationError, service.load_settings)
        conf = configuration.read_again(self.conf)
        service = server.Service(conf)
        first = service.get_context()
        service.load_settings()
        self.assertIsNot(first, service.get_context())
        self.write('')
        self.assertRaises(exceptions.ConfigurationError, service.load_settings)

    def test_tokens_that_cannot_be_checked(self):
        self.write('')
        self.path.write_text(
            self.path.read_text().replace('noauth', 'keystone')
        )
        error = self.assertRaises(
            exceptions.ConfigurationError,
            server.validate,
            configuration.read_again(self.conf),
        )
        self.assertEqual('[keystone_authtoken] auth_type', error.option)


class TestKeySeparation(base.TestCase):
    def test_without_any_key_of_the_ca(self):
        """IDENTITY 6: it needs certificates, and is ready with them."""
        conf = test_conf.read(self.make_directory())
        assembly = parts.Assembly(conf)
        assembly.prepare()
        for key in assembly.keys.directory.glob('ca/*/*/key.pem'):
            key.unlink()
        assembly = parts.Assembly(conf)
        self.addCleanup(assembly.database.close)
        app = webtest.TestApp(
            server.build(assembly),
            extra_environ={'REMOTE_ADDR': '127.0.0.1'},
        )
        report = app.get('/healthcheck', status=200).json
        self.assertEqual('ready', report['status'])
        self.assertIn(
            {'name': 'ca', 'status': 'ok', 'is_needed': True},
            report['checks'],
        )

    def test_without_the_certificates_of_the_ca(self):
        conf = test_conf.read(self.make_directory())
        assembly = parts.Assembly(conf)
        assembly.prepare()
        (assembly.keys.directory / 'ca/root/states.json').unlink()
        conf.set_override('create', False, 'ca_embedded')
        assembly = parts.Assembly(conf)
        self.addCleanup(assembly.database.close)
        app = webtest.TestApp(
            server.build(assembly),
            extra_environ={'REMOTE_ADDR': '127.0.0.1'},
        )
        app.get('/healthcheck/ready', status=503)


class TestFullDisk(base.TestCase):
    def setUp(self):
        super().setUp()
        assembly = parts.Assembly(test_conf.read(self.make_directory()))
        assembly.prepare()
        self.database = assembly.database
        self.addCleanup(self.database.close)
        event.listen(self.database.engine, 'connect', self._set_size)
        self.app = webtest.TestApp(
            server.build(assembly),
            extra_environ={'REMOTE_ADDR': '127.0.0.1'},
        )
        # Each look at health is a new one.
        clock = types.SimpleNamespace(
            monotonic=functools.partial(next, itertools.count(step=10))
        )
        self.useFixture(
            fixtures.MonkeyPatch('novajoin.api.health.time', clock)
        )

    def _set_size(self, connection, record):
        # SQLite takes less than there are pages for as many as there are.
        connection.execute('PRAGMA max_page_count=%d' % self.pages)

    def limit(self, pages):
        self.pages = pages
        self.database.engine.dispose()

    def post(self):
        instance = str(uuid.uuid4())
        return self.app.post_json(
            '/v1/',
            {
                'project-id': '1' * 32,
                'instance-id': instance,
                'image-id': '',
                'hostname': 'web-%s' % instance,
                'metadata': {'ipa_enroll': 'true'},
            },
            status='*',
        )

    def get_health(self):
        report = self.app.get('/healthcheck', status='*').json
        checks = {row['name']: row['status'] for row in report['checks']}
        return report['status'], checks['database']

    def test_ready_while_there_is_room(self):
        """SQLite itself says that the disk is full, and health repeats it."""
        self.limit(2**30)
        self.assertEqual(200, self.post().status_int)
        self.assertEqual(('ready', 'ok'), self.get_health())
        self.limit(1)
        while (response := self.post()).status_int == 200:
            pass
        self.assertEqual(503, response.status_int)
        reason = response.json['error']['reason']
        self.assertEqual('database_unavailable', reason)
        full = ('not ready', 'database_unavailable')
        self.assertEqual(full, self.get_health())
        self.assertEqual(full, self.get_health())
        self.limit(2**30)
        self.assertEqual(('ready', 'ok'), self.get_health())
        self.assertEqual(200, self.post().status_int)
        self.assertEqual([], self.database.read(_list_processes))


def _list_processes(tx):
    return tx.execute(sa.select(tables.processes)).all()
