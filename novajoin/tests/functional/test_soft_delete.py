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
"""Soft-deleted servers of a real nova: their identity waits with them."""

from novajoin.tests.functional import test_main_job
from novajoin.tests.functional.cloud import soft_delete

FQDN = 'soft.' + test_main_job.DOMAIN


class TestSoftDelete(test_main_job.MainJobCase):
    """Transitions 10 and 11 of the life of an enrollment."""

    def setUp(self):
        super().setUp()
        self.nova = self.useFixture(soft_delete.SoftDelete(self.cloud))
        self.server = self.cloud.create_server(
            'soft', metadata=test_main_job.ASKS
        )
        self.join = self.get_join(self.server)
        self.drive = self.service.make_drive(self.server.id, self.join)
        self.state = self.service.get_guest_state(self.drive)

    def wait_for_state(self, state):
        self.service.wait_for_state(
            self.server.id, state, test_main_job.PATIENCE
        )

    def suspend(self):
        self.nova.delete(self.server)
        self.wait_for_state('suspended')

    def run_guest(self, *arguments):
        """Run the guest client and expect it to do its work."""
        command, *options = arguments
        done = self.service.run_guest(command, self.drive, *options)
        self.assertEqual(0, done.returncode, done.stderr)

    def assert_suspended(self, *arguments):
        """The guest client is refused, and nova gets no credential."""
        command, *options = arguments
        done = self.service.run_guest(command, self.drive, *options)
        self.assertNotEqual(0, done.returncode, done.stderr)
        self.assertIn('403 suspended', done.stderr)
        status, answer = self.service.call_as(
            'nova', 'POST', '/v1/', self.make_post(self.server, 'soft')
        )
        self.assertEqual(200, status, answer)
        self.assertEqual({'hostname': FQDN, 'state': 'suspended'}, answer)

    def list_revoked(self):
        """Whether each certificate of the server is revoked."""
        return [
            found['revoked_at'] is not None
            for found in self.service.list_certificates(self.server.id)
        ]

    def assert_over(self):
        self.wait_for_state('closed')
        self.assert_revoked(self.state, self.server.id)
        self.assertEqual({True}, set(self.list_revoked()))
        self.assertEqual([], self.service.list_hosts())

    def test_enrolled(self):
        """Restored, it goes on; deleted by force, it is over."""
        self.run_guest('enroll')
        self.suspend()
        shown = self.service.get_enrollment(self.server.id)
        self.assertEqual('enrolled', shown['suspended_from'])
        self.assert_suspended('renew', '--force')
        # Nothing is revoked, and nothing is removed.
        self.assertEqual([False], self.list_revoked())
        self.assertEqual([FQDN], self.service.list_hosts())
        self.nova.restore(self.server)
        self.wait_for_state('enrolled')
        self.run_guest('renew', '--force')
        self.assert_verified(self.state, FQDN)
        self.suspend()
        self.nova.force_delete(self.server)
        self.assert_over()

    def test_before_the_credential_is_redeemed(self):
        """It cannot be redeemed until the server is restored."""
        self.wait_for_state('offered')
        self.suspend()
        self.assert_suspended('enroll')
        self.nova.restore(self.server)
        self.wait_for_state('offered')
        self.assertEqual(self.join, self.get_join(self.server))
        self.run_guest('enroll')
        self.assert_verified(self.state, FQDN)

    def test_reclaimed(self):
        """NJ3: nova itself does away with what nobody restores."""
        self.run_guest('enroll')
        self.suspend()
        self.nova.reclaim(self.server)
        self.assert_over()
