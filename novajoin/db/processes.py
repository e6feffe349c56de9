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
"""Processes that were seen lately, with the ids of the keys they have."""

from collections.abc import Mapping
import datetime
from typing import Final

import sqlalchemy as sa

from novajoin.db import engine
from novajoin.db import tables

_T = tables.processes

_FILLER: Final = 'filler of %s'
#: More than an enrollment takes, with its names, work and events; bytes.
_FILLING: Final = 65536


def report(
    tx: engine.Transaction,
    process: str,
    role: str,
    host: str,
    keys: Mapping[str, list[str]],
    now: datetime.datetime,
) -> None:
    """Note that a process is alive.

    :param process: its id
    :param role: ``server``, ``checkin`` or ``notify``
    :param keys: key ids by kind
    :raises DuplicateRow: reported by two threads at once
    """
    values = {
        'role': role,
        'host': host,
        'keys': dict(keys),
        'seen_at': now,
    }
    changed = tx.execute(
        sa.update(_T).where(_T.c.id == process).values(**values)
    )
    if changed.rowcount == 0:
        tx.execute(sa.insert(_T), {'id': process, **values})


def fill(tx: engine.Transaction, process: str, now: datetime.datetime) -> None:
    """Write a large row, to find out whether there is room; see :func:`drop`.

    :param process: the id of the process that wants to know
    """
    drop(tx, process)
    row = {'id': _FILLER % process, 'role': '', 'host': '', 'seen_at': now}
    tx.execute(sa.insert(_T), {**row, 'keys': {'': ['x' * _FILLING]}})


def drop(tx: engine.Transaction, process: str) -> None:
    """Take the row of :func:`fill` back, if there is one."""
    tx.execute(sa.delete(_T).where(_T.c.id == _FILLER % process))


def list_keys(
    tx: engine.Transaction, kind: str, since: datetime.datetime
) -> list[frozenset[str]]:
    """Return, for each process seen since a time, its key ids of a kind.

    Processes that do not use the kind are left out.
    """
    query = sa.select(_T.c['keys']).where(_T.c.seen_at >= since)
    return [
        frozenset(keys[kind])
        for keys in tx.execute(query).scalars()
        if kind in keys
    ]


def purge(tx: engine.Transaction, before: datetime.datetime) -> int:
    """Drop processes that were not seen since a time.

    :returns: how many
    """
    result = tx.execute(sa.delete(_T).where(_T.c.seen_at < before))
    return result.rowcount
