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
"""What the tests of the guest client have in common."""

import base64
import copy
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
from typing import Any
import uuid

from novajoin.tests import base
from novajoin.tests.unit.guest import peer as est

CLIENT = pathlib.Path(__file__).parents[3] / 'guest' / 'novajoin-guest'

# All that the client may use beside openssl and curl.
TOOLS = (
    *('awk', 'blkid', 'cat', 'chmod', 'cmp', 'cut', 'date'),
    *('findfs', 'fold', 'grep', 'ln', 'mkdir', 'mktemp', 'mount', 'mv'),
    *('readlink', 'rm', 'sed', 'sh', 'sleep', 'sort', 'sync', 'timeout'),
    *('tr', 'umount', 'wc'),
)


def has(*programs: str) -> bool:
    return all(shutil.which(program) for program in programs)


def path_of(program: str) -> str:
    """The path of a program of this machine."""
    return str(shutil.which(program))


def flavors() -> dict[str, tuple[list[str], str]]:
    """The shells and awks of this machine: name to command and awk.

    Every machine has `sh` and `awk`; the functional tests insist on the
    others.
    """
    found = {'sh': (['sh'], 'awk')}
    if has('dash', 'mawk'):
        found['dash'] = (['dash'], 'mawk')
    if has('bash', 'gawk'):
        found['bash'] = (['bash'], 'gawk')
    if has('busybox'):
        found['busybox'] = (['busybox', 'sh'], 'busybox')
    return found


def scenarios() -> list[tuple[str, dict[str, str]]]:
    """A scenario for each flavor, but none for a mere other name."""
    seen: dict[tuple[str, ...], str] = {}
    for name, (shell, awk) in flavors().items():
        what = (
            os.path.realpath(str(shutil.which(shell[0]))),
            os.path.realpath(str(shutil.which(awk))),
        )
        seen.setdefault(what, name)
    return [(name, {'flavor': name}) for name in seen.values()]


def tls_scenarios() -> list[tuple[str, dict[str, object]]]:
    """Each flavor with one TLS client or the other, and both at least once."""
    names = [name for name, _ in scenarios()]
    names = names if len(names) > 1 else names * 2
    return [
        (f'{name},{client}', {'flavor': name, 'has_curl': client == 'curl'})
        for name, client in zip(
            names, itertools.cycle(['curl', 's_client']), strict=False
        )
    ]


def canonical(document: Any) -> bytes:
    """RFC 8785 for what a payload holds: ASCII keys, integers, strings."""
    return json.dumps(
        document, sort_keys=True, separators=(',', ':'), ensure_ascii=False
    ).encode()


