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
"""Leases: of several processes one does what needs one only."""

import datetime

import sqlalchemy as sa

from novajoin.db import engine
from novajoin.db import tables

_T = tables.leases


def acquire(
    tx: engine.Transaction,
    name: str,
    owner: str,
    until: datetime.datetime,
    now: datetime.datetime,
) -> bool:
    """Take or extend a lease.

    :param name: what is leased
    :param owner: id of the process
    :param until: when it ends by itself
    :returns: whether this owner has it
    :raises DuplicateRow: another process took it in the same moment
    """
    result = tx.execute(
        sa.update(_T)
        .where(
            _T.c.name == name,
            sa.or_(_T.c.owner == owner, _T.c.until <= now),
        )
        .values(owner=owner, until=until)
    )
    if result.rowcount == 1:
        return True
    holder = tx.execute(sa.select(_T.c.owner).where(_T.c.name == name))
    if holder.first() is not None:
        return False
    tx.execute(sa.insert(_T), {'name': name, 'owner': owner, 'until': until})
    return True


def release(tx: engine.Transaction, name: str, owner: str) -> None:
    """Give a lease back before it ends."""
    tx.execute(sa.delete(_T).where(_T.c.name == name, _T.c.owner == owner))
