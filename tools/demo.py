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
"""Run the main job once, on nothing but the embedded defaults.

Starts novajoin-server, novajoin-notify and novajoin-checkin on loopback,
acts as nova, lets the guest client enroll, verifies the certificate with
openssl, takes the identity back and shows the certificate on the CRL and
the host gone. Prints each step; the exit status is 0 when all of them
succeeded.
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from typing import Any
import urllib.error
import urllib.request
import uuid

import preflight

_GUEST = (
    pathlib.Path(__file__).resolve().parent.parent
    / 'novajoin'
    / 'guest'
    / 'novajoin-guest'
)
_PROJECT = uuid.uuid4().hex
_PROGRAMS = ('server', 'notify', 'checkin')
_DEADLINE = 60.0

_JOIN_CONF = """\
[DEFAULT]
state_path = {state}
debug = true

[api]
auth_strategy = noauth
port = {api_port}

[checkin]
listen = 127.0.0.1
port = {checkin_port}
urls = https://localhost:{checkin_port}

[naming]
domain = demo.example.com
"""


class Failure(Exception):
    """A step did not succeed."""


class Demo:
    """One run; every process that it starts ends with it."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.api_port = find_free_port()
        self.checkin_port = find_free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.instance = str(uuid.uuid4())
        self.step_number = 0

    # Saying what happens.

    def step(self, text: str) -> None:
        self.step_number += 1
        print('\n%d. %s' % (self.step_number, text), flush=True)

    def tell(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            print('   %s' % line, flush=True)

    # Processes.

    def start(self) -> None:
        configuration = self.directory / 'join.conf'
        configuration.write_text(
            _JOIN_CONF.format(
                state=self.directory / 'state',
                api_port=self.api_port,
                checkin_port=self.checkin_port,
            )
        )
        for name in _PROGRAMS:
            log = (self.directory / ('novajoin-%s.log' % name)).open('wb')
            # The three start at once, on an empty directory.
            self.processes[name] = subprocess.Popen(
                [
                    sys.executable,
                    '-m',
                    'novajoin.cmd.%s' % name,
                    '--config-file',
                    str(configuration),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            log.close()
            self.tell(
                'novajoin-%s has pid %d' % (name, self.processes[name].pid)
            )
        self.wait('novajoin-server', self.is_api_ready)
        self.wait('novajoin-checkin', self.is_checkin_ready)

    def wait(self, what: str, is_done: Any) -> None:
        end = time.monotonic() + _DEADLINE
        while not is_done():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise Failure(
                        'novajoin-%s ended with status %d:\n%s'
                        % (name, process.returncode, self.get_log(name))
                    )
            if time.monotonic() > end:
                logs = '\n'.join(self.get_log(name) for name in _PROGRAMS)
                raise Failure(
                    '%s: nothing after %d seconds\n%s'
                    % (what, _DEADLINE, logs)
                )
            time.sleep(0.2)
        self.tell('%s: ok' % what)

    def get_log(self, name: str) -> str:
        path = self.directory / ('novajoin-%s.log' % name)
        lines = path.read_text(errors='replace').splitlines()
        return '--- %s\n%s' % (path.name, '\n'.join(lines[-15:]))

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def is_api_ready(self) -> bool:
        try:
            status, _ = self.call_api('GET', '/healthcheck')
        except OSError:
            return False
        return status == 200

    def is_checkin_ready(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(
                ('127.0.0.1', self.checkin_port), timeout=1
            ).close()
            return True
        return False

    # Acting as nova and as an operator.

    def call_api(
        self, method: str, path: str, body: Any = None
    ) -> tuple[int, Any]:
        request = urllib.request.Request(
            'http://127.0.0.1:%d%s' % (self.api_port, path),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                'Content-Type': 'application/json',
                'Accept': 'application/json',
                'User-Agent': 'openstack-nova-vendordata',
            },
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b'null')
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b'null')

    def post(self) -> tuple[int, Any]:
        return self.call_api(
            'POST',
            '/v1/',
            {
                'project-id': _PROJECT,
                'instance-id': self.instance,
                'image-id': str(uuid.uuid4()),
                'user-data': None,
                'hostname': 'web-1',
                'metadata': {'ipa_enroll': 'True'},
                'boot-roles': 'member,reader',
            },
        )

    def run(self, *command: str, fails: bool = False) -> str:
        self.tell('$ %s' % ' '.join(command))
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_DEADLINE,
            check=False,
        )
        output = done.stdout.decode(errors='replace')
        self.tell(output)
        if (done.returncode != 0) != fails:
            raise Failure(
                '%s ended with status %d' % (command[0], done.returncode)
            )
        return output

    # The main job.

    def enroll(self) -> None:
        self.step('Nova asks for the vendordata of a new instance')
        status, answer = self.post()
        if status != 200:
            raise Failure(
                'POST /v1/ was answered with %d: %s' % (status, answer)
            )
        shown = json.loads(json.dumps(answer))
        document = base64.b64decode(answer['bootstrap']['payload'])
        shown['bootstrap']['payload'] = '<%d bytes>' % len(document)
        self.tell(json.dumps(shown, indent=2))
        drive = self.directory / 'config-drive' / 'openstack' / 'latest'
        drive.mkdir(parents=True)
        (drive / 'vendor_data2.json').write_text(json.dumps({'join': answer}))
        (drive / 'meta_data.json').write_text(
            json.dumps({'uuid': self.instance, 'hostname': 'web-1'})
        )
        self.step('The instance boots: the guest client finds it and enrolls')
        self.run(
            'sh',
            str(_GUEST),
            'enroll',
            '--config-drive',
            str(self.directory / 'config-drive'),
            '--state-dir',
            str(self.guest),
            '--no-clock',
            '--timeout',
            '60',
        )

    @property
    def guest(self) -> pathlib.Path:
        return self.directory / 'guest'

    def verify(self) -> str:
        self.step('openssl verifies the certificate against the one CA')
        current = self.guest / 'current'
        self.run(
            'openssl',
            'verify',
            '-CAfile',
            str(current / 'ca.pem'),
            '-untrusted',
            str(current / 'chain.pem'),
            '-verify_hostname',
            'web-1.demo.example.com',
            str(current / 'cert.pem'),
        )
        output = self.run(
            'openssl',
            'x509',
            '-in',
            str(current / 'cert.pem'),
            '-noout',
            '-subject',
            '-serial',
            '-dates',
            '-ext',
            'subjectAltName',
        )
        serial = output.split('serial=')[1].split()[0]
        return serial.lower().lstrip('0')

    def delete(self, serial: str) -> None:
        self.step('The identity is taken back')
        self.tell(
            "nova's notification of a delete does this. Without a nova to ask "
            'there is none to believe: the operator releases the enrollment.'
        )
        self.tell('hosts: %s' % ', '.join(self.list_hosts()))
        if self.list_hosts() != ['web-1.demo.example.com']:
            raise Failure('one host was due')
        path = '/v1/enrollments/%s' % self.instance
        status, answer = self.call_api(
            'POST', path + '/release', {'reason': 'the instance was deleted'}
        )
        if status not in (200, 202):
            raise Failure(
                'release was answered with %d: %s' % (status, answer)
            )
        self.wait('the enrollment is closed', self.is_closed)
        self.step('The certificate is on the CRL')
        current = self.guest / 'current'
        self.wait('the CRL names %s' % serial, lambda: self.is_on_crl(serial))
        bundle = self.directory / 'ca-and-crl.pem'
        bundle.write_bytes(
            (current / 'ca.pem').read_bytes()
            + (self.directory / 'crl.pem').read_bytes()
        )
        self.run(
            'openssl',
            'verify',
            '-crl_check',
            '-CAfile',
            str(bundle),
            '-untrusted',
            str(current / 'chain.pem'),
            str(current / 'cert.pem'),
            fails=True,
        )
        self.step('The host is gone, and the instance never enrolls again')
        self.tell('hosts: %s' % (', '.join(self.list_hosts()) or 'none'))
        if self.list_hosts():
            raise Failure('the host is still there')
        status, answer = self.post()
        self.tell('POST /v1/: %d %s' % (status, json.dumps(answer)))
        if status != 410:
            raise Failure('410 was due')

    def list_hosts(self) -> list[str]:
        """Return what the embedded identity backend knows."""
        path = self.directory / 'state' / 'novajoin.sqlite'
        with contextlib.closing(
            sqlite3.connect('file:%s?mode=ro' % path, uri=True)
        ) as connection:
            rows = connection.execute('SELECT hostname FROM hosts').fetchall()
        return [row[0] for row in rows]

    def is_closed(self) -> bool:
        _, answer = self.call_api('GET', '/v1/enrollments/%s' % self.instance)
        return json.dumps(answer).find('"closed"') >= 0

    def is_on_crl(self, serial: str) -> bool:
        issuer = self.directory / 'issuer.pem'
        chain = (self.guest / 'current' / 'chain.pem').read_text()
        issuer.write_text(chain)
        key_id = subprocess.run(
            "openssl x509 -in '%s' -noout -pubkey | "
            'openssl pkey -pubin -outform DER | openssl dgst -sha256 -r'
            % issuer,
            shell=True,
            capture_output=True,
            check=True,
        ).stdout.decode()[:16]
        done = subprocess.run(
            [
                'curl',
                '--silent',
                '--fail',
                '--noproxy',
                '*',
                '--cacert',
                str(self.guest / 'current' / 'ca.pem'),
                '--output',
                str(self.directory / 'crl.der'),
                'https://localhost:%d/crl/%s.crl'
                % (self.checkin_port, key_id),
            ],
            check=False,
        )
        if done.returncode != 0:
            return False
        text = subprocess.run(
            [
                'openssl',
                'crl',
                '-inform',
                'DER',
                '-in',
                str(self.directory / 'crl.der'),
                '-text',
            ],
            capture_output=True,
            check=True,
        ).stdout.decode()
        begin = text.index('-----BEGIN X509 CRL-----')
        (self.directory / 'crl.pem').write_text(text[begin:])
        return serial in text.lower()


def find_free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
        return port


def keep(demo: Demo) -> None:
    """Leave everything running until the terminal says otherwise."""
    demo.step('It goes on running; end it with Ctrl-C')
    demo.tell(
        'API:      http://127.0.0.1:%d/v1/enrollments\n'
        'check-in: https://localhost:%d/ca.crt\n'
        'files:    %s' % (demo.api_port, demo.checkin_port, demo.directory)
    )
    with contextlib.suppress(KeyboardInterrupt):
        while all(p.poll() is None for p in demo.processes.values()):
            time.sleep(1)


def main() -> int:
    """Return 0 if every step succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--keep',
        action='store_true',
        help='leave the processes and their files when all is shown',
    )
    arguments = parser.parse_args()
    missing = preflight.find_missing(['sh', 'awk', 'cmp', 'openssl', 'curl'])
    if missing:
        print('missing: %s' % ', '.join(missing), file=sys.stderr)
        return 1
    # A SIGTERM ends the processes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = pathlib.Path(tempfile.mkdtemp(prefix='novajoin-demo-'))
    os.environ['NO_PROXY'] = '*'
    demo = Demo(directory)
    try:
        demo.step('novajoin starts, on an empty directory')
        demo.start()
        demo.enroll()
        demo.delete(demo.verify())
        print('\nEvery step succeeded.', flush=True)
        if arguments.keep:
            keep(demo)
    except (Failure, subprocess.SubprocessError, OSError) as error:
        print('\nFAILED: %s' % error, file=sys.stderr, flush=True)
        return 1
    finally:
        demo.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
