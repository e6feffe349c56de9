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
"""``POST /v1/`` that enrolls, durably, on SQLite with two workers.

Beside it: an empty Pecan application under the same server, and the bare
durable transaction of one row on the same disk. The rate must not depend on
how long the identity backend takes, because nobody waits for it (the cap on
waiting requests is 0 here); with the default cap every answer is within the
budget.
"""

import argparse
from collections.abc import Iterator
import pathlib
import sqlite3
import statistics
import tempfile
import time

from benchmarks import harness
from benchmarks import post_not_asked

_PATH = '/v1/'
_DELAYS = (0.0, 0.02, 0.1, 2.0)
_CONNECTIONS = 16
_TRANSACTIONS = 200


def run(options: argparse.Namespace) -> Iterator[harness.Figure]:
    """Yield the figures."""
    yield harness.Figure(
        'bare durable transaction of one row', _measure_disk(), '/s'
    )
    with harness.serve('empty', processes=2) as empty:
        yield from _report('empty Pecan application', empty, options)
    for delay in _DELAYS:
        with harness.serve(
            'novajoin',
            processes=2,
            identity_seconds=delay,
            api={'max_waiting': 0},
        ) as ours:
            yield from _report(
                'enrolls, identity backend takes %d ms' % (delay * 1000),
                ours,
                options,
                cpu_target=4.0,
                rate_target=250.0,
            )
    with harness.serve('novajoin', processes=2, identity_seconds=2.0) as ours:
        slowest = max(
            _measure(ours, options.seconds + 4).slowest
            for _ in range(options.rounds)
        )
        yield harness.Figure(
            'slowest answer, default cap, backend takes 2000 ms',
            slowest,
            's',
            # The budget is 2 s; nova gives up after 5.
            target=2.5,
        )


def _measure(server: harness.Server, seconds: float) -> harness.Result:
    return harness.measure(
        server,
        harness.Load(
            server.url,
            _PATH,
            body=post_not_asked.ASKED,
            seconds=seconds,
            connections=_CONNECTIONS,
        ),
    ).expect(200)


def _report(
    name: str,
    server: harness.Server,
    options: argparse.Namespace,
    cpu_target: float | None = None,
    rate_target: float | None = None,
) -> Iterator[harness.Figure]:
    _measure(server, 0.5)  # warm up
    seen = [_measure(server, options.seconds) for _ in range(options.rounds)]
    yield harness.Figure(
        name,
        statistics.median(result.rate for result in seen),
        '/s',
        target=rate_target,
        is_at_least=True,
    )
    yield harness.Figure(
        name + ': CPU',
        statistics.median(result.cpu for result in seen) * 1000,
        'ms',
        target=cpu_target,
    )
    yield harness.Figure(
        name + ': p99',
        statistics.median(result.p99 for result in seen) * 1000,
        'ms',
    )


def _measure_disk() -> float:
    with tempfile.TemporaryDirectory(prefix='novajoin-bench-') as directory:
        connection = sqlite3.connect(
            pathlib.Path(directory, 'db'), isolation_level=None
        )
        connection.execute('PRAGMA journal_mode=WAL')
        connection.execute('PRAGMA synchronous=FULL')
        connection.execute('CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)')
        begun = time.perf_counter()
        for _ in range(_TRANSACTIONS):
            connection.execute('BEGIN IMMEDIATE')
            connection.execute("INSERT INTO t (b) VALUES ('row')")
            connection.execute('COMMIT')
        seconds = time.perf_counter() - begun
        connection.close()
    return _TRANSACTIONS / seconds
