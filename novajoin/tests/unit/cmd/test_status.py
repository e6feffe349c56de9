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

import datetime
import json
import os
import socket
from unittest import mock

import fixtures

from novajoin import exceptions
from novajoin import models
from novajoin.clients import keystone
from novajoin.cmd import assembly
from novajoin.cmd import status
from novajoin.db import migration
from novajoin.db import outbox
from novajoin.tests import base
from novajoin.tests.unit.cmd import conf as test_conf
from novajoin.tests.unit.cmd import test_nova_conf


class StatusCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = self.make_directory()
        # It would take the place of the handlers of the tests.
        self.useFixture(
            fixtures.MockPatchObject(
                status.configuration, 'set_up_log', autospec=True
            )
        )

    def run_checks(self, options=None, *arguments):
        """Run the program; return its status and the results by name."""
        path = test_conf.write(self.directory, options)
        output = self.useFixture(fixtures.StringStream('stdout')).stream
        with mock.patch('sys.stdout', output):
            code = status.main(
                [
                    '--config-file',
                    str(path),
                    *arguments,
                    'upgrade',
                    'check',
                    '--json',
                ]
            )
        output.seek(0)
        document = json.loads(output.read())
        return code, {
            each['check']: (each['result'], each['details'])
            for each in document['checks']
        }

    def prepare(self, options=None):
        """Make what a first start makes."""
        parts = assembly.Assembly(test_conf.read(self.directory, options))
        parts.prepare()
        return parts


class TestEmbedded(StatusCase):
    def test_new_machine(self):
        """Nothing is made by being looked at."""
        code, results = self.run_checks()
        self.assertEqual(status.Code.WARNING, code)
        self.assertEqual(
            {'Configuration', 'Account in keystone', 'Notifications'},
            {name for name, (result, _) in results.items() if result},
        )
        self.assertEqual(['join.conf'], os.listdir(self.directory))

    def test_after_the_first_start(self):
        self.prepare()
        code, results = self.run_checks()
        self.assertEqual(status.Code.WARNING, code)
        for name in ('Database', 'Keys', 'Certificate authority', 'Outbox'):
            self.assertEqual((0, None), results[name], name)

    def test_a_crl_that_runs_out(self):
        """IDENTITY 6: the root's key is offline, and needed again."""
        parts = self.prepare()
        chain = parts.ca.get_chain()
        parts.ca.publish_other_crls(
            parts.clock() - datetime.timedelta(days=300)
        )
        code, results = self.run_checks()
        self.assertEqual(status.Code.WARNING, code)
        result, details = results['Certificate authority']
        self.assertEqual(status.Code.WARNING, result)
        for text in (chain.root.id, chain.service.id, 'key.pem'):
            self.assertIn(text, details)

    def test_keys_that_others_can_read(self):
        self.prepare()
        for path in (self.directory / 'state/keys/credential').iterdir():
            path.chmod(0o644)
        code, results = self.run_checks()
        self.assertEqual(status.Code.FAILURE, code)
        self.assertEqual(2, results['Keys'][0])

    def test_no_keys(self):
        self.prepare()
        for path in (self.directory / 'state/keys/credential').iterdir():
            path.unlink()
        code, results = self.run_checks()
        self.assertEqual(status.Code.FAILURE, code)
        self.assertIn('keys setup', results['Keys'][1])

    def test_work_that_failed_for_good(self):
        self.prepare()
        with mock.patch.object(
            outbox,
            'count_by_state',
            autospec=True,
            return_value={models.RowState.DEAD: 3},
        ):
            code, results = self.run_checks()
        self.assertEqual(status.Code.WARNING, code)
        self.assertIn('3 pieces of work', results['Outbox'][1])


class TestServer(StatusCase):
    """A database that is not upgraded by itself."""

    def setUp(self):
        super().setUp()
        self.parts = self.prepare()
        # To the check a server, to the test a file.
        self.useFixture(
            fixtures.MockPatch(
                'novajoin.db.engine.Database.is_embedded',
                new_callable=mock.PropertyMock,
                return_value=False,
            )
        )

    def test_the_schema_of_this_release(self):
        _, results = self.run_checks()
        self.assertEqual((0, None), results['Database'])

    def test_another_schema(self):
        with mock.patch.object(
            migration, 'find_version', autospec=True, return_value='0000'
        ):
            code, results = self.run_checks()
        self.assertEqual(status.Code.FAILURE, code)
        self.assertIn('db sync', results['Database'][1])

    def test_away(self):
        with mock.patch.object(
            migration,
            'find_version',
            autospec=True,
            side_effect=exceptions.DatabaseUnavailable(cause='See to db1.'),
        ):
            code, results = self.run_checks()
        self.assertEqual(status.Code.FAILURE, code)
        self.assertEqual((2, 'See to db1.'), tuple(results['Database'][:2]))


