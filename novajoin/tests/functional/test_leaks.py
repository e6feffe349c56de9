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
import pathlib

from novajoin.tests import base
from novajoin.tests.functional import leaks
from novajoin.tests.functional import service


class LeakTest(base.TestCase):
    """A whole life with debug logging on, and then the search.

    Proves DESIGN's rule 8 for this surface (NJ2, EM15).
    """

    def setUp(self):
        super().setUp()
        self.service = self.useFixture(service.Service(self.make_directory()))

    def _enroll(self):
        instance, status, answer = self.service.post()
        self.assertEqual(200, status, answer)
        drive = self.service.make_drive(instance, answer)
        done = self.service.run_guest('enroll', drive)
        self.assertEqual(0, done.returncode, done.stderr)
        document = json.loads(base64.b64decode(answer['bootstrap']['payload']))
        return instance, document['token'], drive, done

    def _get_credential_keys(self):
        directory = self.service.state_path / 'keys' / 'credential'
        return {
            'credential key %s' % path.name: path.read_text().strip()
            for path in directory.iterdir()
        }

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
            'guest key': _read_key(state / 'current' / 'key.pem'),
            **self._get_credential_keys(),
        }
        scan = leaks.LeakScan(secrets)
        found = scan.scan_processes(self.service.get_pids())
        found += scan.scan_tree(
            self.service.directory,
            excluding=[
                self.service.directory / 'drives',
                self.service.state_path / 'keys',
            ],
        )
        for output in (done, refused):
            found += scan.scan_bytes(
                'output of the guest',
                (output.stdout + output.stderr).encode(),
            )
        self.assertEqual([], found)

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
        found = leaks.LeakScan({'token': token}).scan_tree(directory)
        self.assertEqual(
            {str(directory / str(number)) for number in range(5)},
            {line.split(':')[0] for line in found},
        )


def _read_key(path: pathlib.Path) -> str:
    """Return the first line of a PEM body: it has the secret number."""
    return path.read_text().splitlines()[1]
