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
"""The guest client on a file system that is really full.

It is a tmpfs in a mount namespace of its own, filled to some bytes.
"""

import pathlib
import shutil
import subprocess

import testscenarios

from novajoin.tests.functional.guest import flavors
from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est

#: Mounts, puts the saved state there, fills up, runs the client, saves.
SCRIPT = """
set -e
state=$1 saved=$2 free=$3
shift 3
mount -t tmpfs -o size=2m,mode=0755 none "$state"
cp -a "$saved/." "$state"
dd if=/dev/zero of="$state/filler" bs=4096 2>/dev/null || :
truncate -s "-$free" "$state/filler"
code=0
(cd / && PATH=$toolbox "$@") || code=$?
rm "$state/filler"
rm -rf "$saved"
cp -a "$state" "$saved"
exit "$code"
"""


class TestDisk(testscenarios.WithScenarios, harness.GuestTestCase):
    scenarios = flavors.scenarios()

    def run_full(
        self, free: int, command: str
    ) -> 'subprocess.CompletedProcess[str]':
        self.state.mkdir(exist_ok=True)
        self.saved.mkdir(exist_ok=True)
        shell, *words = self.command(
            command, '--config-drive', str(self.drive), '--timeout', '0'
        )
        unshare = ['unshare', '--mount', '--map-root-user']
        return subprocess.run(
            [
                *(*unshare, 'sh', '-c', SCRIPT, 'sh'),
                *(str(self.state), str(self.saved), str(free)),
                *(harness.path_of(shell), *words),
            ],
            env={
                'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
                'toolbox': str(self.toolbox),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def setUp(self) -> None:
        super().setUp()
        self.saved = self.folder / 'saved'

    def test_enroll(self) -> None:
        """1, the disk by name, one line, and later as if nothing were."""
        for free in (0, 4096, 16384, 65536, 262144):
            done = self.run_full(free, 'enroll')
            self.assertRefused(1, 'is the disk full?', done)
        self.assertEqual([], self.peer.requests)
        done = self.run_full(1048576, 'enroll')
        self.assertEqual((0, ''), (done.returncode, done.stderr))

    def test_renew(self) -> None:
        """The old pair stays whole."""
        done = self.run_full(1048576, 'enroll')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        before = self.read_pair()
        for free in (0, 8192, 131072):
            done = self.run_full(free, 'renew')
            self.assertRefused(1, 'is the disk full?', done)
            self.assertEqual(before, self.read_pair())
        self.assertEqual([], self.peer.asked(est.RENEW_PATH))

    def read_pair(self) -> dict[str, bytes]:
        current = self.saved / pathlib.Path(
            (self.saved / 'current').readlink()
        )
        return {path.name: path.read_bytes() for path in current.iterdir()}

    def test_programs(self) -> None:
        """A missing one would be a test that is not run."""
        for program in ('unshare', 'mount', 'truncate'):
            self.assertIsNotNone(shutil.which(program), program)