class TestAccount(StatusCase):
    ACCOUNT = {
        'service_credentials': {
            'auth_type': 'password',
            'auth_url': 'http://127.0.0.1:1/identity',
            'username': 'novajoin',
            'password': 'a-password',
        }
    }

    def check(self, **roles):
        with mock.patch.object(keystone, 'find_roles', autospec=True, **roles):
            return self.run_checks(self.ACCOUNT)[1]['Account in keystone']

    def test_keystone_is_away(self):
        _, results = self.run_checks(self.ACCOUNT)
        result, details = results['Account in keystone']
        self.assertEqual(2, result)
        self.assertIn('no token', details)
        self.assertNotIn('a-password', details)

    def test_not_an_admin(self):
        result, details = self.check(return_value=frozenset({'service'}))
        self.assertEqual(2, result)
        self.assertIn('admin', details)

    def test_nova_is_away(self):
        result, details = self.check(
            return_value=frozenset({'admin', 'service'})
        )
        self.assertEqual(2, result)
        self.assertIn('nova', details)


class TestConfiguration(StatusCase):
    def test_options_that_do_not_fit(self):
        code, results = self.run_checks({'api': {'auth_strategy': 'keystone'}})
        self.assertEqual(status.Code.FAILURE, code)
        self.assertIn('[service_credentials]', results['Configuration'][1])

    def test_an_option_that_is_no_number(self):
        path = test_conf.write(
            self.directory, {'notify': {'sweep_interval': 'often'}}
        )
        output = self.useFixture(fixtures.StringStream('stderr')).stream
        with mock.patch('sys.stderr', output):
            code = status.main(
                ['--config-file', str(path), 'upgrade', 'check']
            )
        self.assertNotEqual(0, code)

    def test_broker(self):
        _, results = self.run_checks({'DEFAULT': {'transport_url': 'fake://'}})
        self.assertEqual((0, None), results['Notifications'])


class TestNova(StatusCase):
    def check(self, changes):
        part = self.directory / 'vendordata.json'
        part.write_text('{}')
        path = self.directory / 'nova.conf'
        path.write_text(
            test_nova_conf.render(changes).replace('@FILE@', str(part))
        )
        _, results = self.run_checks(None, '--nova-conf', str(path))
        return results['nova.conf']

    def make_target(self, sock):
        return {
            'api': {
                'vendordata_dynamic_targets': 'join@http://127.0.0.1:%d/v1/'
                % sock.getsockname()[1]
            }
        }

    def test_good(self):
        """NJ5: a nova.conf that asks and tells novajoin."""
        with socket.create_server(('127.0.0.1', 0)) as sock:
            self.assertEqual((0, None), self.check(self.make_target(sock)))

    def test_nobody_listens(self):
        """A compute without a novajoin-server of its own."""
        with socket.socket() as sock:
            sock.bind(('127.0.0.1', 0))
            result, details = self.check(self.make_target(sock))
        self.assertEqual(1, result)
        self.assertIn('nobody listens', details)

    def test_poor(self):
        result, details = self.check(
            {'api': {'vendordata_dynamic_failure_fatal': None}}
        )
        self.assertEqual(1, result)
        self.assertIn('vendordata_dynamic_failure_fatal', details)

    def test_wrong(self):
        result, details = self.check(
            {'api': {'vendordata_providers': None, 'x': 'y'}}
        )
        self.assertEqual(2, result)
        self.assertIn('vendordata_providers', details)

    def test_missing(self):
        _, results = self.run_checks(None, '--nova-conf', '/nonexistent')
        self.assertEqual(2, results['nova.conf'][0])

    def test_as_a_table(self):
        path = test_conf.write(self.directory)
        nova = self.directory / 'nova.conf'
        nova.write_text('')
        output = self.useFixture(fixtures.StringStream('stdout')).stream
        with mock.patch('sys.stdout', output):
            status.main(
                ['--config-file', str(path), '--nova-conf', str(nova)]
                + ['upgrade', 'check']
            )
        output.seek(0)
        lines = output.read().splitlines()
        self.assertTrue(
            any('Details: [api] vendordata_providers' in x for x in lines)
        )
        # Each fault on a line of its own.
        self.assertTrue(
            any(x.startswith('| [api] vendordata_dynamic_tar') for x in lines)
        )
