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
"""What was handed out: sequence numbers and digests, never contents."""

import datetime
from typing import Any

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.payloads

_LATEST = (
    sa.select(_T)
    .where(_T.c.instance == sa.bindparam('instance'))
    .order_by(_T.c.seq.desc())
    .limit(1)
)


def _to_model(row: sa.Row[Any]) -> models.SentPayload:
    return models.SentPayload(
        instance=row.instance,
        seq=row.seq,
        body_sha256=bytes.fromhex(row.body_sha256),
        sha256=bytes.fromhex(row.sha256),
        created_at=row.created_at,
        received_at=row.received_at,
    )


def insert(tx: engine.Transaction, payload: models.SentPayload) -> None:
    """Remember a payload that goes out.

    :raises DuplicateRow: somebody else took the sequence number
    """
    tx.execute(
        sa.insert(_T),
        {
            'instance': payload.instance,
            'seq': payload.seq,
            'body_sha256': payload.body_sha256.hex(),
            'sha256': payload.sha256.hex(),
            'created_at': payload.created_at,
        },
    )


def find_latest(
    tx: engine.Transaction, instance: str
) -> models.SentPayload | None:
    """Return the newest payload of an enrollment, or None."""
    row = tx.execute(_LATEST, {'instance': instance}).one_or_none()
    return None if row is None else _to_model(row)


def find(
    tx: engine.Transaction, instance: str, seq: int
) -> models.SentPayload | None:
    """Return one payload of an enrollment, or None."""
    query = sa.select(_T).where(_T.c.instance == instance, _T.c.seq == seq)
    row = tx.execute(query).one_or_none()
    return None if row is None else _to_model(row)


def set_received(
    tx: engine.Transaction, instance: str, seq: int, now: datetime.datetime
) -> bool:
    """Note the first receipt of a payload.

    :returns: whether it was the first
    """
    result = tx.execute(
        sa.update(_T)
        .where(
            _T.c.instance == instance,
            _T.c.seq == seq,
            _T.c.received_at.is_(None),
        )
        .values(received_at=now)
    )
    return result.rowcount == 1
