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
"""No credential and no private key gets anywhere but to the instance."""

import base64
import json

from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.enrollment import credential
from novajoin.keys import repository
from novajoin.tests import base
from novajoin.tests.functional import hostile
from novajoin.tests.functional import leaks
from novajoin.tests.functional import service
from novajoin.tests.functional.checkin import instance as instances


class LeakTest(base.TestCase):
    """A whole life with debug logging on, and then the search.

    Proves DESIGN's rule 8 for this surface (NJ2, EM15).
    """

    def setUp(self):
        super().setUp()
        self.service = self.useFixture(
            service.Service(
                self.make_directory(),
                {
                    'api': {'max_page': '3'},
                    'naming': {
                        'domain': 'example.com',
                        'reserved': 'ipa.example.com,join.example.com',
                    },
                },
            )
        )

    def _enroll(self):
        instance, status, answer = self.service.post()
        self.assertEqual(200, status, answer)
        drive = self.service.make_drive(instance, answer)
        done = self.service.run_guest('enroll', drive)
        self.assertEqual(0, done.returncode, done.stderr)
        document = json.loads(base64.b64decode(answer['bootstrap']['payload']))
        return instance, document['token'], drive, done

    def _get_keys(self):
        """Every key of the service."""
        keys = self.service.state_path / 'keys'
        found = {
            'credential key %s' % path.name: path.read_text().strip()
            for path in (keys / 'credential').iterdir()
        }
        found |= {
            name + ', raw': base64.urlsafe_b64decode(text)
            for name, text in found.items()
        }
        for path in [*keys.rglob('key.pem'), self._own]:
            found |= leaks.read_private_key(path)
        return found

    @property
    def _own(self):
        """The TLS key of the check-in service, and its certificates."""
        return self.service.state_path / 'checkin' / 'certificate.pem'

    def _derive(self, instance):
        """The credential of an instance, as the service derives it."""
        database = engine.Database(
            'sqlite:///%s' % (self.service.state_path / 'novajoin.sqlite')
        )
        self.addCleanup(database.close)
        row = database.read(lambda tx: enrollments.find(tx, instance))
        keys = repository.Repository(self.service.state_path / 'keys')
        return credential.derive(
            keys.get(repository.CREDENTIAL, row.key_id).secret,
            *(instance, row.epoch, row.generation, row.salt),
        )

    def _scan(self, secrets):
        """Look at all that the service has and had, but for its keys."""
        scan = leaks.LeakScan({**secrets, **self._get_keys()})
        found = scan.scan_processes(self.service.get_pids())
        return found + scan.scan_tree(
            self.service.directory,
            excluding=[
                self.service.directory / 'drives',
                self.service.state_path / 'keys',
                self._own,
            ],
        )

    def test_nothing_leaks(self):
        instance, token, drive, done = self._enroll()
        # What is wrong is talked about most: replays, garbage, conflicts.
        state = self.service.get_guest_state(drive)
        ca = state / 'current' / 'ca.pem'
        self.service.post(instance)
        other = self.service.make_drive(
            instance,
            json.loads(
                (drive / 'openstack/latest/vendor_data2.json').read_text()
            )['join'],
        )
        renamed = other.rename(other.with_name('other'))
        refused = self.service.run_guest('enroll', renamed, '--timeout', '0')
        self.assertNotEqual(0, refused.returncode)
        self.service.fetch(
            '/.well-known/est/csrattrs',
            ca,
            '--user',
            '%s:%s' % (instance, token[:-1] + 'a'),
        )
        self.service.call(
            'POST',
            '/v1/enrollments/%s/release' % instance,
            {'reason': 'the test is over'},
        )
        self.service.wait_for_state(instance, 'closed')
        secrets = {
            'join token': token,
            # Without its prefix: another spelling would be as good.
            'token body': token[5:],
            **leaks.read_private_key(state / 'current' / 'key.pem'),
        }
        found = self._scan(secrets)
        scan = leaks.LeakScan(secrets)
        for output in (done, refused):
            found += scan.scan_bytes(
                'output of the guest',
                (output.stdout + output.stderr).encode(),
            )
        self.assertEqual([], found)

    def _make_instance(self):
        instance, status, answer = self.service.post()
        self.assertEqual(200, status, answer)
        self.service.wait_for_state(instance, 'offered')
        return instances.Instance(self.service, self.make_directory(), answer)

    def test_bad_input(self):
        """EM15: nor does what is refused, whatever it carries."""
        sent = hostile.make_secrets()
        sender = hostile.Sender(self.service, sent)
        instance = self._make_instance()
        key = instance.make_key()
        derived = self._derive(instance.uuid)
        self.assertEqual(instance.token, derived.token.reveal())
        sender.send_posts()
        sender.send_hostnames()
        sender.send_queries()
        sender.send_requests(instance, key)
        sender.send_streams(instance)
        # All that did not use the token up.
        answer = instance.enroll(instance.make_csr(key))
        self.assertEqual(200, answer.status, answer)
        leaf, _ = instance.write_certificates(answer)
        sender.send_receipts(instance, key, leaf)
        self.assertEqual({}, sender.unexpected)
        secrets = {
            **sent,
            'join token': instance.token,
            'token body': instance.token[5:],
            'one-time password': derived.otp.reveal(),
            **leaks.read_private_key(key),
        }
        found = self._scan(secrets)
        scan = leaks.LeakScan(secrets)
        for name, content in sender.answers.items():
            found += scan.scan_bytes('answer to ' + name, content)
        self.assertEqual([], found)

    def test_hidden_in_what_is_asked_for(self):
        """What a tenant adds to a post that is in order is not kept."""
        sent = hostile.make_secrets()
        text = '\n'.join(sent.values())
        instance, status, answer = self.service.post(
            **{
                'metadata': {'ipa_enroll': 'True', 'admin_pass': text},
                'user-data': base64.b64encode(text.encode()).decode(),
                'admin_pass': text,
            }
        )
        self.assertEqual(200, status, answer)
        self.service.wait_for_state(instance, 'offered')
        self.assertEqual([], self._scan(sent))

    def test_the_scan_finds(self):
        directory = self.make_directory()
        token = 'njt1_abcdefghijklmnopqrstuvwxyz234567'  # noqa: S105
        for number, content in enumerate(
            (
                token.encode(),
                base64.b64encode(b'x' + token.encode() + b'yz'),
                token.encode().hex().encode(),
                token[::-1].encode(),
                json.dumps({'a': token}).encode(),
            )
        ):
            (directory / str(number)).write_bytes(content)
        for value in (token, token.encode()):
            found = leaks.LeakScan({'token': value}).scan_tree(directory)
            self.assertEqual(
                {str(directory / str(number)) for number in range(5)},
                {line.split(':')[0] for line in found},
            )
