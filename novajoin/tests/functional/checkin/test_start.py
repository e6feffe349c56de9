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
"""How the check-in service starts, and what it does when others are away."""

import os
import socket

from novajoin.tests import base
from novajoin.tests.functional import service as novajoin_service
from novajoin.tests.functional.checkin import instance as instances
from novajoin.tests.functional.checkin import test_est


class TestStart(base.TestCase):
    def setUp(self):
        super().setUp()
        self.service = novajoin_service.Service(
            self.make_directory(), auto=False
        )
        self.useFixture(self.service)

    def find_pending(self):
        return (self.service.state_path / 'checkin' / 'pending.json').exists()

    def test_does_not_listen_before_it_is_certified(self):
        """IDENTITY 5: not ready without a certificate, never plaintext."""
        self.service.launch('checkin')
        self.assertTrue(test_est.wait_for(self.find_pending))
        self.assertFalse(
            novajoin_service.is_listening(self.service.checkin_port)
        )
        self.service.start('notify')
        self.service.wait('checkin')
        with socket.create_connection(
            ('127.0.0.1', self.service.checkin_port), 10
        ) as raw:
            raw.sendall(b'GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n')
            self.assertNotIn(b'HTTP', raw.recv(100))

    def test_restarts_with_its_certificate_while_notify_is_away(self):
        """Each process restarts alone (NJ1)."""
        self.service.start('notify', 'checkin')
        own = self.service.state_path / 'checkin' / 'certificate.pem'
        before = own.read_bytes()
        self.service.stop('notify', 'checkin')
        self.service.start('checkin')
        self.assertEqual(before, own.read_bytes())
        self.assertEqual(
            {'certificate.pem', 'lock'}, set(os.listdir(own.parent))
        )

    def test_asks_again_when_its_file_is_lost(self):
        """The workers get a new one; the service goes on under its pid."""
        self.service.start('server', 'notify', 'checkin')
        own = self.service.state_path / 'checkin' / 'certificate.pem'
        before = own.read_bytes()
        pids = set(self.service.get_pids())
        own.write_bytes(b'')
        # Those that run still have theirs; a new worker has to ask.
        self.service.reload('checkin')

        def is_new():
            text = own.read_bytes()
            return text.startswith(b'-----') and text != before

        self.assertTrue(test_est.wait_for(is_new, 60))
        uuid, _, answer = self.service.post()
        self.service.wait_for_state(uuid, 'offered')
        instance = instances.Instance(
            self.service, self.make_directory(), answer
        )
        csr = instance.make_csr(instance.make_key())
        self.assertEqual(200, instance.enroll(csr).status)
        self.assertGreaterEqual(len(pids & set(self.service.get_pids())), 1)
