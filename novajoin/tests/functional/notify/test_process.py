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
"""``novajoin-notify`` as it is run, with the API and a real RabbitMQ.

There is no nova in these tests: whatever is looked up there is gone, so that
a look ends the enrollment.
"""

import signal
import subprocess
import sys

import psutil

from novajoin.tests import base
from novajoin.tests.functional import service
from novajoin.tests.functional.notify import publisher
from novajoin.tests.functional.notify import rabbit
from novajoin.tests.unit.notify import test_events


class ProcessCase(base.TestCase):
    workers = 2

    def setUp(self):
        super().setUp()
        self.rabbit = self.useFixture(rabbit.Rabbit())
        self.rabbit.start()
        self.service = self.useFixture(
            service.Service(
                self.make_directory(),
                {
                    'DEFAULT': {'transport_url': self.rabbit.url},
                    'notify': {
                        'workers': str(self.workers),
                        'outbox_interval': '0.2',
                    },
                },
                programs=('server', 'notify'),
            )
        )
        self.nova = self.useFixture(publisher.Publisher(self.rabbit.url))

    def enroll(self):
        instance, status, answer = self.service.post()
        self.assertEqual(200, status, answer)
        return instance

    def publish_delete(self, instance, is_versioned=True):
        """Publish the recorded delete as one of another instance."""
        for notification in test_events.load('28-delete'):
            payload = notification.get('payload')
            if notification['event_type'] == 'instance.delete.end':
                payload['nova_object.data']['uuid'] = instance
            elif notification['event_type'] == 'compute.instance.delete.end':
                payload['instance_id'] = instance
            else:
                continue
            self.nova.publish_one(notification, payload)


class TestDelete(ProcessCase):
    def test_delete(self):
        """NJ3: nova deletes an instance, and its identity ends."""
        self.rabbit.wait_for_consumer()
        instance = self.enroll()
        other = self.enroll()
        self.publish_delete(instance)
        self.service.wait_for_state(instance, 'closed')
        self.assertEqual(
            'offered', self.service.get_enrollment(other)['state']
        )

    def test_delete_while_nobody_listens(self):
        """NJ1: the queue waits for the worker to come back."""
        self.rabbit.wait_for_consumer()
        instance = self.enroll()
        self.service.wait_for_state(instance, 'offered')
        self.service.stop('notify')
        self.publish_delete(instance)
        self.service.start('notify')
        self.service.wait_for_state(instance, 'closed')

    def test_tokens_stay_out_of_the_log(self):
        """Also with debug on: some events carry a user's live token."""
        token = 'gAAAAAB-the-live-token-of-a-user'
        self.rabbit.wait_for_consumer()
        instance = self.enroll()
        for step in ('17-rebuild-same-image', '28-delete'):
            for notification in test_events.load(step):
                notification.setdefault('ctxt', {})['auth_token'] = token
                payload = notification.get('payload', {})
                payload['_context'] = {'auth_token': token}
                self.nova.publish_one(notification, payload)
        self.nova.publish_one(
            {
                'publisher_id': 'compute.host',
                'event_type': 'compute.instance.delete.end',
                'priority': 'info',
                'ctxt': {'auth_token': token},
            },
            {'instance_id': token},
        )
        self.publish_delete(instance)
        self.service.wait_for_state(instance, 'closed')
        log = self.service.read_log('notify')
        self.assertIn('does not say which instance', log)
        self.assertIn('DEBUG', log)
        self.assertNotIn(token, log)

    def test_of_an_instance_that_is_not_ours(self):
        self.rabbit.wait_for_consumer()
        instance = self.enroll()
        for _ in range(20):
            self.nova.publish('28-delete')
        self.publish_delete(instance)
        self.service.wait_for_state(instance, 'closed')
        status, _ = self.service.call(
            'GET', '/v1/enrollments/%s' % test_events.WEB
        )
        self.assertEqual(404, status)


