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

from novajoin import exceptions
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

    def test_a_ca_that_cannot_issue(self):
        instance = self.ca.get_chain().instance.id
        directory = self.parts.keys.directory / 'ca/instance' / instance
        (directory / 'key.pem').unlink()
        self.ca = assembly.Assembly(self.parts.conf).ca
        self.assertRaises(exceptions.CAUnavailable, self.check)

    def test_a_ca_without_crls_of_ours(self):
        self.ca = mock.Mock(spec_set=['check'])
        self.assertIsNone(self.check())
