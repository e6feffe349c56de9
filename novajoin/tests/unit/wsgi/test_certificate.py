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

"""The certificate of the control plane."""

import os
import ssl

import fixtures

from novajoin import exceptions
from novajoin.tests import base
from novajoin.tests.unit.wsgi import test_server
from novajoin.wsgi import certificate


class TestContext(base.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = self.make_directory()
        self.paths = test_server.make_certificate(self.directory)
        self.log = self.useFixture(
            fixtures.FakeLogger('novajoin.wsgi.certificate')
        )

    def look_again(self, context):
        """Let the next call look at the files."""
        context._next_look = 0
        return context.get()

    def test_the_same_until_the_files_change(self):
        context = certificate.Context(*self.paths)
        first = context.get()
        self.assertIs(first, self.look_again(context))
        self.assertEqual(ssl.TLSVersion.TLSv1_2, first.minimum_version)
        test_server.make_certificate(self.directory)
        os.utime(self.paths[0], (1, 1))
        second = self.look_again(context)
        self.assertIsNot(first, second)
        self.assertIn('is in use anew', self.log.output)

    def test_files_that_cannot_be_used_change_nothing(self):
        context = certificate.Context(*self.paths)
        first = context.get()
        with open(self.paths[0], 'w') as stream:
            stream.write('nonsense')
        self.assertIs(first, self.look_again(context))
        self.assertIn('is not used', self.log.output)
        os.unlink(self.paths[1])
        self.assertIs(first, self.look_again(context))

    def test_at_start_they_have_to_be_good(self):
        for paths in (
            (self.paths[0], '/nonexistent'),
            (self.paths[0], self.paths[0]),
            (self.paths[1], self.paths[1]),
        ):
            error = self.assertRaises(
                exceptions.ConfigurationError, certificate.Context, *paths
            )
            self.assertEqual('[api] tls_certificate', error.option)
