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
"""Intermediates of the embedded CA that are on the root's CRL."""

import dataclasses
import datetime

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.revoked_authorities


def insert(tx: engine.Transaction, authority: models.RevokedAuthority) -> None:
    """Revoke an intermediate.

    :raises DuplicateRow: it is revoked already
    """
    tx.execute(sa.insert(_T), dataclasses.asdict(authority))


def list_revoked(
    tx: engine.Transaction, issuer: str, since: datetime.datetime
) -> list[models.Revocation]:
    """Return what belongs on the CRL of a root.

    :param since: what had expired by then is left out
    """
    query = (
        sa.select(_T.c.serial, _T.c.revoked_at)
        .where(_T.c.issuer == issuer, _T.c.not_after > since)
        .order_by(_T.c.revoked_at)
    )
    return [
        models.Revocation(
            serial=row.serial,
            revoked_at=row.revoked_at,
            reason=models.RevocationReason.KEY_COMPROMISE,
        )
        for row in tx.execute(query)
    ]
