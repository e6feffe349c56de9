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
"""Requests of check-in processes for their own certificates."""

import datetime
from typing import Any

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.service_certificates


def _to_model(row: sa.Row[Any]) -> models.ServiceCertificate:
    return models.ServiceCertificate(**row._mapping)


def insert(tx: engine.Transaction, request: models.ServiceCertificate) -> None:
    """Leave a request to be signed."""
    tx.execute(
        sa.insert(_T),
        {
            'id': request.id,
            'host': request.host,
            'csr': request.csr,
            'created_at': request.created_at,
        },
    )


def find(
    tx: engine.Transaction, request_id: str
) -> models.ServiceCertificate | None:
    """Return a request, or None."""
    row = tx.execute(sa.select(_T).where(_T.c.id == request_id)).one_or_none()
    return None if row is None else _to_model(row)


def list_unsigned(
    tx: engine.Transaction, *, limit: int
) -> list[models.ServiceCertificate]:
    """Return requests without an answer, oldest first."""
    query = (
        sa.select(_T)
        .where(_T.c.certificate.is_(None), _T.c.refusal.is_(None))
        .order_by(_T.c.created_at)
        .limit(limit)
    )
    return [_to_model(row) for row in tx.execute(query)]


def put_certificate(
    tx: engine.Transaction, request_id: str, certificate: bytes
) -> bool:
    """Answer a request, once.

    :param certificate: DER
    :returns: whether this was the first answer
    """
    return _answer(tx, request_id, certificate=certificate)


def refuse(tx: engine.Transaction, request_id: str, refusal: str) -> bool:
    """Refuse a request, once.

    :returns: whether this was the first answer
    """
    return _answer(tx, request_id, refusal=refusal[:255])


def _answer(tx: engine.Transaction, request_id: str, **values: Any) -> bool:
    result = tx.execute(
        sa.update(_T)
        .where(
            _T.c.id == request_id,
            _T.c.certificate.is_(None),
            _T.c.refusal.is_(None),
        )
        .values(**values)
    )
    return result.rowcount == 1


def purge(tx: engine.Transaction, before: datetime.datetime) -> int:
    """Drop requests from before a time.

    :returns: how many
    """
    result = tx.execute(sa.delete(_T).where(_T.c.created_at < before))
    return result.rowcount
