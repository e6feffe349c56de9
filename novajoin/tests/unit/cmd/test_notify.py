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

from unittest import mock

import fixtures
from oslo_service import service
import testtools

from novajoin import exceptions
from novajoin import models
from novajoin.cmd import assembly
from novajoin.cmd import notify
from novajoin.db import crls
from novajoin.notify import worker
from novajoin.tests import base
from novajoin.tests.unit.cmd import conf as test_conf

INSTANCE = '9baef604-e3c9-4708-9b18-8e9fef008537'


class TestMakeServices(base.TestCase):
    """Each kind of work does what it is to, on the embedded defaults."""

    def setUp(self):
        super().setUp()
        self.parts = assembly.Assembly(test_conf.read(self.make_directory()))
        self.parts.prepare()
        self.services = notify.make_services(self.parts)
        self.addCleanup(self.services.close)

    def test_nothing_to_do(self):
        services = self.services
        services.take_hint(
            models.Hint(INSTANCE, 'delete', 'instance.delete.end'), 'req-1'
        )
        self.assertEqual(0, services.work_outbox(10))
        self.assertEqual(0, services.sweep().compared)
        self.assertEqual(0, services.expire())
        self.assertEqual(0, services.sign_service_certificates())

    def test_keys(self):
        keys = self.services.list_keys()
        self.assertIn('credential', keys)
        self.assertIn(
            self.parts.keys.get_primary('credential').id, keys['credential']
        )

    def test_crl(self):
        self.services.publish_crl()
        chain = self.parts.ca.get_chain()
        self.assertEqual(
            {chain.root.id, chain.service.id, chain.instance.id},
            self.parts.database.read(crls.list_issuers),
        )

    def test_crls_without_the_key_of_instances(self):
        """Who holds another key only still publishes its CRL."""
        chain = self.parts.ca.get_chain()
        (
            self.parts.keys.directory
            / 'ca/instance'
            / chain.instance.id
            / 'key.pem'
        ).unlink()
        services = notify.make_services(assembly.Assembly(self.parts.conf))
        self.addCleanup(services.close)
        self.assertRaises(exceptions.CAUnavailable, services.publish_crl)
        self.assertEqual(
            {chain.root.id, chain.service.id},
            self.parts.database.read(crls.list_issuers),
        )

    def test_another_ca(self):
        """A CA without CRLs and service certificates of ours."""
        self.parts.__dict__['ca'] = mock.sentinel.ca
        services = notify.make_services(self.parts)
        self.assertIsNone(services.publish_crl)
        self.assertEqual(0, services.sign_service_certificates())


class TestLoad(base.TestCase):
    def test_load(self):
        directory = self.make_directory()
        self.assertIsInstance(
            notify.load(test_conf.read(directory)), worker.Worker
        )
        self.assertTrue((directory / 'state').exists())

    def test_nothing_is_made_when_a_setting_is_wrong(self):
        for section, options in (
            ('api', {'auth_strategy': 'keystone'}),
            ('DEFAULT', {'transport_url': 'rabit://'}),
            ('identity', {'backend': 'nosuch'}),
            ('ca', {'backend': 'nosuch'}),
            ('naming', {'domain': 'not a domain'}),
            ('service_credentials', {'auth_type': 'pasword'}),
        ):
            directory = self.make_directory()
            conf = test_conf.read(directory, {section: options})
            with testtools.ExpectedException(
                exceptions.ConfigurationError, msg=str(options)
            ):
                notify.load(conf)
            self.assertFalse((directory / 'state').exists(), section)


class TestMain(base.TestCase):
    def run_main(self, options):
        path = test_conf.write(self.make_directory(), options)
        self.useFixture(
            fixtures.MonkeyPatch(
                'sys.argv', ['novajoin-notify', '--config-file', str(path)]
            )
        )
        self.useFixture(
            fixtures.MockPatchObject(
                notify.configuration, 'set_up_log', autospec=True
            )
        )
        self.launch = self.useFixture(
            fixtures.MockPatchObject(service, 'launch', autospec=True)
        ).mock
        notify.main()

    def test_launches_workers(self):
        self.run_main({'notify': {'workers': '3'}})
        (_, subject), options = self.launch.call_args
        self.assertIsInstance(subject, worker.Worker)
        self.assertEqual({'workers': 3, 'restart_method': 'reload'}, options)
        self.launch.return_value.wait.assert_called_once_with()

    def test_ends_with_one_line(self):
        error = self.assertRaises(
            SystemExit,
            self.run_main,
            {'DEFAULT': {'transport_url': 'rabit://u:a-password@h/'}},
        )
        self.assertIn('[DEFAULT] transport_url', error.code)
        self.assertNotIn('a-password', error.code)
        self.launch.assert_not_called()
