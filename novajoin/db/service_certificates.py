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
    tx: engine.Transaction,
    request_id: str,
    issued: models.IssuedCertificate,
    key_id: str,
) -> bool:
    """Answer a request, once.

    :param key_id: of the certificate's public key
    :returns: whether this was the first answer
    """
    return _answer(
        tx,
        request_id,
        certificate=issued.der,
        key_id=key_id,
        serial='%x' % issued.serial,
        issuer=issued.issuer,
        not_after=issued.not_after,
    )


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


def list_valid(
    tx: engine.Transaction, now: datetime.datetime
) -> list[models.ServiceCertificate]:
    """Return those whose certificate has not expired, oldest first."""
    query = sa.select(_T).where(_T.c.not_after > now).order_by(_T.c.created_at)
    return [_to_model(row) for row in tx.execute(query)]


def list_issuers(
    tx: engine.Transaction, now: datetime.datetime
) -> frozenset[str]:
    """Return the ids of the CAs that issued what has not expired."""
    query = sa.select(_T.c.issuer).where(_T.c.not_after > now).distinct()
    return frozenset(tx.execute(query).scalars())


def list_hosts(tx: engine.Transaction, key_id: str) -> list[str]:
    """Return the hosts that have, or had, a certificate of a key."""
    query = sa.select(_T.c.host).where(_T.c.key_id == key_id).distinct()
    return sorted(tx.execute(query).scalars())


def revoke(
    tx: engine.Transaction, key_id: str, now: datetime.datetime
) -> bool:
    """Revoke the certificates of a key that has leaked.

    :returns: whether there was one that was not revoked before
    """
    result = tx.execute(
        sa.update(_T)
        .where(_T.c.key_id == key_id, _T.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return result.rowcount > 0


def is_revoked(tx: engine.Transaction, serial: str) -> bool:
    """Tell whether a certificate is revoked.

    :param serial: lower-case hex digits
    """
    query = sa.select(_T.c.id).where(
        _T.c.serial == serial, _T.c.revoked_at.is_not(None)
    )
    return tx.execute(query).first() is not None


def list_revoked(
    tx: engine.Transaction, issuer: str, since: datetime.datetime
) -> list[models.Revocation]:
    """Return what belongs on the CRL of a service intermediate.

    :param since: certificates that had expired by then are left out
    """
    query = (
        sa.select(_T.c.serial, _T.c.revoked_at)
        .where(
            _T.c.issuer == issuer,
            _T.c.revoked_at.is_not(None),
            _T.c.not_after > since,
        )
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


def purge(tx: engine.Transaction, before: datetime.datetime) -> int:
    """Drop requests from before a time, but for certificates still valid.

    :param before: certificates that expired later are kept, too
    :returns: how many
    """
    result = tx.execute(
        sa.delete(_T).where(
            _T.c.created_at < before,
            sa.or_(_T.c.not_after.is_(None), _T.c.not_after < before),
        )
    )
    return result.rowcount
