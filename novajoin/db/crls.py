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
"""Stored certificate revocation lists, one per CA."""

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.crls


def find(tx: engine.Transaction, issuer: str) -> models.Crl | None:
    """Return the CRL of a CA, or None."""
    row = tx.execute(sa.select(_T).where(_T.c.issuer == issuer)).one_or_none()
    return None if row is None else models.Crl(**row._mapping)


def list_issuers(tx: engine.Transaction) -> frozenset[str]:
    """Return the ids of the CAs that have a CRL."""
    return frozenset(tx.execute(sa.select(_T.c.issuer)).scalars())


def put(tx: engine.Transaction, crl: models.Crl) -> bool:
    """Store a CRL whose number follows the stored one's.

    :returns: whether it is stored; False when another process was first
    :raises DuplicateRow: likewise, for the first CRL of a CA
    """
    values = {
        'number': crl.number,
        'der': crl.der,
        'this_update': crl.this_update,
        'next_update': crl.next_update,
    }
    changed = tx.execute(
        sa.update(_T)
        .where(_T.c.issuer == crl.issuer, _T.c.number < crl.number)
        .values(**values)
    )
    if changed.rowcount == 1:
        return True
    if find(tx, crl.issuer) is not None:
        return False
    tx.execute(sa.insert(_T), {'issuer': crl.issuer, **values})
    return True
