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
"""The guest client moves a clock that openssl and curl really look at.

libfaketime gives every program of the instance the time in a file, and the
client's `date` writes that file.
"""

import datetime
import os
import shutil

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est
from novajoin.tests.unit.guest import test_clock


class TestClock(harness.GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.time = self.folder / 'time'
        self.environment |= {
            'LD_PRELOAD': self.find_library(),
            'FAKETIME_TIMESTAMP_FILE': str(self.time),
            'FAKETIME_NO_CACHE': '1',
            'FAKETIME_DONT_RESET': '1',
            'NOVAJOIN_DATE_COMMAND': str(self.toolbox / 'clock-tool'),
        }
        date = shutil.which('date')
        self.write_tool(
            'clock-tool',
            'case $* in\n'
            f'"-u +%s") exec {date} -u +%s ;;\n'
            f'"-u -s @"*) LD_PRELOAD= {date} -u -d "$3"'
            f' "+@%Y-%m-%d %H:%M:%S" >{self.time} ;;\nesac',
        )
        self.environment['TZ'] = 'UTC'

    def find_library(self) -> str:
        """The library beside Debian's `faketime`."""
        for folder in ('/usr/lib', '/usr/lib64', '/usr/local/lib'):
            for parent, _, names in os.walk(folder):
                if 'libfaketime.so.1' in names:
                    return os.path.join(parent, 'libfaketime.so.1')
        raise AssertionError('libfaketime is not installed: see bindep.txt')

    def command(self, command: str, *options: str) -> list[str]:
        words = super().command(command, *options)
        words.remove('--no-clock')
        return words

    def set_clock(self, when: datetime.datetime) -> None:
        self.time.write_text(when.strftime('@%Y-%m-%d %H:%M:%S\n'))

    def check(self) -> None:
        done = self.run_client()
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(1, len(self.peer.asked(est.CSR_PATH)))

    def test_1970(self) -> None:
        """EM9: born in 1970, enrolled today."""
        self.set_clock(datetime.datetime(1970, 1, 1, 0, 1))
        self.write_drive(
            self.make_payload(
                issued_at=est.now().strftime('%Y-%m-%dT%H:%M:%SZ')
            )
        )
        self.check()

    def test_server_from_the_future(self) -> None:
        """IDENTITY 4: a chain that is only not yet valid."""
        start = test_clock.built() + datetime.timedelta(days=40)
        self.peer = self.start_peer(holder=self.authority.server(start))
        self.peer.start = start + datetime.timedelta(hours=5)
        self.set_clock(test_clock.built() - datetime.timedelta(days=3))
        self.write_drive(
            self.make_payload(checkin=[{'url': self.peer.url, 'priority': 1}])
        )
        # The floor, the certificate of the service, then our own. The peer
        # lives in the present and takes no receipt from the future.
        self.check()
        self.assertIn(
            self.peer.start.strftime('@%Y-%m-%d'), self.time.read_text()
        )

    def test_without_curl(self) -> None:
        (self.toolbox / 'curl').unlink()
        self.test_server_from_the_future()
