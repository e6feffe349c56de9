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
"""Work on outbox rows: each side effect, tried until it is done.

A row is leased, worked without a transaction, and settled in one
transaction together with the enrollment that it belongs to. Everything here
is idempotent: a process that dies between the two leaves a lease that runs
out, and another one does it again.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import datetime
import random
import traceback
from typing import Final
import uuid

from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.ca import base as ca_base
from novajoin.clients import base as clients_base
from novajoin.db import certificates
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import names
from novajoin.db import outbox
from novajoin.enrollment import credential
from novajoin.enrollment import inspection
from novajoin.enrollment import lifecycle
from novajoin.identity import base as identity_base
from novajoin.keys import repository

LOG = logging.getLogger(__name__)

Operation = models.Operation
State = models.State

_WORD: Final = 255

#: States in which a host that is given up may be removed.
_REMOVABLE: Final = frozenset({State.CLOSING, State.REFUSED})
#: What becomes of a host that was made too late, by state.
_UNDOING: Final = {
    State.EXPIRED: (Operation.IDENTITY_DISABLE, 'expired'),
    State.REFUSED: (Operation.IDENTITY_REMOVE, ''),
    State.CLOSING: (Operation.IDENTITY_REMOVE, ''),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How the outbox is worked.

    :ivar process: id of this process, for leases
    :ivar lease: seconds after which another process may take a row
    :ivar call_timeout: seconds for one call to nova
    :ivar first_delay: seconds to wait after the first failure
    :ivar longest_delay: the back-off does not grow beyond this
    :ivar attempts: tries before a row waits for an operator
    """

    process: str
    lease: float = 60.0
    call_timeout: float = 5.0
    first_delay: float = 1.0
    longest_delay: float = 300.0
    attempts: int = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """What came of a row; put into the transaction that settles it.

    :ivar apply: whatever there is to write
    :ivar verdicts: columns of the enrollment, if it is still pending
    :ivar otherwise: run with the enrollment where it is not
    :ivar is_final: the enrollment is refused: later rows have nothing to do
    """

    apply: Callable[[engine.Transaction], object] | None = None
    verdicts: Mapping[str, object] = dataclasses.field(default_factory=dict)
    otherwise: (
        Callable[[engine.Transaction, models.Enrollment], object] | None
    ) = None
    is_final: bool = False


class _NotYet(Exception):
    """The row's turn has not come; to wait costs no attempt."""


class _Stale(Exception):
    """The enrollment has moved on: there is nothing left to do."""


