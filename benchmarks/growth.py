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
"""Memory and cost as the number of enrollments grows.

Memory is that of the workers of a running server, from 1,000 to 50,000
enrollments. Cost is the CPU of one enrollment in one process on a database
with 1,000 and with 100,000 rows; the rows between are copies of enrolled
ones, inserted in bulk.
"""

import argparse
from collections.abc import Iterator
import pathlib
import statistics
import tempfile
import time
import uuid

import sqlalchemy

from benchmarks import harness
from benchmarks import post_not_asked
from novajoin import models
from novajoin.cmd import assembly as parts
from novajoin.cmd import configuration
from novajoin.db import engine
from novajoin.db import tables

_FEW = 1_000
_MANY = 50_000
_ROWS = 100_000
_SAMPLE = 200
_COPIED = (
    tables.enrollments,
    tables.names,
    tables.payloads,
    tables.outbox,
    tables.events,
    tables.hosts,
)


def run(options: argparse.Namespace) -> Iterator[harness.Figure]:
    """Yield the figures."""
    yield from _measure_cost()
    yield from _measure_memory()


def _measure_memory() -> Iterator[harness.Figure]:
    with harness.serve('novajoin', processes=2) as server:
        done = _enroll(server, 0, _FEW)
        few = server.get_worker_memory()
        _enroll(server, done, _MANY)
        many = server.get_worker_memory()
    yield harness.Figure(
        'worker after %d enrollments' % _MANY, many, 'MB', target=150.0
    )
    yield harness.Figure(
        'growth from %d enrollments' % _FEW, many - few, 'MB', target=10.0
    )


def _enroll(server: harness.Server, done: int, wanted: int) -> int:
    while done < wanted:
        done += (
            harness.measure(
                server,
                harness.Load(
                    server.url,
                    '/v1/',
                    body=post_not_asked.ASKED,
                    seconds=2.0,
                    connections=16,
                ),
            )
            .expect(200)
            .count
        )
    return done


def _measure_cost() -> Iterator[harness.Figure]:
    with tempfile.TemporaryDirectory(prefix='novajoin-bench-') as directory:
        path = pathlib.Path(directory, 'join.conf')
        path.write_text(
            '[DEFAULT]\nstate_path = %s\n[api]\nauth_strategy = noauth\n'
            '[checkin]\nurls = https://localhost:9998\n' % directory
        )
        conf = configuration.make_conf()
        configuration.read(conf, ['--config-file', str(path)])
        assembly = parts.Assembly(conf)
        assembly.prepare()
        for _ in range(_FEW):
            _post(assembly)
        few = _measure(assembly)
        _copy(assembly.database, _ROWS)
        many = _measure(assembly)
        again = _measure(assembly)
    yield harness.Figure('CPU of one at %d rows' % _FEW, few * 1000, 'ms')
    yield harness.Figure('CPU of one at %d rows' % _ROWS, many * 1000, 'ms')
    yield harness.Figure(
        'cost at %d rows, multiple of that at %d' % (_ROWS, _FEW),
        min(many, again) / few,
        target=1.25,
    )


def _post(assembly: parts.Assembly) -> None:
    instance = str(uuid.uuid4())
    assembly.admission.answer(
        models.VendordataPost(
            instance,
            'project',
            None,
            'vm-%s' % instance[:18],
            {'ipa_enroll': 'true'},
        ),
        models.Caller('req-%s' % instance),
    )


def _measure(assembly: parts.Assembly) -> float:
    """Return the CPU seconds of one enrollment: the median of five goes."""
    costs = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(_SAMPLE):
            _post(assembly)
        costs.append((time.process_time() - begun) / _SAMPLE)
    return statistics.median(costs)


def _copy(database: engine.Database, rows: int) -> None:
    def read(tx: engine.Transaction) -> dict[str, dict[str, object]]:
        return {
            table.name: dict(
                tx.execute(sqlalchemy.select(table).limit(1)).one()._mapping
            )
            for table in _COPIED
        }

    samples = database.read(read)

    def write(tx: engine.Transaction) -> None:
        made = [str(uuid.uuid4()) for _ in range(rows)]
        for table in _COPIED:
            sample = samples[table.name]
            tx.execute(
                sqlalchemy.insert(table),
                [_vary(sample, instance) for instance in made],
            )

    database.write(write)


def _vary(sample: dict[str, object], instance: str) -> dict[str, object]:
    row = dict(sample)
    hostname = 'copy-%s.novalocal' % instance[:18]
    for name, value in (
        ('instance', instance),
        ('hostname', hostname),
        ('canonical', hostname),
        ('name', hostname),
    ):
        if name in row:
            row[name] = value
    if 'id' in row:
        if isinstance(row['id'], int):
            del row['id']
        else:
            row['id'] = instance
    return row
