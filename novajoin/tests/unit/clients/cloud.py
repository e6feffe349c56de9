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
"""A cloud of canned answers, for the wire behaviour of the clients."""

import json
import pathlib
import socket

import fixtures
from keystoneauth1 import fixture as ksa_fixture
from keystoneauth1 import loading
from oslo_config import cfg
from requests_mock.contrib import fixture as requests_fixture

from novajoin.clients import keystone as keystone_client
from novajoin.conf import glance
from novajoin.conf import keystone
from novajoin.conf import nova
from novajoin.conf import service_credentials

RECORDED = pathlib.Path(__file__).parent / 'recorded'

KEYSTONE = 'http://keystone.example.com/identity'
NOVA = 'http://nova.example.com/v2.1'
GLANCE = 'http://glance.example.com'


def load(name):
    """Return a recorded document."""
    return json.loads((RECORDED / name).read_text())


def build_conf(**overrides):
    """Return a configuration; overrides are written ``section__option``."""
    conf = cfg.ConfigOpts()
    for module in (glance, keystone, nova, service_credentials):
        module.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in overrides.items():
        section, option = name.split('__')
        conf.set_override(option, value, group=section)
    return conf


def build_token(roles=('admin', 'service')):
    """Return a token document with a catalog."""
    token = ksa_fixture.V3Token(user_name='novajoin')
    token.set_project_scope(name='service')
    for role in roles:
        token.add_role(name=role)
    for service_type, url in (
        ('compute', NOVA),
        ('image', GLANCE),
        ('identity', KEYSTONE),
    ):
        token.add_service(service_type).add_standard_endpoints(public=url)
    return token


class Cloud(fixtures.Fixture):
    """Answers to HTTP requests; ``requests`` counts and changes them."""

    def _setUp(self):
        self.requests = self.useFixture(requests_fixture.Fixture())
        discovery = ksa_fixture.DiscoveryList(KEYSTONE, v2=False)
        self.requests.get(KEYSTONE, json=discovery, status_code=300)
        self.requests.get(
            KEYSTONE + '/v3/', json={'version': discovery.versions[0]}
        )
        self.tokens = self.requests.post(
            KEYSTONE + '/v3/auth/tokens',
            json=build_token(),
            headers={'X-Subject-Token': 'a-token'},
        )

    def build_session(self, conf=None):
        """Return a session as a process would make it."""
        conf = conf or build_conf()
        conf.set_override('auth_type', 'password', 'service_credentials')
        conf.register_opts(
            loading.get_auth_plugin_conf_options('password'),
            group='service_credentials',
        )
        for option, value in (
            ('auth_url', KEYSTONE),
            ('username', 'novajoin'),
            ('password', 'a-password'),
            ('project_name', 'service'),
            ('user_domain_name', 'Default'),
            ('project_domain_name', 'Default'),
        ):
            conf.set_override(option, value, 'service_credentials')
        auth = keystone_client.load_auth(conf, 'service_credentials')
        return keystone_client.build_session(conf, 'service_credentials', auth)


class Silence(fixtures.Fixture):
    """A peer that accepts connections and never says a word."""

    def _setUp(self):
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)
        self.url = 'http://127.0.0.1:%d' % listener.getsockname()[1]
