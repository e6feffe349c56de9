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
"""Outbox rows: side effects, written before they are tried."""

from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.outbox


@dataclasses.dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a row, and until when nobody else may.

    :ivar owner: id of the process and its try
    """

    owner: str
    until: datetime.datetime


def _to_model(row: sa.Row[Any]) -> models.OutboxRow:
    fields = dict(row._mapping)
    fields['operation'] = models.Operation(fields['operation'])
    fields['state'] = models.RowState(fields['state'])
    return models.OutboxRow(**fields)


def insert(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    operations: Sequence[tuple[models.Operation, str]],
    now: datetime.datetime,
    *,
    request_id: str | None = None,
    lease: Lease | None = None,
) -> None:
    """Insert work for an enrollment, in this order.

    :param operations: pairs of operation and detail; the detail is '' or,
        for instance, a serial
    :param lease: taken out by the process that goes to work at once
    :raises DuplicateRow: the same work is there already
    """
    tx.execute(
        sa.insert(_T),
        [
            {
                'instance': enrollment.instance,
                'name': enrollment.hostname,
                'epoch': enrollment.epoch,
                'generation': enrollment.generation,
                'operation': operation.value,
                'detail': detail,
                'state': models.RowState.READY.value,
                'attempts': 0,
                'due_at': now,
                'lease_owner': None if lease is None else lease.owner,
                'lease_until': None if lease is None else lease.until,
                'request_id': request_id,
                'created_at': now,
            }
            for operation, detail in operations
        ],
    )


def insert_missing(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    operations: Sequence[tuple[models.Operation, str]],
    now: datetime.datetime,
    *,
    request_id: str | None = None,
) -> None:
    """Insert work, and leave alone what is there already."""
    present = {
        (row.operation, row.detail)
        for row in tx.execute(
            sa.select(_T.c.operation, _T.c.detail).where(
                _T.c.instance == enrollment.instance,
                _T.c.epoch == enrollment.epoch,
                _T.c.generation == enrollment.generation,
            )
        )
    }
    missing = [
        (operation, detail)
        for operation, detail in operations
        if (operation.value, detail) not in present
    ]
    if missing:
        insert(tx, enrollment, missing, now, request_id=request_id)


def list_leased(
    tx: engine.Transaction, instance: str, owner: str
) -> list[models.OutboxRow]:
    """Return the ready rows of an enrollment that a process leased."""
    query = (
        sa.select(_T)
        .where(
            _T.c.instance == instance,
            _T.c.state == models.RowState.READY.value,
            _T.c.lease_owner == owner,
        )
        .order_by(_T.c.id)
    )
    return [_to_model(row) for row in tx.execute(query)]


def list_due(
    tx: engine.Transaction, now: datetime.datetime, *, limit: int
) -> list[models.OutboxRow]:
    """Return rows that may be worked: due, not leased, first of their name.

    Work on one canonical name is first in, first out: a row waits while an
    earlier one of its name is neither done nor dead.
    """
    earlier = _T.alias('earlier')
    query = (
        sa.select(_T)
        .where(
            _T.c.state == models.RowState.READY.value,
            _T.c.due_at <= now,
            sa.or_(_T.c.lease_until.is_(None), _T.c.lease_until <= now),
            ~sa.exists().where(
                earlier.c.name == _T.c.name,
                earlier.c.state == models.RowState.READY.value,
                earlier.c.id < _T.c.id,
            ),
        )
        .order_by(_T.c.due_at, _T.c.id)
        .limit(limit)
    )
    return [_to_model(row) for row in tx.execute(query)]


def has_earlier(tx: engine.Transaction, row: models.OutboxRow) -> bool:
    """Whether earlier work on the row's name is not finished."""
    query = (
        sa.select(_T.c.id)
        .where(
            _T.c.name == row.name,
            _T.c.state == models.RowState.READY.value,
            _T.c.id < row.id,
        )
        .limit(1)
    )
    return tx.execute(query).first() is not None


def acquire(
    tx: engine.Transaction,
    row: models.OutboxRow,
    lease: Lease,
    now: datetime.datetime,
) -> bool:
    """Lease a row.

    :returns: whether this caller has it
    """
    result = tx.execute(
        sa.update(_T)
        .where(
            _T.c.id == row.id,
            _T.c.state == models.RowState.READY.value,
            sa.or_(_T.c.lease_until.is_(None), _T.c.lease_until <= now),
        )
        .values(lease_owner=lease.owner, lease_until=lease.until)
    )
    return result.rowcount == 1


