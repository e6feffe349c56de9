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
"""Enrollment rows."""

from collections.abc import Collection
import dataclasses
import datetime
import functools
from typing import Any

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.enrollments
_BYTES = frozenset({'salt', 'token_sha256', 'public_key_sha256'})

_INSERT = sa.insert(_T)
_FIND = sa.select(_T).where(_T.c.instance == sa.bindparam('instance'))


def _to_model(row: sa.Row[Any]) -> models.Enrollment:
    fields = dict(row._mapping)
    fields['state'] = models.State(fields['state'])
    if fields['suspended_from'] is not None:
        fields['suspended_from'] = models.State(fields['suspended_from'])
    for name in _BYTES:
        if fields[name] is not None:
            fields[name] = bytes.fromhex(fields[name])
    fields['eku'] = tuple(fields['eku'].split(','))
    return models.Enrollment(**fields)


def _to_columns(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.hex()
        if name in _BYTES and value is not None
        else value.value
        if isinstance(value, models.State)
        else ','.join(value)
        if name == 'eku'
        else dict(value)
        if name == 'metadata'
        else value
        for name, value in values.items()
    }


def insert(tx: engine.Transaction, enrollment: models.Enrollment) -> None:
    """Insert a new enrollment.

    :raises DuplicateRow: (at the end of the transaction) there is one for
        this instance
    """
    values = {
        field.name: getattr(enrollment, field.name)
        for field in dataclasses.fields(enrollment)
    }
    tx.execute(_INSERT, _to_columns(values))


def find(tx: engine.Transaction, instance: str) -> models.Enrollment | None:
    """Return an enrollment, or None.

    :param instance: instance uuid, canonical
    """
    row = tx.execute(_FIND, {'instance': instance}).one_or_none()
    return None if row is None else _to_model(row)


def find_locked(
    tx: engine.Transaction, instance: str
) -> models.Enrollment | None:
    """Return an enrollment as nobody else can change it until the end of
    the transaction, or None.

    What decides by the row it read, and must not lose to a change in
    between, reads it with this. (SQLite has one writer at a time anyway.)
    """
    row = tx.execute(
        _FIND.with_for_update(), {'instance': instance}
    ).one_or_none()
    return None if row is None else _to_model(row)


def change(
    tx: engine.Transaction,
    expected: models.Enrollment,
    now: datetime.datetime,
    **values: Any,
) -> bool:
    """Change a row if state, epoch and generation are still as expected.

    A single-row compare-and-swap: of several callers one gets True.

    :param expected: the row as it was read
    :param now: goes to ``updated_at``
    :param values: the columns to set, as fields of the model
    :returns: whether the row was changed
    """
    return _swap(tx, expected, now, values)


def claim(
    tx: engine.Transaction,
    expected: models.Enrollment,
    public_key_sha256: bytes,
    now: datetime.datetime,
) -> bool:
    """Let one key win the generation (transition 4).

    :returns: whether this key claimed it just now
    """
    return _swap(
        tx,
        expected,
        now,
        {
            'state': models.State.CLAIMED,
            'public_key_sha256': public_key_sha256,
        },
        is_claim=True,
    )


def set_host_id(tx: engine.Transaction, instance: str, host_id: str) -> None:
    """Remember the host that was made, whatever the state is by now."""
    tx.execute(
        sa.update(_T).where(_T.c.instance == instance).values(host_id=host_id)
    )


@functools.cache
def _make_swap(names: tuple[str, ...], is_claim: bool) -> sa.Update:
    """Return the statement that sets some columns of an expected row.

    Built once for each set of columns: building costs more than running.
    """
    conditions = [
        _T.c[name] == sa.bindparam('old_' + name)
        for name in ('instance', 'state', 'epoch', 'generation')
    ]
    if is_claim:
        conditions.append(_T.c.public_key_sha256.is_(None))
        conditions.append(_T.c.expires_at > sa.bindparam('now'))
    values = {
        _T.c[name]: sa.bindparam('new_' + name, type_=_T.c[name].type)
        for name in names
    }
    return sa.update(_T).where(*conditions).values(values)