class TestProcesses(ProcessCase):
    def get_workers(self):
        leader = self.service._processes.find()['notify']
        return [leader, *leader.children(recursive=True)]

    def test_sigterm(self):
        """A stop ends all processes, by themselves."""
        self.rabbit.wait_for_consumer()
        workers = self.get_workers()
        self.assertEqual(1 + self.workers, len(workers))
        workers[0].send_signal(signal.SIGTERM)
        gone, alive = psutil.wait_procs(workers, timeout=30)
        self.assertEqual([], alive)
        self.assertEqual(
            self.workers,
            self.service.read_log('notify').count('has stopped.'),
        )

    def test_a_worker_that_dies_is_replaced(self):
        self.rabbit.wait_for_consumer()
        worker = self.get_workers()[1]
        worker.send_signal(signal.SIGKILL)
        rabbit.wait_for(
            lambda: (
                self.service.read_log('notify').count('is at work')
                == self.workers + 1
            )
        )
        instance = self.enroll()
        self.publish_delete(instance)
        self.service.wait_for_state(instance, 'closed')

    def test_sighup(self):
        """Each worker is replaced by one with the new options."""
        self.rabbit.wait_for_consumer()
        text = self.service.conf_path.read_text()
        self.service.conf_path.write_text(
            text.replace('[notify]', '[notify]\nsweep_interval = 7')
        )
        self.service.reload('notify')
        rabbit.wait_for(
            lambda: (
                self.service.read_log('notify').count('is at work')
                >= 2 * self.workers
            )
        )
        self.rabbit.wait_for_consumer()
        instance = self.enroll()
        self.publish_delete(instance)
        self.service.wait_for_state(instance, 'closed')


class TestReload(base.TestCase):
    def test_new_options_take_effect(self):
        """After a SIGHUP the workers have what is in the file then."""
        subject = self.useFixture(
            service.Service(
                self.make_directory(),
                {'notify': {'sweep_interval': '1000'}},
                programs=('notify',),
            )
        )
        rabbit.wait_for(
            lambda: 'every 1000 seconds' in subject.read_log('notify')
        )
        subject.write_conf({'notify': {'sweep_interval': '77'}})
        subject.reload('notify')
        rabbit.wait_for(
            lambda: 'every 77 seconds' in subject.read_log('notify')
        )

    def test_a_file_with_a_mistake_changes_nothing(self):
        subject = self.useFixture(
            service.Service(
                self.make_directory(),
                {'notify': {'sweep_interval': '1000'}},
                programs=('notify',),
            )
        )
        subject.conf_path.write_text('[notify\nsweep_interval = 77')
        subject.reload('notify')
        rabbit.wait_for(
            lambda: subject.read_log('notify').count('is at work') == 2
        )
        self.assertEqual(
            2, subject.read_log('notify').count('every 1000 seconds')
        )


class TestStart(base.TestCase):
    """A bad setting stops the process with one line that names it."""

    def run_notify(self, text):
        path = self.make_directory() / 'join.conf'
        state = self.make_directory()
        path.write_text('[DEFAULT]\nstate_path = %s\n%s' % (state, text))
        done = subprocess.run(
            [sys.executable, '-m', 'novajoin.cmd.notify']
            + ['--config-file', str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertEqual([], list(state.iterdir()))
        self.assertNotIn('Traceback', done.stderr)
        return done.stderr.splitlines()[-1]

    def test_transport_url(self):
        line = self.run_notify(
            'transport_url = rabit://u:a-password@h/\n'
            '[api]\nauth_strategy = noauth\n'
        )
        self.assertIn('[DEFAULT] transport_url', line)
        self.assertNotIn('a-password', line)

    def test_no_account(self):
        line = self.run_notify('[api]\nauth_strategy = keystone\n')
        self.assertIn('[service_credentials] auth_type', line)

    def test_not_a_number(self):
        line = self.run_notify('[notify]\nsweep_interval = often\n')
        self.assertIn('sweep_interval', line)
