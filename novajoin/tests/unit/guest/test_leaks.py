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
"""No secret of the guest client is where another one could read it."""

import base64
import os
import re

import testscenarios

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est


class TestLeaks(testscenarios.WithScenarios, harness.GuestTestCase):
    """Every program is watched: its arguments and its environment."""

    # The first and, where it is there, busybox with the other TLS client.
    scenarios = harness.tls_scenarios()[::3]
    has_curl: bool

    def setUp(self) -> None:
        super().setUp()
        if not self.has_curl:
            (self.toolbox / 'curl').unlink()
        self.record = self.folder / 'record'
        for path in sorted(self.toolbox.iterdir()):
            if not path.is_symlink() or path.name == 'sh':
                continue
            real = os.path.realpath(path)
            if real.endswith('busybox'):
                real = f'{real} {path.name}'
            self.write_tool(
                path.name,
                f'{{ echo "## $0 $*"; set; }} >>{self.record}\n'
                f'exec {real} "$@"',
            )

    def secrets(self) -> list[str]:
        basic = f'{self.uuid}:{self.token}'
        found = [
            self.token,
            base64.b64encode(basic.encode()).decode(),
            self.bootstrap()['payload'][:200],
        ]
        for path in self.state.rglob('key.pem*'):
            found.extend(
                line
                for line in path.read_text().splitlines()
                if '-----' not in line
            )
        return found

    def check(self, *printed: str) -> None:
        record = self.record.read_text()
        self.assertGreater(record.count('\n## '), 50)
        self.assertIn('PATH=', record)
        for secret in self.secrets():
            self.assertNotIn(secret, record)
            for text in printed:
                self.assertNotIn(secret, text)

    def test_enroll(self) -> None:
        """Neither in arguments nor environments, nor printed, nor kept."""
        done = self.run_client('enroll', '--verbose')
        self.assertEqual(0, done.returncode, done.stderr)
        self.check(done.stdout, done.stderr)
        for path in self.state.rglob('*'):
            if path.is_file():
                self.assertNotIn(self.token, path.read_text())
        done = self.run_client('renew', '--force', '--verbose')
        self.assertEqual(0, done.returncode, done.stderr)
        self.check(done.stdout, done.stderr)

    def test_refused(self) -> None:
        """The token waits for the next run where only root can read it."""
        self.peer.answers[est.CSR_PATH].extend(
            [est.Answer(202), est.refusal(403, 'identity_refused')]
        )
        done = self.run_client('enroll', '--verbose')
        self.assertEqual(8, done.returncode)
        self.check(done.stdout, done.stderr)
        [keeper] = [
            path
            for path in self.state.rglob('*')
            if path.is_file() and self.token in path.read_text()
        ]
        self.assertEqual('pending/payload', '/'.join(keeper.parts[-2:]))
        self.assertEqual(0o600, keeper.stat().st_mode & 0o777)
        self.assertEqual(0o700, keeper.parent.stat().st_mode & 0o777)

    def test_trace(self) -> None:
        """`sh -x` was how the old script leaked: it prints nothing here."""
        shell, *command = self.command(
            'enroll', '--config-drive', str(self.drive)
        )
        if command[0] == 'sh':
            shell = f'{shell} {command.pop(0)}'
        done = self.run_program([*shell.split(), '-xv', *command])
        self.assertEqual(0, done.returncode)
        self.check(done.stdout, re.sub('.*set [+]xv.*', '', done.stderr))

    def test_environment(self) -> None:
        """Nothing in the environment changes who is talked to."""
        self.environment |= dict.fromkeys(
            (
                *('http_proxy', 'https_proxy', 'all_proxy'),
                *('HTTPS_PROXY', 'ALL_PROXY'),
            ),
            'http://127.0.0.1:1',
        ) | {
            'SSLKEYLOGFILE': str(self.folder / 'keylog'),
            'CURL_HOME': str(self.folder),
            'HOME': str(self.folder),
            # Names that the client itself uses.
            **dict.fromkeys(
                re.findall(r'\b([a-z_0-9]+)=', harness.CLIENT.read_text()),
                'x',
            ),
            'CDPATH': '/tmp',
            'GREP_OPTIONS': '-v',
        }
        (self.folder / '.curlrc').write_text('insecure\nproxy = "127.0.0.1"')
        self.enroll()
        self.assertFalse((self.folder / 'keylog').exists())
        self.check()
