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
"""Names that are held: each by one enrollment."""

from collections.abc import Collection

import sqlalchemy as sa

from novajoin.db import engine
from novajoin.db import tables

_T = tables.names


def insert(
    tx: engine.Transaction, canonical: Collection[str], instance: str
) -> None:
    """Let an enrollment hold names.

    :param canonical: lower-case A-labels without a final dot
    :raises DuplicateRow: one of them is held
    """
    tx.execute(
        sa.insert(_T),
        [
            {'canonical': name, 'instance': instance}
            for name in sorted(canonical)
        ],
    )


def find_holder(tx: engine.Transaction, canonical: str) -> str | None:
    """Return the instance uuid of the enrollment that holds a name."""
    query = sa.select(_T.c.instance).where(_T.c.canonical == canonical)
    holder: str | None = tx.execute(query).scalar_one_or_none()
    return holder


def list_of(tx: engine.Transaction, instance: str) -> list[str]:
    """Return the names that an enrollment holds, sorted."""
    query = (
        sa.select(_T.c.canonical)
        .where(_T.c.instance == instance)
        .order_by(_T.c.canonical)
    )
    return list(tx.execute(query).scalars())


def release(tx: engine.Transaction, instance: str) -> None:
    """Free all names of an enrollment."""
    tx.execute(sa.delete(_T).where(_T.c.instance == instance))
