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
"""Certificate rows, and to whom each public key belongs."""

import dataclasses
import datetime
import functools
from typing import Any

import sqlalchemy as sa

from novajoin import models
from novajoin.db import engine
from novajoin.db import tables

_T = tables.certificates
_K = tables.public_keys

_INSERT = sa.insert(_T)
_INSERT_KEY = sa.insert(_K)
_FIND_KEY = sa.select(_K.c.instance, _K.c.epoch).where(
    _K.c.sha256 == sa.bindparam('sha256')
)
_OF_KEY = (
    sa.select(_T)
    .where(
        _T.c.instance == sa.bindparam('instance'),
        _T.c.epoch == sa.bindparam('epoch'),
        _T.c.public_key_sha256 == sa.bindparam('sha256'),
    )
    .order_by(_T.c.generation.desc(), _T.c.created_at.desc())
    .limit(1)
)
_FIND = sa.select(_T).where(_T.c.serial == sa.bindparam('serial'))


def _to_model(row: sa.Row[Any]) -> models.Certificate:
    fields = dict(row._mapping)
    fields['public_key_sha256'] = bytes.fromhex(fields['public_key_sha256'])
    if fields['revocation_reason'] is not None:
        fields['revocation_reason'] = models.RevocationReason(
            fields['revocation_reason']
        )
    return models.Certificate(**fields)


def insert_public_key(
    tx: engine.Transaction, sha256: bytes, instance: str, epoch: int
) -> None:
    """Bind a public key to an enrollment's epoch, for ever.

    :param sha256: SHA-256 over the DER SubjectPublicKeyInfo
    :raises DuplicateRow: it is bound already
    """
    tx.execute(
        _INSERT_KEY,
        {'sha256': sha256.hex(), 'instance': instance, 'epoch': epoch},
    )


def find_public_key(
    tx: engine.Transaction, sha256: bytes
) -> tuple[str, int] | None:
    """Return instance uuid and epoch that a public key is bound to."""
    row = tx.execute(_FIND_KEY, {'sha256': sha256.hex()}).one_or_none()
    return None if row is None else (row.instance, row.epoch)


def insert(tx: engine.Transaction, certificate: models.Certificate) -> None:
    """Insert a certificate row, before or after it is signed."""
    values = {
        field.name: getattr(certificate, field.name)
        for field in dataclasses.fields(certificate)
    }
    values['public_key_sha256'] = certificate.public_key_sha256.hex()
    tx.execute(_INSERT, values)


def find(tx: engine.Transaction, serial: str) -> models.Certificate | None:
    """Return a certificate row, or None.

    :param serial: lower-case hex digits
    """
    row = tx.execute(_FIND, {'serial': serial}).one_or_none()
    return None if row is None else _to_model(row)


def find_of_key(
    tx: engine.Transaction, instance: str, epoch: int, sha256: bytes
) -> models.Certificate | None:
    """Return the newest certificate of a public key in an epoch."""
    row = tx.execute(
        _OF_KEY,
        {'instance': instance, 'epoch': epoch, 'sha256': sha256.hex()},
    ).one_or_none()
    return None if row is None else _to_model(row)


@functools.cache
def _make_put_signed(names: tuple[str, ...]) -> sa.Update:
    """Return the statement that sets some columns of an unsigned row."""
    return (
        sa.update(_T)
        .where(
            _T.c.serial == sa.bindparam('old_serial'),
            _T.c.der.is_(None),
            _T.c.revoked_at.is_(None),
        )
        .values(
            {
                _T.c[name]: sa.bindparam('new_' + name, type_=_T.c[name].type)
                for name in names
            }
        )
    )


