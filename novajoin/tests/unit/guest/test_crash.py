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
"""The guest client is killed at any point, and loses nothing."""

import json
import os
import shutil
import signal

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est

# What makes a step visible: here, or at the check-in service.
STEPS = ('curl', 'ln', 'mv')


class TestKill(harness.GuestTestCase):
    """`kill -9` before each step of a run; then the run once more.

    The steps are the programs that the client starts; the functional tests
    take every one that changes anything.
    """

    steps = STEPS
    hides_token = True

    def setUp(self) -> None:
        super().setUp()
        self.pid = self.folder / 'pid'
        self.count = self.folder / 'count'
        self.real = {
            tool: os.path.realpath(self.toolbox / tool) for tool in self.steps
        }

    def arm(self, last: int) -> None:
        """Kill the client when it has started `last` programs."""
        self.count.write_text('0')
        for tool, program in self.real.items():
            # In shell alone: only cheap steps can be counted one by one.
            self.write_tool(
                tool,
                f'read n <{self.count}\nn=$((n + 1))\necho $n >{self.count}\n'
                f'[ $n -lt {last} ] || {{ read p <{self.pid}\n'
                f'kill -9 $p; exit 1; }}\nexec {program} "$@"',
            )

    def disarm(self) -> None:
        for tool, program in self.real.items():
            (self.toolbox / tool).unlink()
            (self.toolbox / tool).symlink_to(program)

    def run_and_kill(self, command: str, *options: str) -> int:
        arguments = self.command(
            command, '--config-drive', str(self.drive), *options
        )
        arguments[0] = harness.path_of(arguments[0])
        return self.run_program(
            ['sh', '-c', f'echo $$ >{self.pid}; exec "$@"', 'sh', *arguments]
        ).returncode

    def steps_of(self, command: str, *options: str) -> int:
        self.arm(10**6)
        self.assertEqual(0, self.run_and_kill(command, *options))
        return int(self.count.read_text())

    def check_pair(self) -> None:
        """Whatever `current` leads to is whole, and a pair."""
        if (self.state / 'current').is_symlink():
            certificate = x509.load_pem_x509_certificate(
                self.current('cert.pem')
            )
            key = serialization.load_pem_private_key(
                self.current('key.pem'), None
            )
            self.assertEqual(certificate.public_key(), key.public_key())
            for name in ('chain.pem', 'fullchain.pem', 'ca.pem'):
                x509.load_pem_x509_certificates(self.current(name))

    def check_clean(self) -> None:
        """Nothing of the interrupted run is left, no token above all."""
        names = {p.name for p in self.state.rglob('*')}
        self.assertFalse({n for n in names if n.startswith('.')})
        self.assertNotIn('pending', names)
        for path in self.state.rglob('*'):
            if path.is_file():
                self.assertNotIn(self.token, path.read_text())

    def hide_token(self) -> None:
        """The cloud shows a token no more once it was redeemed."""
        if self.hides_token and self.peer.asked(est.CSR_PATH):
            self.write_drive(self.make_payload(token=None, seq=2))

    def test_enroll(self) -> None:
        """IDENTITY 1.5: one key, and it is claimed only once it is safe."""
        self.check_enroll()

    def test_enroll_from_a_drive(self) -> None:
        """A config drive shows the token for ever."""
        self.hides_token = False
        self.check_enroll()

    def check_enroll(self) -> None:
        steps = self.steps_of('enroll')
        self.assertGreater(steps, 10)
        for step in range(1, steps + 1):
            shutil.rmtree(self.state)
            self.peer.requests.clear()
            self.peer.issued.clear()
            self.peer.reissue(self.uuid, self.token)
            self.write_drive(self.make_payload())
            self.arm(step)
            code = self.run_and_kill('enroll')
            self.assertEqual(-signal.SIGKILL, code, step)
            self.disarm()
            self.check_pair()
            self.hide_token()
            done = self.run_client()
            self.assertEqual((0, ''), (done.returncode, done.stderr), step)
            self.assertEqual(1, len(self.peer.issued), step)
            self.assertEqual('', self.peer.revoked, step)
            self.check_pair()
            self.check_clean()
            receipts = {
                json.loads(r.body)['seq']
                for r in self.peer.asked(est.RECEIPT_PATH)
            }
            self.assertEqual({1}, receipts, step)

    def test_renew(self) -> None:
        """Old pair or new pair, and one key for the successor."""
        self.enroll()
        steps = self.steps_of('renew', '--force')
        backup = self.folder / 'backup'
        shutil.copytree(self.state, backup, symlinks=True)
        for step in range(1, steps + 1):
            shutil.rmtree(self.state)
            shutil.copytree(backup, self.state, symlinks=True)
            self.peer.requests.clear()
            self.arm(step)
            code = self.run_and_kill('renew', '--force')
            self.assertEqual(-signal.SIGKILL, code, step)
            self.disarm()
            self.check_pair()
            self.assertTrue((self.state / 'current/key.pem').is_file(), step)
            # The timer runs again; it is due unless it was just done.
            options = (
                []
                if (self.state / 'current').readlink()
                != (backup / 'current').readlink()
                else ['--force']
            )
            done = self.run_client('renew', *options)
            self.assertEqual((0, ''), (done.returncode, done.stderr), step)
            keys = {r.public_key() for r in self.peer.asked(est.RENEW_PATH)}
            self.assertEqual(1, len(keys), step)
            self.check_pair()


class TestLock(harness.GuestTestCase):
    def lock(self, owner: str) -> None:
        self.state.mkdir(exist_ok=True)
        (self.state / '.lock').symlink_to(owner)

    def boot(self) -> str:
        with open('/proc/sys/kernel/random/boot_id') as file:
            return file.read().strip()

    def start(self, pid: int) -> str:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[19]

    def test_held(self) -> None:
        """One run at a time; the other one says who is busy."""
        pid = os.getpid()
        self.lock(f'{pid}.{self.start(pid)}.{self.boot()}')
        self.assertRefused(13, f'(process {pid}) is busy', self.run_client())
        self.assertEqual(0, self.run_client('status').returncode - 3)
        self.assertEqual(['.lock'], [p.name for p in self.state.iterdir()])

    def test_stale(self) -> None:
        """Of another boot, of a process that is gone, or of its successor."""
        pid = os.getpid()
        for owner in (
            f'{pid}.{self.start(pid)}.other-boot',
            f'{pid}.1.{self.boot()}',
            f'4194999.1.{self.boot()}',
            'garbage',
            '..',
        ):
            self.lock(owner)
            self.enroll()
            self.assertFalse((self.state / '.lock').is_symlink())

    def test_no_link(self) -> None:
        """What this program did not make is no lock."""
        path = self.state / '.lock'
        self.state.mkdir()
        path.write_text('')
        self.enroll()
        path.mkdir()
        (path / 'x').write_text('')
        self.enroll()
        self.assertEqual([], list(self.state.glob('.*')))
