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
"""Which credential keys may open generations."""

import datetime

from oslo_db import exception as db_exception
import sqlalchemy as sa

from novajoin.db import engine
from novajoin.db import tables

_T = tables.credential_keys

_FIND = (
    sa.select(_T.c.retired_at)
    .where(_T.c.id == sa.bindparam('id'))
    .with_for_update(read=True)
)


def is_usable(
    tx: engine.Transaction, key_id: str, now: datetime.datetime
) -> bool:
    """Tell whether a generation may be opened with a key.

    The answer holds until the transaction ends: whoever retires the key
    waits for it, and then finds the row that it wrote. That takes a row to
    lock, which the first use of a key makes.

    :param now: the present
    """
    found = tx.execute(_FIND, {'id': key_id}).one_or_none()
    if found is not None:
        return found.retired_at is None
    try:
        tx.execute(sa.insert(_T), {'id': key_id, 'first_used_at': now})
    except db_exception.DBDuplicateEntry as exc:
        # Another was first in this moment: once more from the start.
        raise db_exception.DBDeadlock(exc) from exc
    return True


def retire(
    tx: engine.Transaction, key_id: str, now: datetime.datetime
) -> None:
    """Let no generation be opened with a key any more. Idempotent.

    :param now: the present
    """
    if not is_usable(tx, key_id, now):
        return
    tx.execute(sa.update(_T).where(_T.c.id == key_id).values(retired_at=now))
