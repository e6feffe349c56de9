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
"""What the check-in service is put together from."""

import datetime
from unittest import mock

import webob

from novajoin import exceptions
from novajoin.checkin import tls
from novajoin.cmd import assembly
from novajoin.cmd import checkin
from novajoin.tests import base
from novajoin.tests.unit.cmd import conf as test_conf


class TestHealthOfTheCA(base.TestCase):
    def setUp(self):
        super().setUp()
        self.parts = assembly.Assembly(test_conf.read(self.make_directory()))
        self.parts.prepare()
        self.addCleanup(self.parts.database.close)
        self.ca = self.parts.ca
        self.ca.publish_crl(self.parts.clock())
        self.ca.publish_other_crls(self.parts.clock())
        self.later = datetime.timedelta()

    def check(self):
        return checkin._check_ca(
            self.ca, lambda: self.parts.clock() + self.later
        )

    def test_all_is_well(self):
        self.assertIsNone(self.check())

    def test_a_crl_that_runs_out_is_a_warning(self):
        """The root's key is offline: there is still time, and it serves."""
        self.later = datetime.timedelta(days=300)
        root = self.ca.get_chain().root.id
        self.assertIn(root, self.check())

    def test_while_notify_is_away(self):
        """It goes on issuing, also with a CRL that is too old."""
        self.later = datetime.timedelta(days=2)
        self.assertIn(self.ca.get_chain().instance.id, self.check())

    def test_a_ca_that_cannot_issue(self):
        instance = self.ca.get_chain().instance.id
        directory = self.parts.keys.directory / 'ca/instance' / instance
        (directory / 'key.pem').unlink()
        self.ca = assembly.Assembly(self.parts.conf).ca
        self.assertRaises(exceptions.CAUnavailable, self.check)

    def test_a_ca_without_crls_of_ours(self):
        self.ca = mock.Mock(spec_set=['check'])
        self.assertIsNone(self.check())


class TestNames(base.TestCase):
    """What the URLs name is what the certificate has, however written."""

    def test_certificate(self):
        for url in (
            'https://[fe80::1%25eth0]:9998',
            'https://[2001:DB8:0::1]:9998',
            'https://Join.Example.com.:9998',
            'https://j\xf6in.example.com',
        ):
            parts = assembly.Assembly(
                test_conf.read(
                    self.make_directory(), {'checkin': {'urls': url}}
                )
            )
            parts.prepare()
            keeper = checkin._make_keeper(parts, tls.Contexts(parts.clock))
            for _ in range(2):
                keeper.look()
                parts.service_certificates.sign_pending(
                    parts.ca, parts.checkin_names
                )
            self.assertIsNone(keeper.check(), url)
            self.assertEqual(5.0, keeper.look(), url)
            parts.database.close()


class TestHealth(base.TestCase):
    """What a balancer is told about a worker, check by check."""

    def setUp(self):
        super().setUp()
        self.conf = test_conf.read(self.make_directory())
        self.parts = assembly.Assembly(self.conf)
        self.parts.prepare()
        self.addCleanup(self.parts.database.close)

    def get_certificate(self):
        keeper = checkin._make_keeper(
            self.parts, tls.Contexts(self.parts.clock)
        )
        for _ in range(2):
            keeper.look()
            self.parts.service_certificates.sign_pending(
                self.parts.ca, self.parts.checkin_names
            )
        self.assertTrue(keeper.is_ready)

    def ask(self):
        """Return what a worker that starts now answers."""
        process = checkin._Process(self.conf)
        application = process.start()
        self.addCleanup(process._assembly.database.close)
        self.addCleanup(process.stop)
        answer = webob.Request.blank('/healthcheck').get_response(application)
        return answer.status_int, answer.text

    def test_all_is_well(self):
        self.get_certificate()
        self.assertEqual((200, 'OK\n'), self.ask())

    def test_without_a_certificate(self):
        status, text = self.ask()
        self.assertEqual(503, status)
        self.assertIn('Not healthy: certificate.', text)

    def test_without_a_database(self):
        self.get_certificate()
        self.parts.database.close()
        self.parts.database.path.write_bytes(b'no database' * 1000)
        status, text = self.ask()
        self.assertEqual(503, status)
        self.assertIn('Not healthy: database', text)

    def test_without_the_key_of_the_instance_ca(self):
        self.get_certificate()
        instance = self.parts.ca.get_chain().instance.id
        directory = self.parts.keys.directory / 'ca/instance' / instance
        (directory / 'key.pem').unlink()
        status, text = self.ask()
        self.assertEqual(503, status)
        self.assertIn('Not healthy: ca.', text)
