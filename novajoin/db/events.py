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
"""The audit log."""

from collections.abc import Mapping
import datetime
from typing import Any

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.events

_INSERT = sa.insert(_T)


def _to_model(row: sa.Row[Any]) -> models.Event:
    return models.Event(**row._mapping)


def insert(
    tx: engine.Transaction,
    kind: str,
    now: datetime.datetime,
    *,
    instance: str | None = None,
    project: str | None = None,
    request_id: str | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Write a line of the audit log.

    :param kind: for instance ``enrollment.offered``
    :param detail: facts; never a secret
    """
    tx.execute(
        _INSERT,
        {
            'at': now,
            'kind': kind,
            'instance': instance,
            'project': project,
            'request_id': request_id,
            'detail': dict(detail or {}),
        },
    )


def list_page(
    tx: engine.Transaction,
    *,
    instance: str | None = None,
    project: str | None = None,
    limit: int,
    marker: int | None = None,
) -> list[models.Event]:
    """Return events, oldest first.

    :param limit: at most this many
    :param marker: the last id of the page before
    """
    query = sa.select(_T).order_by(_T.c.id).limit(limit)
    if instance is not None:
        query = query.where(_T.c.instance == instance)
    if project is not None:
        query = query.where(_T.c.project == project)
    if marker is not None:
        query = query.where(_T.c.id > marker)
    return [_to_model(row) for row in tx.execute(query)]


def purge(tx: engine.Transaction, before: datetime.datetime) -> int:
    """Drop events from before a time.

    :returns: how many
    """
    result = tx.execute(sa.delete(_T).where(_T.c.at < before))
    return result.rowcount
