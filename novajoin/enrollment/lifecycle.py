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
"""The life of an enrollment: every transition, in one place.

Each function is one transition of the table in the reference manual. It is
called inside a transaction, changes the row by compare-and-swap, writes the
outbox rows that the transition needs and a line of the audit log, and
returns whether it took place: of any number of concurrent callers one gets
True.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import secrets
from typing import Any

from novajoin import exceptions
from novajoin import models
from novajoin.db import certificates
from novajoin.db import credential_keys
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import events
from novajoin.db import names
from novajoin.db import outbox
from novajoin.db import payloads
from novajoin.enrollment import credential

Operation = models.Operation
State = models.State

#: The work that gives a fresh generation its two verdicts.
VERDICTS: tuple[tuple[Operation, str], ...] = (
    (Operation.NOVA_VERIFY, ''),
    (Operation.IDENTITY_ENSURE, ''),
)


def record(
    tx: engine.Transaction,
    kind: str,
    enrollment: models.Enrollment,
    now: datetime.datetime,
    request_id: str | None,
    **detail: object,
) -> None:
    """Write a line about an enrollment to the audit log."""
    events.insert(
        tx,
        kind,
        now,
        instance=enrollment.instance,
        project=enrollment.project,
        request_id=request_id,
        detail={
            'epoch': enrollment.epoch,
            'generation': enrollment.generation,
            **detail,
        },
    )


def get_instant(now: datetime.datetime) -> datetime.datetime:
    """Return a time without its fraction of a second."""
    return now.replace(microsecond=0)


def make_generation(
    key: bytes,
    key_id: str,
    lifetime: int,
    now: datetime.datetime,
    instance: str,
    epoch: int,
    generation: int,
    usages: tuple[str, ...],
) -> dict[str, object]:
    """Return the columns that a new generation sets on a row.

    :param key: the primary credential key, 32 bytes
    :param lifetime: seconds for which the token may be redeemed
    :param usages: the extended key usages that its CSR has to ask for
    """
    salt = secrets.token_bytes(credential.SALT_SIZE)
    opened_at = get_instant(now)
    derived = credential.derive(key, instance, epoch, generation, salt)
    return {
        'epoch': epoch,
        'generation': generation,
        'opened_at': opened_at,
        'expires_at': opened_at + datetime.timedelta(seconds=lifetime),
        'salt': salt,
        'key_id': key_id,
        'token_sha256': credential.get_digest(derived.token.reveal()),
        'eku': usages,
        'public_key_sha256': None,
        'refusal': None,
        'suspended_from': None,
        'identity_confirmed': None,
    }


def _check_key(
    tx: engine.Transaction, key_id: str, now: datetime.datetime
) -> None:
    if not credential_keys.is_usable(tx, key_id, now):
        raise exceptions.KeyRetired(
            'The key %s was compromised; copy the key repository from the '
            'host that has its successor.' % key_id
        )


def revoke_certificates(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    reason: models.RevocationReason,
    now: datetime.datetime,
) -> list[tuple[Operation, str]]:
    """Revoke whatever certificate of the instance could still be used.

    :returns: the outbox work that tells the CA backend, ending with the
        publication of the CRL; empty where nothing was revoked
    """
    work: list[tuple[Operation, str]] = []
    for certificate in certificates.list_valid(tx, enrollment.instance, now):
        if certificates.revoke(tx, certificate.serial, reason, now):
            work.append((Operation.CA_REVOKE, certificate.serial))
    if work:
        work.append((Operation.CRL_PUBLISH, work[-1][1]))
    return work


def open_pending(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    sent: models.SentPayload,
    request_id: str | None,
    now: datetime.datetime,
    lease: outbox.Lease | None,
) -> None:
    """Make a new row with its name and its work (transition 1).

    :param sent: the payload that the answer carries

    :raises DuplicateRow: the instance has a row, or the name a holder
    :raises KeyRetired: its key must open no generation any more
    """
    _check_key(tx, enrollment.key_id, now)
    enrollments.insert(tx, enrollment)
    names.insert(tx, [enrollment.hostname], enrollment.instance)
    payloads.insert(tx, sent)
    outbox.insert(
        tx, enrollment, VERDICTS, now, request_id=request_id, lease=lease
    )
    record(
        tx,
        'enrollment.pending',
        enrollment,
        now,
        request_id,
        hostname=enrollment.hostname,
    )


def open_waiting(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    request_id: str | None,
    now: datetime.datetime,
) -> None:
    """Make a new row whose name is still held by an instance that is gone.

    :raises DuplicateRow: the instance has a row
    :raises KeyRetired: its key must open no generation any more
    """
    _check_key(tx, enrollment.key_id, now)
    enrollments.insert(tx, enrollment)
    outbox.insert(
        tx,
        enrollment,
        [(Operation.NAME_CLAIM, ''), *VERDICTS],
        now,
        request_id=request_id,
    )
    record(
        tx,
        'enrollment.waiting',
        enrollment,
        now,
        request_id,
        hostname=enrollment.hostname,
    )


def open_refused(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    request_id: str | None,
    now: datetime.datetime,
) -> None:
    """Make a new row that is refused from the start; it holds no name.

    :raises DuplicateRow: the instance has a row
    """
    enrollments.insert(tx, enrollment)
    record(
        tx,
        'enrollment.refused',
        enrollment,
        now,
        request_id,
        refusal=enrollment.refusal,
    )


def settle(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    values: dict[str, Any],
    request_id: str | None,
    now: datetime.datetime,
) -> models.Enrollment | None:
    """Put verdicts on a pending row; with both it is offered (3).

    :param enrollment: as read in this transaction
    :param values: columns to set, ``nova_confirmed`` and the like
    :returns: the row as it is now, None when somebody was faster
    """
    settled = dataclasses.replace(enrollment, updated_at=now, **values)
    if settled.nova_confirmed and settled.identity_confirmed:
        values = {**values, 'state': State.OFFERED}
        settled = dataclasses.replace(settled, state=State.OFFERED)
    if not enrollments.change(tx, enrollment, now, **values):
        return None
    if settled.state is State.OFFERED:
        record(tx, 'enrollment.offered', enrollment, now, request_id)
    return settled


def refuse(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    refusal: str,
    request_id: str | None,
    now: datetime.datetime,
) -> bool:
    """Refuse a pending enrollment and free its names (3).

    :param refusal: why, in words that are safe for the project
    """
    if not enrollments.change(
        tx, enrollment, now, state=State.REFUSED, refusal=refusal[:255]
    ):
        return False
    names.release(tx, enrollment.instance)
    if enrollment.host_id is not None:
        # Whoever gets the name next must not find our host under it.
        outbox.put(
            tx,
            enrollment,
            Operation.IDENTITY_REMOVE,
            now,
            request_id=request_id,
        )
    record(
        tx, 'enrollment.refused', enrollment, now, request_id, refusal=refusal
    )
    return True


def contest(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    why: str,
    request_id: str | None,
    now: datetime.datetime,
    *,
    revokes: bool,
) -> bool:
    """Note that two parties claim one identity (6).

    :param why: for the audit log
    :param revokes: whether what was issued is revoked
    """
    if not enrollments.change(tx, enrollment, now, state=State.CONTESTED):
        return False
    if revokes:
        _tell_ca(
            tx,
            enrollment,
            models.RevocationReason.KEY_COMPROMISE,
            request_id,
            now,
        )
    record(tx, 'enrollment.contested', enrollment, now, request_id, why=why)
    return True


def expire(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    request_id: str | None,
    now: datetime.datetime,
) -> bool:
    """End a generation that nobody redeemed (7)."""
    if enrollment.expires_at > now or enrollment.state not in models.OPEN:
        return False
    if not enrollments.change(tx, enrollment, now, state=State.EXPIRED):
        return False
    # The detail tells it from the work that opened the generation.
    outbox.insert_missing(
        tx,
        enrollment,
        [(Operation.IDENTITY_DISABLE, 'expired')],
        now,
        request_id=request_id,
    )
    record(tx, 'enrollment.expired', enrollment, now, request_id)
    return True


def reopen(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    columns: dict[str, object],
    work: Sequence[tuple[Operation, str]],
    request_id: str | None,
    now: datetime.datetime,
    detail: Mapping[str, object],
) -> models.Enrollment | None:
    """Open a new generation or epoch (8, 9).

    What was issued is revoked, the host's old credential is made useless,
    and only then the new one is set: in the order of the outbox rows.

    :param columns: of :func:`make_generation`, and what else changes
    :param work: the verdicts that are due
    :param detail: for the audit log
    :returns: the row as it is now, or None when somebody was faster
    :raises KeyRetired: its key must open no generation any more; nothing is
        written
    """
    _check_key(tx, str(columns['key_id']), now)
    if not enrollments.change(
        tx, enrollment, now, state=State.PENDING, **columns
    ):
        return None
    fresh = enrollments.find(tx, enrollment.instance)
    if fresh is None:
        raise AssertionError('a row that was just changed is gone')
    tasks = revoke_certificates(
        tx, fresh, models.RevocationReason.SUPERSEDED, now
    )
    if fresh.host_id is not None:
        tasks.append((Operation.IDENTITY_DISABLE, ''))
    tasks.extend(work)
    outbox.insert(tx, fresh, tasks, now, request_id=request_id)
    record(tx, 'enrollment.reopened', fresh, now, request_id, **detail)
    return fresh


def suspend(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    request_id: str | None,
    now: datetime.datetime,
) -> bool:
    """Stop renewal and redemption of a soft-deleted instance (10)."""
    if enrollment.state is State.SUSPENDED or not enrollment.is_living:
        return False
    if not enrollments.change(
        tx,
        enrollment,
        now,
        state=State.SUSPENDED,
        suspended_from=enrollment.state,
    ):
        return False
    record(tx, 'enrollment.suspended', enrollment, now, request_id)
    return True


def restore(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    request_id: str | None,
    now: datetime.datetime,
) -> bool:
    """Go on after a soft-delete was taken back (10).

    The verdicts that were due meanwhile were not given: they are due again.
    """
    if enrollment.state is not State.SUSPENDED:
        return False
    before = enrollment.suspended_from or State.ENROLLED
    if not enrollments.change(
        tx, enrollment, now, state=before, suspended_from=None
    ):
        return False
    if before is State.PENDING:
        for operation in _list_due(tx, enrollment):
            outbox.put(tx, enrollment, operation, now, request_id=request_id)
    record(
        tx,
        'enrollment.restored',
        enrollment,
        now,
        request_id,
        state=before.value,
    )
    return True


def _list_due(
    tx: engine.Transaction, enrollment: models.Enrollment
) -> list[Operation]:
    due = []
    if not holds_name(tx, enrollment):
        due.append(Operation.NAME_CLAIM)
    if enrollment.nova_confirmed is None:
        due.append(Operation.NOVA_VERIFY)
    if enrollment.identity_confirmed is None:
        due.append(Operation.IDENTITY_ENSURE)
    return due


def holds_name(tx: engine.Transaction, enrollment: models.Enrollment) -> bool:
    """Whether the enrollment holds the name that it is to have.

    Not so while it waits for a former holder, and after a refusal.
    """
    return names.find_holder(tx, enrollment.hostname) == enrollment.instance


def close(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    why: str,
    request_id: str | None,
    now: datetime.datetime,
) -> bool:
    """Begin to take the identity back (11, 11a); names are still held.

    :param why: for the audit log
    """
    if not enrollment.is_living:
        return False
    if not enrollments.change(tx, enrollment, now, state=State.CLOSING):
        return False
    work = revoke_certificates(
        tx, enrollment, models.RevocationReason.CESSATION_OF_OPERATION, now
    )
    # The CRL goes first: no identity backend that is away may delay it.
    outbox.insert_missing(tx, enrollment, work, now, request_id=request_id)
    outbox.put(
        tx, enrollment, Operation.IDENTITY_REMOVE, now, request_id=request_id
    )
    record(tx, 'enrollment.closing', enrollment, now, request_id, why=why)
    return True


def finish_closing(
    tx: engine.Transaction,
    instance: str,
    request_id: str | None,
    now: datetime.datetime,
) -> bool:
    """End an enrollment whose last outbox row is done (12)."""
    enrollment = enrollments.find_locked(tx, instance)
    if enrollment is None or enrollment.state is not State.CLOSING:
        return False
    if outbox.count_unfinished(tx, instance):
        return False
    if not enrollments.change(tx, enrollment, now, state=State.CLOSED):
        return False
    names.release(tx, instance)
    record(tx, 'enrollment.closed', enrollment, now, request_id)
    return True


def revoke(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    request_id: str | None,
    now: datetime.datetime,
    **detail: object,
) -> bool:
    """Revoke an enrollment's certificates; it is enrolled without one.

    What was claimed counts as enrolled, although it is never signed now:
    so that it can be reissued.

    :returns: whether there was one to revoke
    """
    revoked = _tell_ca(
        tx,
        enrollment,
        models.RevocationReason.UNSPECIFIED,
        request_id,
        now,
    )
    if revoked:
        end_claim(tx, enrollment, now)
        record(
            tx, 'certificate.revoked', enrollment, now, request_id, **detail
        )
    return revoked


def end_claim(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    now: datetime.datetime,
) -> None:
    """Let a claim end whose certificate was revoked before it was signed."""
    if enrollment.state is State.CLAIMED:
        enrollments.change(tx, enrollment, now, state=State.ENROLLED)


def _tell_ca(
    tx: engine.Transaction,
    enrollment: models.Enrollment,
    reason: models.RevocationReason,
    request_id: str | None,
    now: datetime.datetime,
) -> bool:
    work = revoke_certificates(tx, enrollment, reason, now)
    if work:
        outbox.insert_missing(tx, enrollment, work, now, request_id=request_id)
    return bool(work)