def put_signed(
    tx: engine.Transaction,
    ordered: models.Certificate,
    issued: models.IssuedCertificate,
) -> bool:
    """Store the signed certificate, once.

    :param ordered: the row as it was made, unsigned
    :returns: whether this was the first; otherwise another one is stored,
        or the row was revoked before anything was
    """
    values = {
        'serial': '%x' % issued.serial,
        'issuer': issued.issuer,
        'not_before': issued.not_before,
        'not_after': issued.not_after,
    }
    # Most CAs do as they were told. A column that is set is written to its
    # indexes again, even with the same value.
    changed = {
        name: value
        for name, value in values.items()
        if value != getattr(ordered, name)
    }
    changed['der'] = issued.der
    result = tx.execute(
        _make_put_signed(tuple(changed)),
        {
            'old_serial': ordered.serial,
            **{'new_' + name: value for name, value in changed.items()},
        },
    )
    return result.rowcount == 1


def supersede(tx: engine.Transaction, old: str, new: str) -> bool:
    """Name the successor of a certificate, once.

    :returns: whether it had none, and is not revoked
    """
    result = tx.execute(
        sa.update(_T)
        .where(
            _T.c.serial == old,
            _T.c.superseded_by.is_(None),
            _T.c.revoked_at.is_(None),
        )
        .values(superseded_by=new)
    )
    return result.rowcount == 1


def set_presented(
    tx: engine.Transaction, serial: str, now: datetime.datetime
) -> None:
    """Note that a certificate was used for what was granted."""
    tx.execute(
        sa.update(_T)
        .where(_T.c.serial == serial, _T.c.presented_at.is_(None))
        .values(presented_at=now)
    )


def revoke(
    tx: engine.Transaction,
    serial: str,
    reason: models.RevocationReason,
    now: datetime.datetime,
) -> bool:
    """Revoke a certificate in our books.

    :returns: whether it was not revoked before
    """
    result = tx.execute(
        sa.update(_T)
        .where(_T.c.serial == serial, _T.c.revoked_at.is_(None))
        .values(revoked_at=now, revocation_reason=reason.value)
    )
    return result.rowcount == 1


def list_valid(
    tx: engine.Transaction, instance: str, now: datetime.datetime
) -> list[models.Certificate]:
    """Return certificates that are, or may become, of use to somebody."""
    query = (
        sa.select(_T)
        .where(
            _T.c.instance == instance,
            _T.c.revoked_at.is_(None),
            _T.c.not_after > now,
        )
        .order_by(_T.c.created_at)
    )
    return [_to_model(row) for row in tx.execute(query)]


def list_issuers(
    tx: engine.Transaction, now: datetime.datetime
) -> frozenset[str]:
    """Return the ids of the CAs that issued what has not expired."""
    query = (
        sa.select(_T.c.issuer)
        .where(_T.c.issuer.is_not(None), _T.c.not_after > now)
        .distinct()
    )
    return frozenset(tx.execute(query).scalars())


def list_revoked(
    tx: engine.Transaction, issuer: str, since: datetime.datetime
) -> list[models.Revocation]:
    """Return what belongs on the CRL of a CA.

    :param since: certificates that had expired by then are left out
    """
    query = (
        sa.select(_T.c.serial, _T.c.revoked_at, _T.c.revocation_reason)
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
            reason=models.RevocationReason(row.revocation_reason),
        )
        for row in tx.execute(query)
    ]


def list_page(
    tx: engine.Transaction,
    *,
    instance: str | None = None,
    project: str | None = None,
    limit: int,
    marker: str | None = None,
) -> list[models.Certificate]:
    """Return signed certificates in the order of their serials.

    :param limit: at most this many
    :param marker: the last serial of the page before
    """
    query = (
        sa.select(_T)
        .where(_T.c.der.is_not(None))
        .order_by(_T.c.serial)
        .limit(limit)
    )
    if instance is not None:
        query = query.where(_T.c.instance == instance)
    if project is not None:
        owner = tables.enrollments
        query = query.join(owner, owner.c.instance == _T.c.instance).where(
            owner.c.project == project
        )
    if marker is not None:
        query = query.where(_T.c.serial > marker)
    return [_to_model(row) for row in tx.execute(query)]


def purge(tx: engine.Transaction, before: datetime.datetime) -> int:
    """Drop rows of certificates that expired before a time.

    :returns: how many
    """
    result = tx.execute(sa.delete(_T).where(_T.c.not_after < before))
    return result.rowcount
