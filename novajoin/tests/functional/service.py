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
"""The three processes of novajoin, really running, on loopback."""

from collections.abc import Mapping
import configparser
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import Any
import urllib.error
import urllib.request
import uuid

import fixtures

from novajoin.tests.functional.cloud import ports
from novajoin.tests.functional.cloud import processes

PROGRAMS = ('server', 'notify', 'checkin')
GUEST = pathlib.Path(__file__).parents[2] / 'guest' / 'novajoin-guest'
PROJECT = '0757cc424adb4c8d9cea1fa5bb8486f5'


class Service(fixtures.Fixture):
    """novajoin-server, novajoin-notify and novajoin-checkin.

    :param directory: an empty directory for state, logs and configuration
    :param options: further options, by section and name; None takes one out
    :param programs: which of the three to start
    :param auto: whether to start them in ``setUp``
    """

    def __init__(
        self,
        directory: pathlib.Path,
        options: Mapping[str, Mapping[str, str | None]] | None = None,
        programs: tuple[str, ...] = PROGRAMS,
        auto: bool = True,
    ) -> None:
        super().__init__()
        self.directory = directory
        self.programs = programs
        self._auto = auto
        self._options = options or {}
        chosen = ports.choose_ports(['api', 'checkin'])
        self.api_port = chosen['api']
        self.checkin_port = chosen['checkin']
        self.state_path = directory / 'state'
        self.conf_path = directory / 'join.conf'
        self.log_path = directory / 'logs'
        self.temporary_path = directory / 'tmp'

    def _setUp(self) -> None:
        self.log_path.mkdir(exist_ok=True)
        self.temporary_path.mkdir(exist_ok=True)
        self.write_conf(self._options)
        self._processes = processes.Processes(
            self.directory / 'processes.json', self.log_path
        )
        self.addCleanup(self._processes.stop_all)
        if self._auto:
            self.start(*self.programs)

    def write_conf(
        self, options: Mapping[str, Mapping[str, str | None]]
    ) -> None:
        """Write join.conf: the embedded defaults and what is given."""
        sections: dict[str, dict[str, str | None]] = {
            'DEFAULT': {'state_path': str(self.state_path), 'debug': 'true'},
            'api': {
                'auth_strategy': 'noauth',
                'port': str(self.api_port),
                'workers': '2',
            },
            'checkin': {
                'listen': ports.LOOPBACK,
                'port': str(self.checkin_port),
                'urls': 'https://localhost:%d' % self.checkin_port,
                'workers': '2',
            },
            'naming': {'domain': 'test.example.com'},
        }
        for name, values in options.items():
            sections.setdefault(name, {}).update(values)
        parser = configparser.RawConfigParser(default_section='NONE')
        for name, values in sections.items():
            parser.add_section(name)
            for key, value in values.items():
                if value is not None:
                    parser.set(name, key, value)
        with self.conf_path.open('w') as file:
            parser.write(file)

    # Processes.

    def start(self, *programs: str) -> None:
        """Start programs, all at once, and wait until they serve."""
        self.launch(*programs)
        self.wait(*programs)

    def launch(self, *programs: str) -> None:
        """Start programs and do not wait."""
        environment = {
            **os.environ,
            'NO_PROXY': '*',
            'PYTHONDONTWRITEBYTECODE': '1',
            'TMPDIR': str(self.temporary_path),
        }
        for name in programs:
            self._processes.start(
                name,
                [
                    sys.executable,
                    '-m',
                    'novajoin.cmd.%s' % name,
                    '--config-file',
                    self.conf_path,
                ],
                environment,
            )

    def wait(self, *programs: str) -> None:
        """Wait until programs serve."""
        for name in programs:
            self._processes.wait_for(name, self._get_probe(name))

    def reload(self, name: str) -> None:
        """Send SIGHUP to a program."""
        self._processes.find()[name].send_signal(signal.SIGHUP)

    def _get_probe(self, name: str) -> Any:
        if name == 'server':
            return self._is_api_ready
        if name == 'checkin':
            return lambda: ports.is_open(self.checkin_port)
        return lambda: 'is at work' in self.read_log('notify')

    def _is_api_ready(self) -> bool:
        try:
            return self.call('GET', '/healthcheck/live')[0] == 200
        except OSError:
            return False

    def stop(self, *programs: str) -> None:
        """End programs with SIGTERM and wait for them."""
        for name in programs or self.programs:
            self._processes.stop(name)

    def kill(self, name: str) -> None:
        """``kill -9`` a program and all its processes."""
        process = self._processes.find()[name]
        for each in [*process.children(recursive=True), process]:
            each.send_signal(signal.SIGKILL)
        process.wait(10)
        self._processes.forget(name)

    def get_pids(self) -> list[int]:
        """Return the ids of all processes of the service."""
        return [
            each.pid
            for leader in self._processes.find().values()
            for each in [leader, *leader.children(recursive=True)]
        ]

    def read_log(self, name: str) -> str:
        """Return what a program wrote so far."""
        path = self.log_path / ('%s.log' % name)
        return path.read_text(errors='replace') if path.exists() else ''

    # The control plane.

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Call the API; return status and decoded body."""
        request = urllib.request.Request(
            'http://127.0.0.1:%d%s' % (self.api_port, path),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                'Content-Type': 'application/json',
                'Accept': 'application/json',
                **(headers or {}),
            },
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b'null')
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b'null')

    def post(
        self, instance: str | None = None, **changes: Any
    ) -> tuple[str, int, Any]:
        """Post as nova does; return instance uuid, status and answer."""
        instance = instance or str(uuid.uuid4())
        body = {
            'project-id': PROJECT,
            'instance-id': instance,
            'image-id': '9639e727-506b-4aae-ae5d-41bf343357bb',
            'user-data': None,
            'hostname': 'vm-%s' % instance[:8],
            'metadata': {'ipa_enroll': 'True'},
            'boot-roles': 'reader,member',
        }
        body.update(changes)
        status, answer = self.call('POST', '/v1/', body)
        return instance, status, answer

    def get_enrollment(self, instance: str) -> Any:
        """Return an enrollment as the API shows it."""
        status, answer = self.call('GET', '/v1/enrollments/%s' % instance)
        if status != 200:
            raise AssertionError('%d: %s' % (status, answer))
        return answer.get('enrollment', answer)

    def wait_for_state(
        self, instance: str, state: str, seconds: float = 30
    ) -> None:
        """Wait until an enrollment is in a state."""
        end = time.monotonic() + seconds
        while self.get_enrollment(instance)['state'] != state:
            if time.monotonic() > end:
                raise AssertionError(
                    '%s is %s, not %s'
                    % (instance, self.get_enrollment(instance), state)
                )
            time.sleep(0.1)

    # The instance.

    def make_drive(self, instance: str, answer: Any) -> pathlib.Path:
        """Write what nova puts on a config drive; return its directory."""
        drive = self.directory / 'drives' / instance
        latest = drive / 'openstack' / 'latest'
        latest.mkdir(parents=True, exist_ok=True)
        (latest / 'vendor_data2.json').write_text(json.dumps({'join': answer}))
        (latest / 'meta_data.json').write_text(json.dumps({'uuid': instance}))
        return drive

    def run_guest(
        self,
        command: str,
        drive: pathlib.Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        shell: str = 'sh',
    ) -> subprocess.CompletedProcess[str]:
        """Run the guest client with a state directory beside its drive."""
        state = self.get_guest_state(drive)
        return subprocess.run(
            [
                shell,
                str(GUEST),
                command,
                '--config-drive',
                str(drive),
                '--state-dir',
                str(state),
                '--no-clock',
                '--timeout',
                '60',
                *options,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **(environment or {})},
            check=False,
        )

    def get_guest_state(self, drive: pathlib.Path) -> pathlib.Path:
        """Return the guest's state directory."""
        return drive.with_name(drive.name + '.guest')

    def fetch(
        self, path: str, cacert: pathlib.Path, *options: str
    ) -> subprocess.CompletedProcess[bytes]:
        """GET from the check-in service with curl."""
        return subprocess.run(
            [
                'curl',
                '--silent',
                '--show-error',
                '--fail',
                '--noproxy',
                '*',
                '--cacert',
                str(cacert),
                *options,
                'https://localhost:%d%s' % (self.checkin_port, path),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )


def is_listening(port: int) -> bool:
    """Whether something on loopback accepts connections at a port."""
    with contextlib.suppress(OSError):
        socket.create_connection((ports.LOOPBACK, port), 1).close()
        return True
    return False
