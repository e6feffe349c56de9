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
"""Processes that are started, watched and ended by their ids.

Each process leads a session of its own, and what it was is written down
(process id and the time at which it started, so that an id which the kernel
gave to somebody else later is recognised) before anything waits for it. A
later run, or the watchdog of this one, can therefore end all of them,
whatever became of the Python process that started them.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import json
import os
import pathlib
import subprocess
import threading
import time

import psutil

TERMINATION_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


class ProcessFailed(Exception):
    """A process ended, or did not get ready, and this is what it said."""


def read_tail(path: pathlib.Path, lines: int = 30) -> str:
    """The last lines of a log file, or an empty string without one."""
    try:
        return '\n'.join(
            path.read_text(errors='replace').splitlines()[-lines:]
        )
    except FileNotFoundError:
        return ''


class Processes:
    """The processes of one run; safe to use from several threads.

    :param record: the file that says which processes there are.
    :param log: the directory with one `<name>.log` for each of them.
    """

    def __init__(self, record: pathlib.Path, log: pathlib.Path) -> None:
        self._record = record
        self._log = log
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        environment: Mapping[str, str],
    ) -> None:
        """Start a process in the background, in a session of its own.

        :raises OSError: when the program cannot be executed.
        """
        with self._lock, open(self._log / (name + '.log'), 'ab') as log:
            child = subprocess.Popen(
                command,
                cwd=self._record.parent,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._children[name] = child
            records = _read_records(self._record)
            records[name] = {
                'pid': child.pid,
                'created': psutil.Process(child.pid).create_time(),
            }
            _write_records(self._record, records)

    def run(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        environment: Mapping[str, str],
        timeout: float = 900,
    ) -> None:
        """Run a command to its end.

        :param timeout: seconds.
        :raises ProcessFailed: when its exit status is not 0, or it is late.
        """
        self.start(name, command, environment)
        child = self._children[name]
        try:
            status: int | str = child.wait(timeout)
            self.forget(name)
        except subprocess.TimeoutExpired:
            status = 'nothing within %d s' % timeout
            self.stop(name, grace=0)
        if status != 0:
            raise ProcessFailed(
                '%s returned %s; its log ends with\n%s'
                % (name, status, read_tail(self._log / (name + '.log')))
            )

    def wait_for(
        self, name: str, is_ready: Callable[[], bool], timeout: float = 300
    ) -> None:
        """Wait until a process that was started does its work.

        :param timeout: seconds.
        :raises ProcessFailed: when it ends before, or is late.
        """
        child = self._children[name]
        deadline = time.monotonic() + timeout
        while not is_ready():
            status = child.poll()
            if status is not None:
                reason = 'ended with status %d' % status
            elif time.monotonic() > deadline:
                reason = 'was not ready within %d s' % timeout
            else:
                time.sleep(0.1)
                continue
            raise ProcessFailed(
                '%s %s; its log ends with\n%s'
                % (name, reason, read_tail(self._log / (name + '.log')))
            )

    def find(self) -> dict[str, psutil.Process]:
        """The processes of the record that are alive, by name."""
        return find_processes(self._record)

    def are_alive(self) -> bool:
        """Whether there are processes, and none of them has ended."""
        return set(self.find()) == set(_read_records(self._record)) != set()

    def stop(self, name: str, grace: float = 30) -> None:
        """End one process and whatever it started.

        :param grace: seconds that it gets to end by itself.
        """
        process = self.find().get(name)
        if process is not None:
            _end_sessions([process], grace)
        self.forget(name)

    def stop_all(self, grace: float = TERMINATION_GRACE) -> None:
        """End all processes of the record, in any order."""
        with self._lock:
            _end_sessions(list(self.find().values()), grace)
            for child in self._children.values():
                child.poll()
            self._children.clear()
            self._record.unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Take a process that has ended off the record."""
        with self._lock:
            child = self._children.pop(name, None)
            records = _read_records(self._record)
            if records.pop(name, None) is not None:
                _write_records(self._record, records)
        if child is not None:
            child.poll()


def find_processes(record: pathlib.Path) -> dict[str, psutil.Process]:
    """The processes of a record that are alive, by name."""
    alive: dict[str, psutil.Process] = {}
    for name, entry in _read_records(record).items():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(entry['pid'])
            if (
                process.create_time() == entry['created']
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                alive[name] = process
    return alive


def _read_records(record: pathlib.Path) -> dict[str, dict[str, float]]:
    try:
        return dict(json.loads(record.read_text()))
    except FileNotFoundError:
        return {}


def _write_records(
    record: pathlib.Path, records: dict[str, dict[str, float]]
) -> None:
    fresh = record.with_suffix('.new')
    fresh.write_text(json.dumps(records, indent=2))
    fresh.replace(record)


def _end_sessions(leaders: list[psutil.Process], grace: float) -> None:
    """SIGTERM to the leaders, then SIGKILL to all that are left of them.

    The members are found while the leaders live. psutil looks at the time of
    creation before it sends a signal, so none reaches a stranger.
    """
    members = _find_members({leader.pid for leader in leaders})
    for leader in leaders:
        with contextlib.suppress(psutil.NoSuchProcess):
            leader.terminate()
    _, alive = psutil.wait_procs(members, timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=10)


def _find_members(sessions: set[int]) -> list[psutil.Process]:
    """All processes of some sessions; Erlang's helpers leave the group."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) in sessions:
                members.append(process)
    return members
