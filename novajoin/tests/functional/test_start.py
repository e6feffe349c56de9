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
"""What the processes say at their start of a database that fails them."""

import os
import subprocess
import sys
import time

from novajoin.tests import base
from novajoin.tests.functional import service as novajoin_service

_AWAY = 'mysql+pymysql://joe:hidden@127.0.0.1:1/novajoin'


class TestStart(base.TestCase):
    def make_service(self, options):
        return self.useFixture(
            novajoin_service.Service(
                self.make_directory(), options, auto=False
            )
        )

    def run_program(self, name, service):
        """Run a program that is to end by itself; return its errors."""
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'novajoin.cmd.' + name),
                *('--config-file', str(service.conf_path)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, 'NO_PROXY': '*'},
            check=False,
        )
        self.assertEqual(1, done.returncode, done.stderr)
        return done.stderr

    def test_no_place(self):
        """DESIGN 12: one line, with what to look at."""
        for path, option in (
            ('/proc/nothing', 'Set state_path'),
            ('/dev/null', '[DEFAULT] state_path'),
        ):
            service = self.make_service(
                {'DEFAULT': {'state_path': path, 'debug': 'false'}}
            )
            for name in novajoin_service.PROGRAMS:
                text = self.run_program(name, service)
                self.assertNotIn('Traceback', text)
                lines = [line for line in text.splitlines() if path in line]
                self.assertEqual(text.splitlines()[-1:], lines, text)
                self.assertTrue(lines[0].startswith('novajoin-' + name))
                self.assertIn(option, lines[0])

    def test_away(self):
        """No reason to end, and one to say it."""
        service = self.make_service({'database': {'connection': _AWAY}})
        service.launch(*novajoin_service.PROGRAMS)
        for name in novajoin_service.PROGRAMS:
            end = time.monotonic() + 60
            while 'cannot be reached' not in service.read_log(name):
                self.assertLess(time.monotonic(), end, service.read_log(name))
                time.sleep(0.1)
            log = service.read_log(name)
            self.assertIn('novajoin at 127.0.0.1:1', log)
            self.assertNotIn('hidden', log)
