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
"""The hosts of the embedded identity backend."""

import datetime
from typing import Any

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.hosts


def _to_model(row: sa.Row[Any]) -> models.Host:
    return models.Host(
        id=row.id,
        hostname=row.hostname,
        instance=row.instance,
        is_enabled=row.is_enabled,
    )


def insert(
    tx: engine.Transaction,
    host: models.Host,
    project: str,
    now: datetime.datetime,
) -> None:
    """Insert a host.

    :raises DuplicateRow: the hostname or the id is taken
    """
    tx.execute(
        sa.insert(_T),
        {
            'id': host.id,
            'hostname': host.hostname,
            'instance': host.instance,
            'project': project,
            'is_enabled': host.is_enabled,
            'created_at': now,
        },
    )


def find(tx: engine.Transaction, hostname: str) -> models.Host | None:
    """Return the host of a name, or None."""
    query = sa.select(_T).where(_T.c.hostname == hostname)
    row = tx.execute(query).one_or_none()
    return None if row is None else _to_model(row)


def set_enabled(tx: engine.Transaction, host_id: str, enabled: bool) -> None:
    """Enable or disable a host; one that is not there is no error."""
    tx.execute(
        sa.update(_T).where(_T.c.id == host_id).values(is_enabled=enabled)
    )


def delete(tx: engine.Transaction, host_id: str) -> None:
    """Delete a host; one that is not there is no error."""
    tx.execute(sa.delete(_T).where(_T.c.id == host_id))
