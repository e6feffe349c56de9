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

import logging

import fixtures

from novajoin import exceptions
from novajoin import models
from novajoin.clients import keystone
from novajoin.tests import base
from novajoin.tests.unit.clients import cloud

PROJECT = 'ef44c3558c6a4f1282307e52bca1fa81'
URL = '%s/v3/projects/%s' % (cloud.KEYSTONE, PROJECT)


class TestLoadAuth(base.TestCase):
    def load(self, **overrides):
        return keystone.load_auth(
            cloud.build_conf(**overrides), 'service_credentials'
        )

    def test_no_account(self):
        self.assertIsNone(self.load())

    def test_unknown_plugin(self):
        error = self.assertRaises(
            exceptions.ConfigurationError,
            self.load,
            service_credentials__auth_type='pasword',
        )
        self.assertEqual('[service_credentials] auth_type', error.option)
        self.assertIn('pasword', error.message)

    def test_no_url(self):
        error = self.assertRaises(
            exceptions.ConfigurationError,
            self.load,
            service_credentials__auth_type='password',
        )
        self.assertEqual('[service_credentials]', error.option)
        self.assertIn('auth_url', error.message)

    def test_options_of_novajoin_1_3_0(self):
        """What novajoin-install wrote is read as it is."""
        path = self.make_directory() / 'join.conf'
        path.write_text(
            '[DEFAULT]\n'
            'glance_api_servers = http://a:9292, b:9292\n'
            'glance_num_retries = 2\n'
            '[service_credentials]\n'
            'auth_url = http://keystone.example.com/v3\n'
            'auth_type = password\n'
            'username = nova\n'
            'password = a-password\n'
            'project_name = service\n'
            'user_domain_id = default\n'
            'project_domain_id = default\n'
        )
        conf = cloud.build_conf()
        conf(['--config-file', str(path)], default_config_dirs=[])
        auth = keystone.load_auth(conf, 'service_credentials')
        self.assertEqual('http://keystone.example.com/v3', auth.auth_url)
        self.assertEqual(['http://a:9292', 'b:9292'], conf.glance.api_servers)
        self.assertEqual(2, conf.glance.num_retries)


class TestKeystone(base.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = self.useFixture(cloud.Cloud())
        conf = cloud.build_conf()
        self.session = self.cloud.build_session(conf)
        self.keystone = keystone.Keystone(self.session, conf.keystone)

    def test_project(self):
        self.cloud.requests.get(
            URL,
            json={
                'project': {
                    'id': PROJECT,
                    'name': 'demo',
                    'domain_id': 'default',
                }
            },
        )
        self.assertEqual(
            models.Project('demo', 'default'),
            self.keystone.find_project(PROJECT),
        )

    def test_no_project(self):
        self.cloud.requests.get(
            URL,
            status_code=404,
            json={
                'error': {
                    'code': 404,
                    'title': 'Not Found',
                    'message': 'Could not find project: %s.' % PROJECT,
                }
            },
        )
        self.assertIsNone(self.keystone.find_project(PROJECT))

    def test_unusable_answers(self):
        for answer in (
            {'status_code': 404},
            {'status_code': 500},
            {'json': {}},
            {'json': {'project': {'name': None, 'domain_id': 'default'}}},
            {'json': {'project': {'name': 'demo', 'domain_id': None}}},
            {'json': {'project': {'name': 'demo'}}},
            {'text': 'not json'},
        ):
            self.cloud.requests.get(URL, **answer)
            self.assertRaises(
                exceptions.Unavailable,
                self.keystone.find_project,
                PROJECT,
            )

    def test_check(self):
        self.keystone.check()
        self.cloud.requests.post(
            cloud.KEYSTONE + '/v3/auth/tokens', status_code=401
        )
        self.session.invalidate()
        self.assertRaises(exceptions.Unavailable, self.keystone.check)

    def test_roles(self):
        self.assertEqual(
            {'admin', 'service'},
            keystone.find_roles(self.session),
        )

    def test_answers_are_not_logged(self):
        """A server's document holds user data: it stays out of the log."""
        log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        self.cloud.requests.get(
            URL,
            json={
                'project': {
                    'name': 'demo',
                    'domain_id': 'default',
                    'secret': 'a-secret',
                }
            },
            headers={'Content-Type': 'application/json'},
        )
        self.keystone.find_project(PROJECT)
        self.assertIn('GET %s: 200' % URL, log.output)
        for secret in ('a-secret', 'a-password', 'a-token'):
            self.assertNotIn(secret, log.output)