class MachineTestCase(base.TestCase):
    """A machine with a shell, an awk and few other programs."""

    flavor = 'sh'

    def setUp(self) -> None:
        super().setUp()
        # oslotest has made this the home of a temporary user.
        self.folder = pathlib.Path(os.environ['HOME'])
        self.slept = self.folder / 'slept'
        self.environment: dict[str, str] = {}
        self.toolbox = self.make_toolbox()

    def make_toolbox(self) -> pathlib.Path:
        """A PATH with nothing but what the client says that it needs."""
        toolbox = self.folder / 'bin'
        toolbox.mkdir()
        _, awk = flavors()[self.flavor]
        for tool in TOOLS:
            program = shutil.which(tool)
            if awk == 'busybox':
                program = shutil.which('busybox')
            elif tool == 'awk':
                program = shutil.which(awk)
            if program:
                (toolbox / tool).symlink_to(program)
        for tool in ('openssl', 'curl'):
            (toolbox / tool).symlink_to(str(shutil.which(tool)))
        # No drive of the machine that runs the tests, and no waiting.
        self.write_tool('blkid', 'exit 2', toolbox)
        self.write_tool('findfs', 'exit 1', toolbox)
        self.write_tool(
            'sleep', f'printf "%s\\n" "$1" >>{self.slept}', toolbox
        )
        return toolbox

    def write_tool(
        self, name: str, script: str, toolbox: pathlib.Path | None = None
    ) -> None:
        """Put a program of our own in the place of another."""
        path = (toolbox or self.toolbox) / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)

    def show_sources(self, drive: pathlib.Path, metadata: str | None) -> None:
        """Let the client find a drive by its label, and a metadata service.

        The address of the latter is fixed, so this machine's curl makes a
        detour; without `metadata` nobody answers there.
        """
        self.write_tool('blkid', f'echo {drive}')
        self.write_tool('mount', 'rm -r "$4" && ln -s "$3" "$4"')
        self.write_tool('umount', 'rm -f "$1"')
        program = shutil.which('curl')
        base = metadata or ''
        address = 'http://169.254.169.254'
        self.write_tool(
            'curl',
            'for word; do shift; case $word in\n'
            f'{address}*) [ -n "{base}" ] || exit 7\n'
            f'word={base}"${{word#{address}}}" ;;\n'
            'http://*) exit 7 ;;\n'
            'esac; set -- "$@" "$word"; done\n'
            f'exec {program} "$@"',
        )

    def link_tool(self, tool: str) -> bool:
        """Add a program to the machine when this one has it."""
        program = shutil.which('busybox' if self.flavor == 'busybox' else tool)
        if program:
            (self.toolbox / tool).symlink_to(program)
        return bool(program)

    def run_program(
        self, arguments: list[str]
    ) -> 'subprocess.CompletedProcess[str]':
        program = shutil.which(arguments[0])
        return subprocess.run(
            [str(program), *arguments[1:]],
            env={'PATH': str(self.toolbox), **self.environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


class GuestTestCase(MachineTestCase):
    """A machine with a config drive, and a check-in service."""

    authority: est.Authority

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.authority = est.Authority('cloud')

    def setUp(self) -> None:
        super().setUp()
        self.state = self.folder / 'state'
        self.drive = self.folder / 'drive'
        (self.drive / 'openstack/latest').mkdir(parents=True)
        self.uuid = str(uuid.uuid4())
        self.token = 'njt1_' + 'abcdefg2' * 7 + 'xy'
        self.peer = self.start_peer()
        self.payload = self.make_payload()
        self.write_drive()

    def start_peer(self, **settings: Any) -> est.Peer:
        peer = est.Peer(
            settings.pop('authority', self.authority), self.folder, **settings
        )
        self.addCleanup(peer.stop)
        peer.user = self.uuid
        peer.token = self.token
        return peer

    # -- the vendordata

    def make_payload(self, **changes: Any) -> dict[str, Any]:
        """A payload; a change names its place: csr__dns=[…]."""
        payload: dict[str, Any] = {
            'schema': 'novajoin.bootstrap/1',
            'issued_at': '2026-11-20T10:00:00Z',
            'expires_at': '2026-11-20T11:00:00Z',
            'seq': 1,
            'instance': {
                'uuid': self.uuid,
                'project': 'ef44c3558c6a4f1282307e52bca1fa81',
                'epoch': 1,
                'generation': 1,
            },
            'csr': {
                'subject': [['CN', 'web-1.example.test']],
                'dns': ['web-1.example.test', 'www.example.test'],
                'ip': [],
                'uri': [f'urn:uuid:{self.uuid}'],
                'keys': ['ec-p256', 'ec-p384', 'rsa-3072'],
                'eku': ['clientAuth', 'serverAuth'],
            },
            'ca': base64.b64encode(self.authority.root_der()).decode(),
            'checkin': [{'url': self.peer.url, 'priority': 1}],
            'token': self.token,
            'params': {'motd': 'unknown to the client; $(touch pwned)'},
        }
        for path, value in changes.items():
            place = payload
            *above, last = path.split('__')
            for key in above:
                place = place[key]
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
        return payload

    def bootstrap(
        self, payload: dict[str, Any] | bytes | None = None
    ) -> dict[str, Any]:
        data = self.payload if payload is None else payload
        data = data if isinstance(data, bytes) else canonical(data)
        return {
            'v': 1,
            'payload': base64.b64encode(data).decode(),
            'sha256': hashlib.sha256(data).hexdigest(),
        }

    def write_drive(
        self,
        payload: dict[str, Any] | None = None,
        *,
        join: Any = None,
        meta_uuid: str | None = None,
    ) -> None:
        """What nova writes: other targets, and ours under `join`."""
        if payload is not None:
            self.payload = copy.deepcopy(payload)
        if join is None:
            join = {
                'hostname': 'web-1.example.test',
                'bootstrap': self.bootstrap(),
            }
        latest = self.drive / 'openstack/latest'
        (latest / 'vendor_data2.json').write_text(
            json.dumps(
                {
                    'static': {'cloud-init': '#!/bin/sh\necho "a\\tb"\n'},
                    'other': {'join': {'bootstrap': {'v': 9}}, 'ü': ['"']},
                    'join': join,
                }
            )
        )
        (latest / 'meta_data.json').write_text(
            json.dumps({'uuid': meta_uuid or self.uuid, 'name': 'web-1'})
        )

    # -- the client

    def command(self, command: str, *options: str) -> list[str]:
        shell, _ = flavors()[self.flavor]
        return [
            *shell,
            str(CLIENT),
            command,
            '--state-dir',
            str(self.state),
            '--no-clock',
            *options,
        ]

    def run_client(
        self, command: str = 'enroll', *options: str, source: bool = True
    ) -> 'subprocess.CompletedProcess[str]':
        if source:
            options = ('--config-drive', str(self.drive), *options)
        return self.run_program(self.command(command, *options))

    def enroll(self, *options: str) -> 'subprocess.CompletedProcess[str]':
        """Enroll, which is to succeed."""
        done = self.run_client('enroll', *options)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return done

    def assertRefused(
        self,
        code: int,
        words: str,
        done: 'subprocess.CompletedProcess[str]',
    ) -> None:
        """The exit code and a part of the one line on stderr."""
        self.assertEqual(code, done.returncode, done.stderr)
        self.assertIn(words, done.stderr)
        self.assertEqual(1, done.stderr.count('\n'), done.stderr)
        self.assertTrue(done.stderr.startswith('novajoin-guest: error: '))

    def assertNothingKept(self) -> None:
        """No key and no certificate; a message alone is not enough."""
        found = (
            [p.name for p in self.state.rglob('*')]
            if self.state.exists()
            else []
        )
        for name in ('key.pem', 'cert.pem', 'current'):
            self.assertNotIn(name, found)

    def current(self, name: str) -> bytes:
        return (self.state / 'current' / name).read_bytes()
