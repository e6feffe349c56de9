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
"""What operators do to enrollments."""

from collections.abc import Callable
import datetime

from novajoin import exceptions
from novajoin import models
from novajoin.db import certificates
from novajoin.db import credential_keys
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import events
from novajoin.db import names
from novajoin.db import outbox
from novajoin.enrollment import generations
from novajoin.enrollment import lifecycle
from novajoin.keys import repository

State = models.State

#: States from which a new credential may be issued (transition 9).
_REISSUABLE = frozenset(
    {State.EXPIRED, State.CONTESTED, State.REFUSED, State.ENROLLED}
)


class Operations:
    """Operators' actions; each leaves a line in the audit log."""

    def __init__(
        self,
        database: engine.Database,
        keys: repository.Repository,
        generations_: generations.Generations,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._db = database
        self._keys = keys
        self._generations = generations_
        self._clock = clock

    # Reading.

    def find_enrollment(self, instance: str) -> models.Enrollment | None:
        """Return an enrollment, or None."""
        return self._db.read(lambda tx: enrollments.find(tx, instance))

    def list_enrollments(
        self,
        *,
        project: str | None = None,
        state: models.State | None = None,
        hostname: str | None = None,
        limit: int,
        marker: str | None = None,
    ) -> list[models.Enrollment]:
        """Return a page of enrollments by instance uuid."""
        return self._db.read(
            lambda tx: enrollments.list_page(
                tx,
                project=project,
                state=state,
                hostname=hostname,
                limit=limit,
                marker=marker,
            )
        )

    def find_certificate(self, serial: str) -> models.Certificate | None:
        """Return a certificate by its serial in lower-case hex, or None."""
        return self._db.read(lambda tx: certificates.find(tx, serial))

    def list_certificates(
        self,
        *,
        instance: str | None = None,
        project: str | None = None,
        limit: int,
        marker: str | None = None,
    ) -> list[models.Certificate]:
        """Return a page of certificates by serial."""
        return self._db.read(
            lambda tx: certificates.list_page(
                tx,
                instance=instance,
                project=project,
                limit=limit,
                marker=marker,
            )
        )

    def list_events(
        self,
        *,
        instance: str | None = None,
        project: str | None = None,
        limit: int,
        marker: int | None = None,
    ) -> list[models.Event]:
        """Return a page of the audit log, oldest first."""
        return self._db.read(
            lambda tx: events.list_page(
                tx,
                instance=instance,
                project=project,
                limit=limit,
                marker=marker,
            )
        )

    # Acting.

    def _get_enrollment(self, instance: str) -> models.Enrollment:
        found = self.find_enrollment(instance)
        if found is None:
            raise exceptions.NotFound(
                'There is no enrollment of the instance %s.' % instance
            )
        return found

    def _get_certificate(self, serial: str) -> models.Certificate:
        found = self.find_certificate(serial)
        if found is None:
            raise exceptions.NotFound(
                'There is no certificate with the serial %s.' % serial
            )
        return found

    def revoke(
        self, instance: str, caller: models.Caller
    ) -> models.Enrollment:
        """Revoke an enrollment's certificates; it stays without one until
        it is reissued. Idempotent.

        :raises NotFound: there is no such enrollment
        """
        self._get_enrollment(instance)
        now = self._clock()

        def revoke(tx: engine.Transaction) -> None:
            # Locked: a renewal in this moment must not get away.
            enrollment = enrollments.find_locked(tx, instance)
            if enrollment is not None:
                lifecycle.revoke(
                    tx, enrollment, caller.request_id, now, by=caller.user
                )

        self._db.write(revoke)
        return self._get_enrollment(instance)

    def revoke_certificate(
        self, serial: str, caller: models.Caller
    ) -> models.Certificate:
        """Revoke one certificate. Idempotent.

        :raises NotFound: there is no such certificate
        """
        certificate = self._get_certificate(serial)
        self._get_enrollment(certificate.instance)
        now = self._clock()

        def revoke(tx: engine.Transaction) -> None:
            enrollment = enrollments.find_locked(tx, certificate.instance)
            if enrollment is None or not certificates.revoke(
                tx, serial, models.RevocationReason.UNSPECIFIED, now
            ):
                return
            lifecycle.end_claim(tx, enrollment, now)
            outbox.insert_missing(
                tx,
                enrollment,
                [
                    (models.Operation.CA_REVOKE, serial),
                    (models.Operation.CRL_PUBLISH, serial),
                ],
                now,
                request_id=caller.request_id,
            )
            lifecycle.record(
                tx,
                'certificate.revoked',
                enrollment,
                now,
                caller.request_id,
                serial=serial,
                by=caller.user,
            )

        self._db.write(revoke)
        return self._get_certificate(serial)

    def retry(self, instance: str, caller: models.Caller) -> models.Enrollment:
        """Make failed and postponed work due at once. Idempotent.

        :raises NotFound: there is no such enrollment
        """
        enrollment = self._get_enrollment(instance)
        now = self._clock()

        def retry(tx: engine.Transaction) -> None:
            if outbox.revive(tx, instance, now):
                lifecycle.record(
                    tx,
                    'enrollment.retried',
                    enrollment,
                    now,
                    caller.request_id,
                    by=caller.user,
                )

        self._db.write(retry)
        return enrollment

    def reissue(
        self,
        instance: str,
        caller: models.Caller,
        *,
        expected: tuple[int, int] | None = None,
    ) -> models.Enrollment:
        """Open a new generation (transition 9).

        What was issued is revoked, and the next post of nova carries a new
        join token.

        :param expected: epoch and generation that the caller has seen
        :raises NotFound: there is no such enrollment
        :raises PreconditionFailed: epoch or generation are others by now
        :raises StateConflict: the state does not allow it, or the name is
            taken by another instance
        """
        enrollment = self._get_enrollment(instance)
        if expected is not None and expected != (
            enrollment.epoch,
            enrollment.generation,
        ):
            raise exceptions.PreconditionFailed(
                'The enrollment is at %d.%d.'
                % (enrollment.epoch, enrollment.generation)
            )
        if enrollment.state not in _REISSUABLE:
            raise exceptions.StateConflict(
                'An enrollment that is %s cannot be reissued; it must be %s.'
                % (enrollment.state, ', '.join(sorted(_REISSUABLE)))
            )
        return self._reopen(enrollment, caller.request_id, by=caller.user)

    def release(
        self, instance: str, caller: models.Caller, *, reason: str
    ) -> models.Enrollment:
        """Take the identity back, whatever nova says (transition 11a).

        Idempotent.

        :param reason: for the audit log
        :raises NotFound: there is no such enrollment
        """
        now = self._clock()

        def release(tx: engine.Transaction) -> None:
            enrollment = enrollments.find_locked(tx, instance)
            if enrollment is not None and lifecycle.close(
                tx, enrollment, reason, caller.request_id, now
            ):
                lifecycle.record(
                    tx,
                    'enrollment.released',
                    enrollment,
                    now,
                    caller.request_id,
                    by=caller.user,
                    reason=reason,
                )

        self._get_enrollment(instance)
        self._db.write(release)
        return self._get_enrollment(instance)

    def compromise(self, key_id: str, request_id: str) -> list[str]:
        """Open new generations for all that hang on a credential key.

        First the database learns that nothing may be opened with it any
        more: no process, however old what it knows of the keys is, makes a
        row that is not found here. Idempotent.

        :returns: the instances whose credential is dead now, and with it
            every config drive that carries it
        :raises StateConflict: the key is still the primary one
        """
        if self._keys.get_primary(repository.CREDENTIAL).id == key_id:
            raise exceptions.StateConflict(
                'The key %s is still the primary one; rotate first.' % key_id
            )
        now = self._clock()
        self._db.write(lambda tx: credential_keys.retire(tx, key_id, now))
        dead = []
        # Until none is left: a verdict may come in between the look at a row
        # and its change, and is no reason to leave it as it is.
        while rows := self._list_of_key(key_id):
            dead += [
                row.instance
                for row in rows
                if self._replace_credential(row, key_id, request_id)
            ]
        return dead

    def _list_of_key(self, key_id: str) -> list[models.Enrollment]:
        rows = self._db.read(
            lambda tx: enrollments.list_of_key(
                tx, key_id, models.OPEN | {State.SUSPENDED}
            )
        )
        return [
            row
            for row in rows
            if row.state in models.OPEN or row.suspended_from in models.OPEN
        ]

    def _replace_credential(
        self, enrollment: models.Enrollment, key_id: str, request_id: str
    ) -> bool:
        if enrollment.state is State.SUSPENDED:
            return self._spoil_suspended(enrollment, key_id, request_id)
        try:
            self._reopen(enrollment, request_id, compromised=key_id)
        except exceptions.PreconditionFailed:
            # Redeemed, expired, rebuilt or confirmed in this moment.
            return False
        return True

    def _spoil_suspended(
        self, enrollment: models.Enrollment, key_id: str, request_id: str
    ) -> bool:
        """Let a soft-deleted instance come back without its credential."""
        now = self._clock()

        def spoil(tx: engine.Transaction) -> bool:
            if not enrollments.change(
                tx, enrollment, now, suspended_from=State.EXPIRED
            ):
                return False
            lifecycle.record(
                tx,
                'enrollment.expired',
                enrollment,
                now,
                request_id,
                compromised=key_id,
            )
            return True

        return self._db.write(spoil)

    def _reopen(
        self,
        enrollment: models.Enrollment,
        request_id: str,
        **detail: object,
    ) -> models.Enrollment:
        now = self._clock()
        work = [(models.Operation.IDENTITY_ENSURE, '')]
        changes: dict[str, object] = {}
        if not enrollment.nova_confirmed:
            changes['nova_confirmed'] = None
            work = list(lifecycle.VERDICTS)

        def reopen(tx: engine.Transaction, columns: dict[str, object]) -> bool:
            work_ = work
            if not lifecycle.holds_name(tx, enrollment):
                if enrollment.state is State.PENDING:
                    # It waits for the former holder, and goes on to.
                    work_ = [(models.Operation.NAME_CLAIM, ''), *work]
                else:
                    names.insert(
                        tx, [enrollment.hostname], enrollment.instance
                    )
            return (
                lifecycle.reopen(
                    tx,
                    enrollment,
                    {**columns, **changes},
                    work_,
                    request_id,
                    now,
                    detail,
                )
                is not None
            )

        try:
            done = self._generations.open(
                enrollment.instance,
                enrollment.epoch,
                enrollment.generation + 1,
                lambda columns: self._db.write(lambda tx: reopen(tx, columns)),
            )
        except engine.DuplicateRow as exc:
            raise exceptions.StateConflict(
                'The name %s is taken by another instance.'
                % enrollment.hostname
            ) from exc
        if not done:
            raise exceptions.PreconditionFailed
        return self._get_enrollment(enrollment.instance)
