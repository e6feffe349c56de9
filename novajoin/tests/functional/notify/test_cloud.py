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
"""The worker and ``novajoin-status`` with a real OpenStack."""

import json
import subprocess
import sys

from testtools import content

from novajoin.tests import base
from novajoin.tests.functional import cloud_service
from novajoin.tests.functional.cloud import cloud as cloud_module
from novajoin.tests.functional.cloud import soft_delete
from novajoin.tests.functional.notify import rabbit

ASKS = {'ipa_enroll': 'True'}


class DeafService(cloud_service.CloudService):
    """A service without a broker: all that it learns, it has to ask for."""

    def __init__(self, directory, cloud):
        super().__init__(directory, cloud)
        self.programs = ('server', 'notify')

    def _make_options(self, url):
        options = super()._make_options(url)
        options['DEFAULT']['transport_url'] = None
        options['notify']['sweep_interval'] = '1'
        return options


class CloudCase(base.TestCase):
    kind = cloud_service.CloudService

    def setUp(self):
        super().setUp()
        self.cloud = self.useFixture(cloud_module.Cloud())
        self.service = self.useFixture(
            self.kind(self.make_directory(), self.cloud)
        )
        self.addOnException(self._attach_log)

    def _attach_log(self, _):
        lines = self.service.read_log('notify').splitlines()[-200:]
        self.addDetail('notify', content.text_content('\n'.join(lines)))

    def enroll(self, name):
        """Create a server that asks, and have nova post about it."""
        server = self.cloud.create_server(name, metadata=ASKS)
        # nova gives {} when the answer is late.
        rabbit.wait_for(
            lambda: 'bootstrap' in self.cloud.read_vendordata(server)['join']
        )
        return server


class TestSweep(CloudCase):
    kind = DeafService

    def test_what_no_notification_told(self):
        """NJ3: a deleted instance is found also without notifications."""
        gone = self.enroll('sweep-1')
        stays = self.enroll('sweep-2')
        self.cloud.delete_server(gone)
        self.service.wait_for_state(gone.id, 'closed', 120)
        self.assertEqual(
            'offered', self.service.get_enrollment(stays.id)['state']
        )
        self.assertIn('NOT listened to', self.service.read_log('notify'))

    def test_soft_delete(self):
        """Nor are a soft-delete and its restore missed."""
        nova = self.useFixture(soft_delete.SoftDelete(self.cloud))
        server = self.enroll('sweep-4')
        stays = self.enroll('sweep-5')
        for each in (server, stays):
            self.service.wait_for_state(each.id, 'offered', 120)
        nova.delete(server)
        self.service.wait_for_state(server.id, 'suspended', 120)
        nova.restore(server)
        self.service.wait_for_state(server.id, 'offered', 120)
        nova.delete(server)
        self.service.wait_for_state(server.id, 'suspended', 120)
        nova.force_delete(server)
        self.service.wait_for_state(server.id, 'closed', 120)
        self.assertEqual(
            'offered', self.service.get_enrollment(stays.id)['state']
        )

    def test_reconcile(self):
        """The command shows what differs; without --dry-run it follows."""
        gone = self.enroll('sweep-6')
        stays = self.enroll('sweep-7')
        self.service.wait_for_state(gone.id, 'offered', 120)
        self.service.stop('notify')
        self.cloud.delete_server(gone)
        shown = self.service.manage('reconcile', '--dry-run')
        self.assertIn('not on the list', shown)
        self.assertIn(gone.id, shown)
        self.assertNotIn(stays.id, shown)
        self.service.start('notify')
        self.service.wait_for_state(gone.id, 'closed', 120)
        self.assertIn(': 0 are not on', self.service.manage('reconcile'))

    def test_nova_is_down(self):
        """An error of nova ends nothing."""
        stays = self.enroll('sweep-3')
        text = self.service.conf_path.read_text()
        self.service.stop('notify')
        self.service.conf_path.write_text(
            '%s\n[nova]\nendpoint_override = http://127.0.0.1:1/v2.1\n' % text
        )
        self.service.start('notify')
        self.wait_for_sweeps('sweep has to wait')
        self.service.stop('notify')
        # A nova that knows none of our instances: keystone is none at all.
        self.service.conf_path.write_text(
            '%s\n[nova]\nendpoint_override = %s\n'
            % (text, self.cloud.plan.url('keystone', '/v3'))
        )
        self.service.start('notify')
        self.wait_for_sweeps('sweep has to wait')
        self.assertEqual(
            'offered', self.service.get_enrollment(stays.id)['state']
        )

    def wait_for_sweeps(self, text):
        before = self.service.read_log('notify').count(text)
        rabbit.wait_for(
            lambda: self.service.read_log('notify').count(text) > before + 1
        )


class TestStatus(CloudCase):
    def check(self):
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'novajoin.cmd.status'),
                *('--config-file', self.service.conf_path),
                *('--nova-conf', self.cloud.plan.etc / 'nova' / 'nova.conf'),
                *('upgrade', 'check', '--json'),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.addDetail('stderr', content.text_content(done.stderr))
        self.addDetail('stdout', content.text_content(done.stdout))
        return done.returncode, {
            each['check']: (each['result'], each['details'])
            for each in json.loads(done.stdout)['checks']
        }

    def test_all_is_well(self):
        """NJ5: with nova, keystone, MariaDB and RabbitMQ as they are."""
        code, results = self.check()
        self.assertEqual(
            ['nova.conf'],
            [name for name, (result, _) in results.items() if result],
        )
        # This nova leaves two things as they are by default.
        self.assertEqual(1, code)
        details = results['nova.conf'][1].splitlines()
        self.assertEqual(
            [
                '[api] vendordata_dynamic_read_timeout',
                '[api] vendordata_dynamic_failure_fatal',
            ],
            [line.partition(':')[0] for line in details],
        )