def finish(tx: engine.Transaction, row_ids: Sequence[int], owner: str) -> None:
    """Mark rows as done.

    A row that was put again, or leased by another, while this owner worked
    on it is left as it is: what was done may have been done too early.

    :param owner: of the lease under which the work was done
    """
    tx.execute(
        sa.update(_T)
        .where(_T.c.id.in_(row_ids), _T.c.lease_owner == owner)
        .values(
            state=models.RowState.DONE.value,
            lease_owner=None,
            lease_until=None,
            last_error=None,
        )
    )


def postpone(
    tx: engine.Transaction,
    row: models.OutboxRow,
    due_at: datetime.datetime,
    error: str | None,
    owner: str,
    *,
    state: models.RowState = models.RowState.READY,
    counts: bool = True,
) -> None:
    """Give a row back after a try that failed, if it is still this owner's.

    :param due_at: when to try again
    :param error: what was wrong, in words that hold no secret
    :param owner: of the lease under which it was tried
    :param state: ``DEAD`` when there are no further tries
    :param counts: whether this was a try
    """
    tx.execute(
        sa.update(_T)
        .where(
            _T.c.id == row.id,
            _T.c.state == models.RowState.READY.value,
            _T.c.lease_owner == owner,
        )
        .values(
            state=state.value,
            due_at=due_at,
            attempts=_T.c.attempts + (1 if counts else 0),
            lease_owner=None,
            lease_until=None,
            last_error=None if error is None else error[:255],
        )
    )


def put(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    operation: models.Operation,
    now: datetime.datetime,
    *,
    detail: str = '',
    request_id: str | None = None,
) -> None:
    """See to it that work is due, also where it was done before.

    :raises DuplicateRow: somebody else put the same in the same moment
    """
    result = tx.execute(
        sa.update(_T)
        .where(
            _T.c.instance == enrollment.instance,
            _T.c.epoch == enrollment.epoch,
            _T.c.generation == enrollment.generation,
            _T.c.operation == operation.value,
            _T.c.detail == detail,
        )
        .values(
            state=models.RowState.READY.value,
            due_at=now,
            attempts=0,
            request_id=request_id,
            lease_owner=None,
            lease_until=None,
        )
    )
    if result.rowcount == 0:
        insert(
            tx, enrollment, [(operation, detail)], now, request_id=request_id
        )


def revive(
    tx: engine.Transaction, instance: str, now: datetime.datetime
) -> int:
    """Make dead and postponed rows of an enrollment due at once.

    :returns: how many rows
    """
    result = tx.execute(
        sa.update(_T)
        .where(
            _T.c.instance == instance,
            _T.c.state != models.RowState.DONE.value,
        )
        .values(state=models.RowState.READY.value, attempts=0, due_at=now)
    )
    return result.rowcount


def count_unfinished(
    tx: engine.Transaction,
    instance: str,
) -> int:
    """Return how many rows of an enrollment are not done."""
    query = sa.select(sa.func.count()).where(
        _T.c.instance == instance,
        _T.c.state != models.RowState.DONE.value,
    )
    count: int = tx.execute(query).scalar_one()
    return count


def list_of(tx: engine.Transaction, instance: str) -> list[models.OutboxRow]:
    """Return all rows of an enrollment, oldest first."""
    query = sa.select(_T).where(_T.c.instance == instance).order_by(_T.c.id)
    return [_to_model(row) for row in tx.execute(query)]


def list_dead(tx: engine.Transaction, *, limit: int) -> list[models.OutboxRow]:
    """Return rows that wait for an operator, oldest first."""
    query = (
        sa.select(_T)
        .where(_T.c.state == models.RowState.DEAD.value)
        .order_by(_T.c.id)
        .limit(limit)
    )
    return [_to_model(row) for row in tx.execute(query)]


def count_by_state(tx: engine.Transaction) -> dict[models.RowState, int]:
    """Return how many rows are in each state."""
    query = sa.select(_T.c.state, sa.func.count()).group_by(_T.c.state)
    return {
        models.RowState(state): count
        for state, count in tx.execute(query).all()
    }


def purge(tx: engine.Transaction, before: datetime.datetime) -> int:
    """Drop rows that were done and made before a time.

    :returns: how many
    """
    result = tx.execute(
        sa.delete(_T).where(
            _T.c.state == models.RowState.DONE.value,
            _T.c.created_at < before,
        )
    )
    return result.rowcount
