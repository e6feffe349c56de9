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

"""What tests of the API have in common."""

import dataclasses
import datetime
import functools
from unittest import mock

from keystonemiddleware import opts
from oslo_config import cfg
import webtest

from novajoin import models
from novajoin import policy
from novajoin.api import app
from novajoin.api import health
from novajoin.api import services
from novajoin.db import certificates
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import events
from novajoin.db import tables
from novajoin.enrollment import operations
from novajoin.tests import base

NOW = datetime.datetime(2026, 11, 21, 8, 0, tzinfo=datetime.timezone.utc)

INSTANCE = '9baef604-e3c9-4708-9b18-8e9fef008537'
OTHER_INSTANCE = 'a0000000-0000-4000-8000-000000000001'
PROJECT = 'ef44c3558c6a4f1282307e52bca1fa81'
OTHER_PROJECT = '0757cc424adb4c8d9cea1fa5bb8486f5'
IMAGE = '4257d703-3e5b-4342-8b98-31125925b60f'

#: As nova posts it.
POST = {
    'project-id': PROJECT,
    'instance-id': INSTANCE,
    'image-id': IMAGE,
    'user-data': 'I2Nsb3VkLWNvbmZpZwo=',
    'hostname': 'web-1',
    'metadata': {'ipa_enroll': 'True'},
    'boot-roles': 'member,reader',
}

ENROLLMENT = models.Enrollment(
    instance=INSTANCE,
    project=PROJECT,
    hostname='web-1.example.com',
    state=models.State.OFFERED,
    epoch=2,
    generation=3,
    opened_at=NOW,
    expires_at=NOW + datetime.timedelta(hours=1),
    salt=b'salt salt salt s',
    key_id='0123456789abcdef',
    token_sha256=b'hash' * 8,
    eku=('clientAuth', 'serverAuth'),
    created_at=NOW,
    updated_at=NOW,
    nova_confirmed=True,
    metadata={'ipa_enroll': 'True'},
)

CERTIFICATE = models.Certificate(
    serial='5' * 32,
    instance=INSTANCE,
    epoch=2,
    generation=3,
    public_key_sha256=b'k' * 32,
    public_key=b'key',
    not_before=NOW,
    not_after=NOW + datetime.timedelta(days=30),
    created_at=NOW,
    der=b'\x30\x03' * 40,
    issuer='fedcba9876543210',
)

_READERS = (
    'find_certificate',
    'find_enrollment',
    'list_certificates',
    'list_enrollments',
    'list_events',
)


def make_conf(*arguments: str) -> cfg.ConfigOpts:
    """Return a configuration that reads no file of this machine."""
    conf = cfg.ConfigOpts()
    conf(
        list(arguments),
        project='novajoin',
        prog='join',
        default_config_files=[],
        default_config_dirs=[],
    )
    for group, options in opts.list_auth_token_opts():
        conf.register_opts(options, group=group)
        conf.set_override(
            'www_authenticate_uri', 'http://keystone.example.com', group=group
        )
    return conf


@functools.cache
def make_policy() -> policy.Policy:
    """Return the default rules."""
    return policy.Policy(make_conf())


class ApiTestCase(base.TestCase):
    """A test with the whole application and fakes below it.

    :cvar is_noauth: everybody is an administrator
    :ivar admission: a mock
    :ivar operations: a mock; what only reads does read the database
    """

    is_noauth = True
    max_body = 64 * 1024
    max_page = 3
    peer = '127.0.0.1'

    def setUp(self):
        super().setUp()
        self.admission = mock.create_autospec(
            services.Admission, instance=True, spec_set=True
        )
        self.admission.answer.return_value = {}
        self.operations = mock.create_autospec(
            services.Operations, instance=True, spec_set=True
        )
        for name in _READERS:
            getattr(self.operations, name).side_effect = functools.partial(
                self.read, name
            )
        self.allow_list = models.AllowList(PROJECT, classes=('web', 'db'))
        self.checks = {'database': health.Check(lambda: None)}
        self.database = None
        self.app = self.make_app()

    def make_app(self, **changes):
        settings = services.Settings(
            conf=make_conf(),
            is_noauth=self.is_noauth,
            max_body=self.max_body,
            max_page=self.max_page,
        )
        settings = dataclasses.replace(settings, **changes)
        parts = services.Services(
            admission=self.admission,
            operations=self.operations,
            policy=make_policy(),
            find_allow_list=lambda project: dataclasses.replace(
                self.allow_list, project=project
            ),
            checks=self.checks,
        )
        return webtest.TestApp(
            app.build(parts, settings),
            extra_environ={'REMOTE_ADDR': self.peer},
        )

    def read(self, name, *args, **kwargs):
        """Call a reader of the true operations.

        The database is made when it is asked for.
        """
        true = operations.Operations(
            self.get_database(), None, None, lambda: NOW
        )
        return getattr(true, name)(*args, **kwargs)

    def get_database(self):
        if self.database is None:
            self.database = engine.Database(
                f'sqlite:///{self.make_directory()}/novajoin.sqlite'
            )
            self.addCleanup(self.database.close)
            tables.metadata.create_all(self.database.engine)
        return self.database

    def put_enrollment(self, **changes):
        row = dataclasses.replace(ENROLLMENT, **changes)
        self.get_database().write(lambda tx: enrollments.insert(tx, row))
        return row

    def put_certificate(self, **changes):
        row = dataclasses.replace(CERTIFICATE, **changes)
        self.get_database().write(lambda tx: certificates.insert(tx, row))
        return row

    def put_event(self, kind, **facts):
        self.get_database().write(
            lambda tx: events.insert(tx, kind, NOW, **facts)
        )

    def assert_nothing_done(self):
        """Check that the operations were asked to read at most."""
        names = {name for name, _, _ in self.operations.method_calls}
        self.assertEqual(set(), names - set(_READERS))

    def assert_error(self, response, status, reason):
        """Check the one shape of an error and return its message."""
        self.assertEqual(status, response.status_int, response.text)
        self.assertEqual('application/json', response.content_type)
        self.assertEqual({'error'}, set(response.json))
        error = response.json['error']
        self.assertEqual(
            {'code', 'message', 'fault_name', 'reason', 'request_id'},
            set(error),
        )
        self.assertEqual(status, error['code'])
        self.assertEqual(reason, error['reason'], error)
        self.assertEqual(
            response.headers['X-Openstack-Request-Id'], error['request_id']
        )
        self.assertTrue(error['message'])
        self.assertNotIn('Traceback', response.text)
        return error['message']