def _swap(
    tx: engine.Transaction,
    expected: models.Enrollment,
    now: datetime.datetime,
    values: dict[str, Any],
    *,
    is_claim: bool = False,
) -> bool:
    columns = _to_columns({'updated_at': now, **values})
    parameters = {
        'old_instance': expected.instance,
        'old_state': expected.state.value,
        'old_epoch': expected.epoch,
        'old_generation': expected.generation,
        **{'new_' + name: value for name, value in columns.items()},
    }
    if is_claim:
        parameters['now'] = now
    result = tx.execute(_make_swap(tuple(columns), is_claim), parameters)
    return result.rowcount == 1


def list_page(
    tx: engine.Transaction,
    *,
    project: str | None = None,
    state: models.State | None = None,
    hostname: str | None = None,
    limit: int,
    marker: str | None = None,
) -> list[models.Enrollment]:
    """Return enrollments in the order of their instance uuids.

    :param limit: at most this many
    :param marker: the last instance uuid of the page before
    """
    query = sa.select(_T).order_by(_T.c.instance).limit(limit)
    if project is not None:
        query = query.where(_T.c.project == project)
    if state is not None:
        query = query.where(_T.c.state == state.value)
    if hostname is not None:
        query = query.where(_T.c.hostname == hostname)
    if marker is not None:
        query = query.where(_T.c.instance > marker)
    return [_to_model(row) for row in tx.execute(query)]


def list_in_states(
    tx: engine.Transaction,
    states: Collection[models.State],
    *,
    limit: int,
    marker: str | None = None,
) -> list[models.Enrollment]:
    """Return enrollments in certain states, in pages by instance uuid."""
    query = (
        sa.select(_T)
        .where(_T.c.state.in_(sorted(state.value for state in states)))
        .order_by(_T.c.instance)
        .limit(limit)
    )
    if marker is not None:
        query = query.where(_T.c.instance > marker)
    return [_to_model(row) for row in tx.execute(query)]


def list_expired(
    tx: engine.Transaction, now: datetime.datetime, *, limit: int
) -> list[models.Enrollment]:
    """Return open enrollments whose token was not redeemed in time."""
    query = (
        sa.select(_T)
        .where(
            _T.c.state.in_(sorted(state.value for state in models.OPEN)),
            _T.c.expires_at <= now,
        )
        .order_by(_T.c.expires_at)
        .limit(limit)
    )
    return [_to_model(row) for row in tx.execute(query)]


def list_of_key(
    tx: engine.Transaction,
    key_id: str,
    states: Collection[models.State],
) -> list[models.Enrollment]:
    """Return the enrollments whose generation hangs on a credential key."""
    query = (
        sa.select(_T)
        .where(
            _T.c.key_id == key_id,
            _T.c.state.in_(sorted(state.value for state in states)),
        )
        .order_by(_T.c.instance)
    )
    return [_to_model(row) for row in tx.execute(query)]


def list_key_ids(tx: engine.Transaction) -> frozenset[str]:
    """Return the ids of the credential keys that open rows name, also
    those that are suspended."""
    states = sorted(state.value for state in models.OPEN)
    query = (
        sa.select(_T.c.key_id)
        .where(
            sa.or_(
                _T.c.state.in_(states),
                sa.and_(
                    _T.c.state == models.State.SUSPENDED.value,
                    _T.c.suspended_from.in_(states),
                ),
            )
        )
        .distinct()
    )
    return frozenset(tx.execute(query).scalars())


def count_by_state(tx: engine.Transaction) -> dict[models.State, int]:
    """Return how many enrollments are in each state."""
    query = sa.select(_T.c.state, sa.func.count()).group_by(_T.c.state)
    return {
        models.State(state): count for state, count in tx.execute(query).all()
    }