class Outbox:
    """Lease, work and settle outbox rows."""

    def __init__(
        self,
        database: engine.Database,
        compute: clients_base.ComputeClient,
        identity: identity_base.IdentityBackend,
        ca: ca_base.CABackend,
        keys: repository.Repository,
        inspector: inspection.Inspector,
        settings: Settings,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._db = database
        self._compute = compute
        self._identity = identity
        self._ca = ca
        self._keys = keys
        self._inspector = inspector
        self._settings = settings
        self._clock = clock
        self._handlers: dict[
            Operation,
            Callable[[models.Enrollment, models.OutboxRow], Effect],
        ] = {
            Operation.NOVA_LOOK: self._look,
            Operation.NOVA_VERIFY: self._verify,
            Operation.IDENTITY_ENSURE: self._ensure,
            Operation.IDENTITY_DISABLE: self._disable,
            Operation.IDENTITY_REMOVE: self._remove,
            Operation.CA_REVOKE: self._revoke,
            Operation.CRL_PUBLISH: self._publish,
            Operation.NAME_CLAIM: self._claim_name,
        }

    def make_lease(self) -> outbox.Lease:
        """Return a lease for rows that this process works at once."""
        return outbox.Lease(
            owner='%s/%s' % (self._settings.process, uuid.uuid4().hex[:12]),
            until=self._clock()
            + datetime.timedelta(seconds=self._settings.lease),
        )

    def work(self, *, limit: int) -> int:
        """Lease and work rows that are due.

        :param limit: at most this many
        :returns: how many rows were worked, whatever came of it
        :raises DatabaseUnavailable: nothing is lost
        """
        now = self._clock()
        rows = self._db.read(lambda tx: outbox.list_due(tx, now, limit=limit))
        worked = 0
        for row in rows:
            lease = self.make_lease()
            if self._acquire(row, lease):
                self._work_row(row, lease.owner)
                worked += 1
        return worked

    def work_leased(
        self, enrollment: models.Enrollment, lease: outbox.Lease
    ) -> models.Enrollment | None:
        """Work the rows that were inserted with a lease, in their order.

        Stops at the first that does not succeed; it and those after it are
        left to whoever works the outbox.

        :returns: the enrollment with the verdicts that came of it, None
            where there were none
        """

        def read(
            tx: engine.Transaction,
        ) -> tuple[bool, list[models.OutboxRow]]:
            rows = outbox.list_leased(tx, enrollment.instance, lease.owner)
            return bool(rows) and outbox.has_earlier(tx, rows[0]), rows

        must_wait, rows = self._db.read(read)
        if must_wait:
            # Somebody else's unfinished work on the name comes first.
            self._give_back(rows, lease.owner)
            return None
        done: list[models.OutboxRow] = []
        effects: list[Effect] = []
        for number, row in enumerate(rows):
            try:
                effect = self._handlers[row.operation](enrollment, row)
            except Exception as exc:  # noqa: BLE001 every failure is settled
                settled = self._settle(done, effects, lease.owner)
                self._fail(row, exc, lease.owner)
                self._give_back(rows[number + 1 :], lease.owner)
                return settled
            effects.append(effect)
            done.append(row)
            if effect.is_final:
                done = rows
                break
        return self._settle(done, effects, lease.owner)

    def _work_row(self, row: models.OutboxRow, owner: str) -> None:
        """Work one row, as it was before this owner leased it."""
        enrollment = self._db.read(
            lambda tx: enrollments.find(tx, row.instance)
        )
        if enrollment is None:
            LOG.error('Outbox row %d has no enrollment.', row.id)
            self._settle([row], [], owner)
            return
        try:
            effect = self._handlers[row.operation](enrollment, row)
            self._settle([row], [effect], owner)
        except engine.DuplicateRow:
            # The row that the effect needs is another's since it was
            # looked for: to look again shows whose.
            self._fail(row, _NotYet('somebody else was faster'), owner)
        except Exception as exc:  # noqa: BLE001 every failure is settled
            self._fail(row, exc, owner)

    def _acquire(self, row: models.OutboxRow, lease: outbox.Lease) -> bool:
        now = self._clock()

        def acquire(tx: engine.Transaction) -> bool:
            if outbox.has_earlier(tx, row):
                return False
            return outbox.acquire(tx, row, lease, now)

        return self._db.write(acquire)

    def _give_back(self, rows: list[models.OutboxRow], owner: str) -> None:
        now = self._clock()

        def give_back(tx: engine.Transaction) -> None:
            for row in rows:
                outbox.postpone(tx, row, now, None, owner, counts=False)

        if rows:
            self._db.write(give_back)

    def _settle(
        self,
        rows: list[models.OutboxRow],
        effects: list[Effect],
        owner: str,
    ) -> models.Enrollment | None:
        """Mark rows of one enrollment as done, with what came of them.

        :returns: the enrollment with its verdicts, None where it got none
        """
        if not rows:
            return None
        now = self._clock()
        last = rows[-1]

        def settle(tx: engine.Transaction) -> models.Enrollment | None:
            outbox.finish(tx, [row.id for row in rows], owner)
            for effect in effects:
                if effect.apply is not None:
                    effect.apply(tx)
            settled = self._put_verdicts(tx, last, effects, now)
            if settled is None:
                lifecycle.finish_closing(
                    tx, last.instance, last.request_id, now
                )
            return settled

        return self._db.write(settle)

    def _put_verdicts(
        self,
        tx: engine.Transaction,
        row: models.OutboxRow,
        effects: list[Effect],
        now: datetime.datetime,
    ) -> models.Enrollment | None:
        verdicts: dict[str, object] = {}
        for effect in effects:
            verdicts.update(effect.verdicts)
        if not verdicts:
            return None
        fresh = enrollments.find_locked(tx, row.instance)
        if fresh is not None and _is_current(fresh, row):
            return lifecycle.settle(tx, fresh, verdicts, row.request_id, now)
        if fresh is not None:
            for effect in effects:
                if effect.otherwise is not None:
                    effect.otherwise(tx, fresh)
        return None

    def _fail(self, row: models.OutboxRow, exc: Exception, owner: str) -> None:
        if isinstance(exc, _Stale):
            self._settle([row], [], owner)
            return
        now = self._clock()
        counts = not isinstance(exc, _NotYet)
        attempts = row.attempts + 1
        state = models.RowState.READY
        if counts and attempts >= self._settings.attempts:
            state = models.RowState.DEAD
        # An error of ours holds no secret; one of a library may, so that
        # only its type is kept.
        error = (
            str(exc)
            if isinstance(exc, exceptions.NovajoinError | _NotYet)
            else type(exc).__name__
        )
        delay = self._get_delay(attempts)
        if not counts:
            # The longer it has waited, the less it matters to wait.
            age = (now - row.created_at).total_seconds()
            delay = min(max(delay, age / 10), self._settings.longest_delay)
        due_at = now + datetime.timedelta(seconds=delay)
        self._db.write(
            lambda tx: outbox.postpone(
                tx,
                row,
                due_at,
                error[:_WORD],
                owner,
                state=state,
                counts=counts,
            )
        )
        if not counts:
            LOG.debug('Outbox row %d waits: %s', row.id, error)
        elif isinstance(exc, exceptions.NovajoinError):
            LOG.warning(
                'Outbox row %d (%s of %s, request %s) failed %d times: %s',
                row.id,
                row.operation,
                row.instance,
                row.request_id,
                attempts,
                error,
            )
        else:
            LOG.error(
                'Outbox row %d (%s of %s, request %s) failed %d times: %s\n%s',
                row.id,
                row.operation,
                row.instance,
                row.request_id,
                attempts,
                error,
                # Where, without the error's text.
                ''.join(traceback.format_tb(exc.__traceback__)),
            )

    def _get_delay(self, attempts: int) -> float:
        delay = self._settings.first_delay * 2.0 ** min(attempts - 1, 30)
        delay = min(delay, self._settings.longest_delay)
        # Full jitter above the half: peers that failed together do not come
        # back together.
        return delay * random.uniform(0.5, 1.0)  # noqa: S311

    # One handler for each operation: the outside first, then an effect.

    def _look(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        finding = self._inspector.look(enrollment, self._settings.call_timeout)
        server = finding.server
        if server is not None and server.task_state == 'deleting':
            # The notification was faster than nova's own record.
            raise _NotYet('nova is still deleting the instance')
        return Effect(
            lambda tx: self._inspector.act(
                tx,
                enrollments.find_locked(tx, enrollment.instance) or enrollment,
                finding,
                row.request_id,
            )
        )

    def _verify(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        _check_current(enrollment, row)
        verdict = self._inspector.verify(
            enrollment, self._settings.call_timeout
        )

        if verdict.refusal is not None:
            return self._refuse(row, verdict.refusal)
        if verdict.later is not None:
            later = verdict.later
            return Effect(lambda tx: self._act_later(tx, row, later))
        verdicts: dict[str, object] = {'nova_confirmed': True}
        if verdict.rebuild is not None:
            verdicts['rebuild_id'] = verdict.rebuild.request_id
            verdicts['rebuild_at'] = verdict.rebuild.started_at
        return Effect(verdicts=verdicts)

    def _act_later(
        self,
        tx: engine.Transaction,
        row: models.OutboxRow,
        finding: inspection.Finding,
    ) -> None:
        """Start the epoch of a rebuild that overtook the verdict."""
        fresh = enrollments.find_locked(tx, row.instance)
        if fresh is not None and _is_current(fresh, row):
            self._inspector.act(tx, fresh, finding, row.request_id)

    def _refuse(self, row: models.OutboxRow, refusal: str) -> Effect:
        def refuse(tx: engine.Transaction) -> None:
            fresh = enrollments.find_locked(tx, row.instance)
            if fresh is not None and _is_current(fresh, row):
                lifecycle.refuse(
                    tx, fresh, refusal, row.request_id, self._clock()
                )

        return Effect(refuse, is_final=True)

    def _ensure(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        if not _is_current(enrollment, row):
            return self._recover_host(enrollment, row)
        request = self._make_host_request(enrollment)
        try:
            host = self._identity.ensure(request)
        except exceptions.IdentityRefused as exc:
            return self._refuse(row, exc.message)
        return Effect(
            verdicts={'identity_confirmed': True, 'host_id': host.id},
            otherwise=lambda tx, fresh: self._keep_host_id(
                tx, fresh, host.id, row
            ),
        )

    def _recover_host(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        """Find the host that an earlier try may have made, and its id.

        Whoever tried may have died before it could write the id down, or
        the backend may have worked and its answer been lost. Without the id
        nobody would ever remove the host.
        """
        # An operator's retry starts to count anew, and keeps the error.
        was_tried = (
            row.attempts > 0
            or row.lease_owner is not None
            or row.last_error is not None
        )
        if (
            not was_tried
            or enrollment.host_id is not None
            or row.name != enrollment.hostname
        ):
            raise _Stale
        try:
            host = self._identity.ensure(self._make_host_request(enrollment))
        except exceptions.IdentityRefused:
            # What is there is not ours.
            return _NOTHING
        if enrollment.state is State.REFUSED:
            # Its name is free for others: the host must not be in the way.
            self._identity.remove(host.id)
            return _NOTHING

        def effect(tx: engine.Transaction) -> None:
            fresh = enrollments.find_locked(tx, enrollment.instance)
            if fresh is not None:
                self._keep_host_id(tx, fresh, host.id, row)

        return Effect(effect)

    def _keep_host_id(
        self,
        tx: engine.Transaction,
        enrollment: models.Enrollment,
        host_id: str,
        row: models.OutboxRow,
    ) -> None:
        """Remember a host that is not wanted any more, and undo it."""
        enrollments.set_host_id(tx, enrollment.instance, host_id)
        undo = _UNDOING.get(enrollment.state)
        if undo is not None:
            operation, detail = undo
            outbox.put(
                tx,
                enrollment,
                operation,
                self._clock(),
                detail=detail,
                request_id=row.request_id,
            )

    def _make_host_request(
        self, enrollment: models.Enrollment
    ) -> models.HostRequest:
        otp = None
        if self._identity.takes_otp:
            key = self._keys.get(repository.CREDENTIAL, enrollment.key_id)
            otp = credential.derive(
                key.secret,
                enrollment.instance,
                enrollment.epoch,
                enrollment.generation,
                enrollment.salt,
            ).otp
        return models.HostRequest(
            instance=enrollment.instance,
            project=enrollment.project,
            hostname=enrollment.hostname,
            known_id=enrollment.host_id,
            otp=otp,
            host_class=enrollment.metadata.get('ipa_hostclass'),
            location=enrollment.metadata.get('ipa_host_location'),
            os_version=enrollment.metadata.get('os_version'),
        )

    def _disable(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        if enrollment.host_id is None:
            raise _Stale
        if row.epoch != enrollment.epoch or (
            row.generation != enrollment.generation
        ):
            # A newer generation disabled the host itself, or is about to.
            raise _Stale
        self._identity.disable(enrollment.host_id)
        return _NOTHING

    def _remove(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        if row.detail:
            # The host of a former name.
            self._identity.remove(row.detail)
        elif enrollment.state in _REMOVABLE and enrollment.host_id is not None:
            self._identity.remove(enrollment.host_id)
        return _NOTHING

    def _revoke(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        certificate = self._db.read(
            lambda tx: certificates.find(tx, row.detail)
        )
        if (
            certificate is None
            or certificate.issuer is None
            or certificate.revoked_at is None
        ):
            return _NOTHING
        self._ca.revoke(
            certificate.issuer,
            certificate.serial,
            certificate.revocation_reason
            or models.RevocationReason.UNSPECIFIED,
            certificate.revoked_at,
        )
        return _NOTHING

    def _publish(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        if isinstance(self._ca, ca_base.CrlPublisher):
            self._ca.publish_crl(self._clock())
        return _NOTHING

    def _claim_name(
        self, enrollment: models.Enrollment, row: models.OutboxRow
    ) -> Effect:
        _check_current(enrollment, row)
        holder_id = self._db.read(
            lambda tx: names.find_holder(tx, enrollment.hostname)
        )
        if holder_id == enrollment.instance:
            return _NOTHING
        if holder_id is not None:
            holder = self._db.read(lambda tx: enrollments.find(tx, holder_id))
            if holder is not None and holder.is_living:
                return self._refuse(
                    row,
                    'The name %s is taken by another instance.'
                    % enrollment.hostname,
                )
            raise _NotYet('the former holder of the name is not gone yet')
        return Effect(lambda tx: self._hold_name(tx, enrollment))

    def _hold_name(
        self, tx: engine.Transaction, enrollment: models.Enrollment
    ) -> None:
        # After a rename the former name was held until its host was gone.
        names.release(tx, enrollment.instance)
        names.insert(tx, [enrollment.hostname], enrollment.instance)


_NOTHING: Final = Effect()


def _is_current(enrollment: models.Enrollment, row: models.OutboxRow) -> bool:
    return (
        enrollment.state is State.PENDING
        and enrollment.epoch == row.epoch
        and enrollment.generation == row.generation
    )


def _check_current(
    enrollment: models.Enrollment, row: models.OutboxRow
) -> None:
    if not _is_current(enrollment, row):
        raise _Stale
