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
"""What the benchmarks share: servers, load, figures.

Servers and load generators are processes of their own, so that what measures
does not slow down what is measured more than it must. All of it is on the
loopback interface and ends with the benchmark.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import psutil

_PATIENCE = 60.0  # seconds for a server to come up


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of a result.

    :ivar value: what was measured
    :ivar target: what it is held against, None where nothing is
    :ivar is_at_least: whether the value has to be at least the target,
        rather than at most
    """

    name: str
    value: float
    unit: str = ''
    target: float | None = None
    is_at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the value is on the right side of its target."""
        if self.target is None:
            return True
        if self.is_at_least:
            return self.value >= self.target
        return self.value <= self.target

    def __str__(self) -> str:
        line = '  %-58s %10.3f %s' % (self.name, self.value, self.unit)
        if self.target is None:
            return line.rstrip()
        return '%s (%s %g: %s)' % (
            line.rstrip(),
            'at least' if self.is_at_least else 'at most',
            self.target,
            'met' if self.is_met else 'MISSED',
        )


@dataclasses.dataclass(frozen=True)
class Load:
    """What a load generator does (see benchmarks/load.py).

    :ivar body: a text in which ``{uuid}`` becomes another uuid each time
        and ``{number}`` another ten-digit number
    :ivar connections: kept alive, each with one request on its way
    :ivar pause: seconds from an answer to the next request
    :ivar ca: file with the CA certificate for https
    """

    url: str
    path: str
    method: str = 'POST'
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: str = ''
    connections: int = 4
    pause: float = 0.0
    seconds: float = 3.0
    ca: str | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """What a load generator saw.

    :ivar statuses: how often each HTTP status came
    :ivar rate: answers per second
    :ivar p50: median latency in seconds; p99 and the slowest likewise
    :ivar cpu: seconds of CPU of the server for one answer
    :ivar sample: the body of the last answer
    """

    count: int
    statuses: dict[str, int]
    rate: float
    p50: float
    p99: float
    slowest: float
    cpu: float
    sample: str

    def expect(self, *statuses: int) -> 'Result':
        """Return the result, or end the benchmark if it measured errors."""
        others = set(self.statuses) - {str(status) for status in statuses}
        if others or not self.count:
            sys.exit(
                'this is no measurement: %s %s' % (self.statuses, self.sample)
            )
        return self


class Server:
    """A server process and its workers."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.url = url
        self._process = psutil.Process(process.pid)

    def _list_processes(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def get_cpu(self) -> float:
        """Return the CPU seconds that all its processes have used."""
        total = 0.0
        for process in self._list_processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def get_worker_memory(self) -> float:
        """Return the largest resident size of a worker, in MB."""
        workers = self._list_processes()[1:]
        return max(worker.memory_info().rss for worker in workers) / 1e6


def set_up() -> None:
    """Let children find what this process finds."""
    root = str(pathlib.Path(__file__).parents[1])
    paths = [root, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, paths))


@contextlib.contextmanager
def serve(kind: str, **options: Any) -> Iterator[Server]:
    """Run one of the servers of benchmarks/served.py.

    :param kind: name of its function
    :param options: what the function takes
    """
    with tempfile.TemporaryDirectory(prefix='novajoin-bench-') as directory:
        log = pathlib.Path(directory, 'log')
        with log.open('wb') as stream:
            process = subprocess.Popen(
                [
                    sys.executable,
                    '-m',
                    'benchmarks.served',
                    kind,
                    directory,
                    json.dumps(options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield Server(process, _wait_for_url(process, log))
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_url(process: subprocess.Popen[bytes], log: pathlib.Path) -> str:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        text = log.read_text()
        match = re.search(r'is listening at (\S+)', text)
        if match and 'is ready' in text:
            return match[1]
        time.sleep(0.05)
    sys.exit('the server does not come up:\n%s' % log.read_text())


@contextlib.contextmanager
def generate(load: Load) -> Iterator[subprocess.Popen[str]]:
    """Put load on a server; its result is read with :func:`finish`."""
    process = subprocess.Popen(
        [
            sys.executable,
            '-m',
            'benchmarks.load',
            json.dumps(dataclasses.asdict(load)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def measure(server: Server, load: Load) -> Result:
    """Put load on a server and return what came of it."""
    before = server.get_cpu()
    with generate(load) as process:
        output, _ = process.communicate(timeout=load.seconds + _PATIENCE)
    seen = json.loads(output)
    used = server.get_cpu() - before
    return Result(**seen, cpu=used / max(seen['count'], 1))


def get_median_ratio(values: list[float], bare: list[float]) -> float:
    """Return the median of the ratios of measurements taken in turns."""
    return statistics.median(
        value / other for value, other in zip(values, bare, strict=True)
    )
