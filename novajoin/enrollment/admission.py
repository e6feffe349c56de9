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
"""Answer nova's call: the first minute of an enrollment.

The answer is whole or there is none: credentials are derived, so that it
need not wait for the identity backend; it waits for the verdict only so
that a refusal is told, and only within a budget.
"""

from collections.abc import Callable
from collections.abc import Collection
from concurrent import futures
import dataclasses
import datetime
import threading
import time
from typing import Final

from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.bootstrap import handover
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import names
from novajoin.db import outbox as outbox_rows
from novajoin.db import subdomains
from novajoin.enrollment import decision
from novajoin.enrollment import generations
from novajoin.enrollment import inspection
from novajoin.enrollment import lifecycle
from novajoin.enrollment import naming
from novajoin.enrollment import offers
from novajoin.enrollment import outbox
from novajoin.identity import base as identity_base
from novajoin.injectors import base as injectors_base

LOG = logging.getLogger(__name__)

State = models.State

#: Seconds for which a young row in its first epoch is believed unasked. The
#: six posts of one config drive come within a fraction of one; a rebuild that
#: comes later must not get the credential of the disk before it.
_FRESH: Final = 10
_TIMES_TO_READ_AGAIN: Final = 5
#: The value of ``token_delivery`` that spares running guests.
_CONFIG_DRIVE: Final = 'configdrive'
#: The key in the instance's metadata.
_HOST_CLASS: Final = 'ipa_hostclass'


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How nova is answered.

    :ivar budget: seconds within which there is an answer
    :ivar waiting: so many requests of this process may wait for a verdict
    :ivar token_delivery: ``any`` or ``configdrive``
    :ivar metadata_keys: metadata that is kept with the enrollment
    :ivar get_host_classes: returns the host classes that a project may ask
        for, by its id; ``*`` among them stands for any
    """

    budget: float
    waiting: int
    token_delivery: str
    metadata_keys: Collection[str] = (
        _HOST_CLASS,
        'ipa_host_location',
    )
    get_host_classes: Callable[[str], Collection[str]] = lambda project: ()


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_rest(self) -> float:
        """Return the seconds left, never less than a little."""
        return max(self._end - time.monotonic(), 0.05)


class Admission:
    """Decide, record, and answer."""

    def __init__(
        self,
        database: engine.Database,
        decision_: decision.Decision,
        naming_: naming.Naming,
        inspector: inspection.Inspector,
        identity: identity_base.IdentityBackend,
        renderer: injectors_base.VendordataRenderer,
        generations_: generations.Generations,
        outbox_: outbox.Outbox,
        offers_: offers.Offers,
        settings: Settings,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._db = database
        self._decision = decision_
        self._naming = naming_
        self._inspector = inspector
        self._identity = identity
        self._renderer = renderer
        self._generations = generations_
        self._outbox = outbox_
        self._offers = offers_
        self._settings = settings
        self._clock = clock
        self._slots = threading.BoundedSemaphore(max(settings.waiting, 1))
        self._pool = futures.ThreadPoolExecutor(
            max(settings.waiting, 1), thread_name_prefix='admission'
        )
        self._flights: dict[str, futures.Future[inspection.Finding]] = {}
        self._flights_lock = threading.Lock()

    def answer(
        self, post: models.VendordataPost, caller: models.Caller
    ) -> dict[str, object]:
        """Answer nova's call for an instance.

        :returns: what nova puts under ``join``; ``{}`` for an instance that
            did not ask. The values are in clear: for the wire only.
        :raises InvalidHostname: the name cannot be enrolled
        :raises IdentityRefused: the enrollment is refused
        :raises Closed: the identity has ended
        :raises Unavailable: no whole answer can be had within the budget
        """
        deadline = _Deadline(self._settings.budget)
        if not self._decision.is_asked(post, deadline.get_rest()):
            return {}
        enrollment = self._db.read(
            lambda tx: enrollments.find(tx, post.instance)
        )
        finding = offer = None
        if enrollment is None:
            enrollment, offer = self._admit(post, caller, deadline)
            if self._wants_config_drive:
                finding = self._look(enrollment, deadline)
        else:
            _check_project(enrollment, post)
            if self._is_to_be_looked_at(enrollment):
                finding = self._look(enrollment, deadline)
                enrollment = self._act(enrollment, finding, caller)
        return self._render(enrollment, finding, offer)

    @property
    def _wants_config_drive(self) -> bool:
        return (
            self._settings.token_delivery == _CONFIG_DRIVE
            and not self._inspector.is_blind
        )

    # A row that is there.

    def _is_to_be_looked_at(self, enrollment: models.Enrollment) -> bool:
        if self._inspector.is_blind or not enrollment.is_living:
            return False
        if self._wants_config_drive:
            return True
        age = self._clock() - enrollment.opened_at
        return (
            enrollment.state not in models.OPEN
            or enrollment.epoch > 1
            or age > datetime.timedelta(seconds=_FRESH)
        )

    def _look(
        self, enrollment: models.Enrollment, deadline: _Deadline
    ) -> inspection.Finding:
        """Ask nova, once for all that ask at the same time."""
        with self._flights_lock:
            flight = self._flights.get(enrollment.instance)
            leads = flight is None
            if flight is None:
                flight = futures.Future()
                self._flights[enrollment.instance] = flight
        if leads:
            try:
                flight.set_result(
                    self._inspector.look(enrollment, deadline.get_rest() / 2)
                )
            except Exception as exc:  # noqa: BLE001 the others get it too
                flight.set_exception(exc)
            finally:
                with self._flights_lock:
                    del self._flights[enrollment.instance]
        try:
            return flight.result(timeout=deadline.get_rest())
        except TimeoutError as exc:
            raise exceptions.ComputeUnavailable from exc

    def _act(
        self,
        enrollment: models.Enrollment,
        finding: inspection.Finding,
        caller: models.Caller,
    ) -> models.Enrollment:
        if not self._inspector.differs(enrollment, finding):
            return enrollment

        def act(tx: engine.Transaction) -> models.Enrollment:
            fresh = (
                enrollments.find_locked(tx, enrollment.instance) or enrollment
            )
            changed = self._inspector.act(
                tx, fresh, finding, caller.request_id
            )
            return changed or fresh

        return self._db.write(act)

    # A new row.

    def _admit(
        self,
        post: models.VendordataPost,
        caller: models.Caller,
        deadline: _Deadline,
    ) -> tuple[models.Enrollment, offers.Offer | None]:
        hostname = self._naming.get_fqdn(post.hostname, post.project)
        self._check_host_class(post)
        self._claim_subdomain(post.project)
        return self._generations.open(
            post.instance,
            1,
            1,
            lambda columns: self._admit_as(
                self._make(post, hostname, columns, deadline),
                post,
                caller,
                deadline,
            ),
        )

    def _admit_as(
        self,
        enrollment: models.Enrollment,
        post: models.VendordataPost,
        caller: models.Caller,
        deadline: _Deadline,
    ) -> tuple[models.Enrollment, offers.Offer | None]:
        """Insert a row, or find why that is not to be.

        :raises KeyRetired: its key must open no generation any more
        """
        offer = self._offers.make_first(enrollment)
        for _ in range(_TIMES_TO_READ_AGAIN):
            waits = self._take_slot()
            lease = self._outbox.make_lease() if waits else None
            try:
                self._open(enrollment, offer, caller, lease)
            except engine.DuplicateRow:
                if waits:
                    self._slots.release()
                found = self._db.read(
                    lambda tx: enrollments.find(tx, post.instance)
                )
                if found is not None:
                    _check_project(found, post)
                    return found, None
                conflict = self._resolve(enrollment, caller, deadline)
                if conflict is not None:
                    return conflict, None
                continue
            except BaseException:
                if waits:
                    self._slots.release()
                raise
            if lease is None:
                return enrollment, offer
            return self._wait(enrollment, lease, deadline), offer
        raise exceptions.DatabaseUnavailable(
            'The name %s changes hands too often; try again.'
            % enrollment.hostname
        )

    def _take_slot(self) -> bool:
        """Whether one more request of this process may wait."""
        return self._settings.waiting > 0 and self._slots.acquire(
            blocking=False
        )

    def _check_host_class(self, post: models.VendordataPost) -> None:
        """Refuse what the project's allow-list does not have."""
        asked = post.metadata.get(_HOST_CLASS)
        if not asked:
            return
        allowed = self._settings.get_host_classes(post.project)
        if asked not in allowed and '*' not in allowed:
            raise exceptions.IdentityRefused(
                'The project may not have instances of the host class %s.'
                % ascii(asked[:80])
            )

    def _claim_subdomain(self, project: str) -> None:
        """Refuse a subdomain that another project's name leads to, too."""
        subdomain = self._naming.find_subdomain(project)
        if subdomain is None:
            return
        owner = self._db.read(lambda tx: subdomains.find_owner(tx, subdomain))
        if owner is None:
            try:
                self._db.write(
                    lambda tx: subdomains.insert(tx, subdomain, project)
                )
                return
            except engine.DuplicateRow:
                owner = self._db.read(
                    lambda tx: subdomains.find_owner(tx, subdomain)
                )
        if owner != project:
            raise exceptions.InvalidHostname(
                'The subdomain %s belongs to another project whose name '
                'leads to the same label.' % subdomain
            )

    def _make(
        self,
        post: models.VendordataPost,
        hostname: str,
        columns: dict[str, object],
        deadline: _Deadline,
    ) -> models.Enrollment:
        now = self._clock()
        metadata = {
            name: post.metadata[name]
            for name in self._settings.metadata_keys
            if name in post.metadata
        }
        os_version = None
        if self._identity.takes_otp:
            os_version = self._decision.get_os_version(
                post, deadline.get_rest()
            )
        if os_version is not None:
            metadata['os_version'] = os_version
        return models.Enrollment(
            instance=post.instance,
            project=post.project,
            hostname=hostname,
            state=State.PENDING,
            image=post.image,
            metadata=metadata,
            created_at=now,
            updated_at=now,
            **columns,  # type: ignore[arg-type]
        )

    def _open(
        self,
        enrollment: models.Enrollment,
        offer: offers.Offer,
        caller: models.Caller,
        lease: outbox_rows.Lease | None,
    ) -> None:
        now = self._clock()
        self._db.write(
            lambda tx: lifecycle.open_pending(
                tx, enrollment, offer.sent, caller.request_id, now, lease
            )
        )

    def _wait(
        self,
        enrollment: models.Enrollment,
        lease: outbox_rows.Lease,
        deadline: _Deadline,
    ) -> models.Enrollment:
        """Work the row's outbox, and wait for it within the budget.

        Work that takes longer goes on, and keeps its slot until it ends: a
        backend that hangs soon makes nobody wait.
        """
        work = self._pool.submit(self._outbox.work_leased, enrollment, lease)
        work.add_done_callback(lambda _: self._slots.release())
        try:
            settled = work.result(timeout=deadline.get_rest())
            if settled is not None:
                return settled
        except TimeoutError:
            LOG.info(
                'The verdict on %s is not in yet; the outbox has it.',
                enrollment.instance,
            )
        except Exception:
            LOG.exception(
                'Work for %s failed; the outbox has it.', enrollment.instance
            )
        found = self._db.read(
            lambda tx: enrollments.find(tx, enrollment.instance)
        )
        return found or enrollment

    def _resolve(
        self,
        enrollment: models.Enrollment,
        caller: models.Caller,
        deadline: _Deadline,
    ) -> models.Enrollment | None:
        """Deal with a name that another enrollment holds.

        :returns: the row that was made, or None to try again
        """
        holder = self._find_holder(enrollment.hostname)
        if holder is None or holder.instance == enrollment.instance:
            return None
        if holder.is_living and not self._inspector.is_blind:
            finding = self._look(holder, deadline)
            holder = self._act(holder, finding, caller)
        now = self._clock()
        if holder.is_living:
            refused = dataclasses.replace(
                enrollment,
                state=State.REFUSED,
                refusal='The name %s is taken by another instance.'
                % enrollment.hostname,
            )
            self._try(
                lambda tx: lifecycle.open_refused(
                    tx, refused, caller.request_id, now
                )
            )
            return refused
        if self._try(
            lambda tx: lifecycle.open_waiting(
                tx, enrollment, caller.request_id, now
            )
        ):
            return enrollment
        return None

    def _find_holder(self, hostname: str) -> models.Enrollment | None:
        def find(tx: engine.Transaction) -> models.Enrollment | None:
            holder = names.find_holder(tx, hostname)
            return None if holder is None else enrollments.find(tx, holder)

        return self._db.read(find)

    def _try(self, function: Callable[[engine.Transaction], None]) -> bool:
        try:
            self._db.write(function)
        except engine.DuplicateRow:
            return False
        return True

    # The answer.

    def _render(
        self,
        enrollment: models.Enrollment,
        finding: inspection.Finding | None,
        offer: offers.Offer | None,
    ) -> dict[str, object]:
        state = enrollment.state
        if state is State.REFUSED:
            raise exceptions.IdentityRefused(enrollment.refusal)
        if state in (State.CLOSING, State.CLOSED):
            raise exceptions.Closed
        expired = (
            state in models.OPEN and enrollment.expires_at <= self._clock()
        )
        if expired or state in (
            State.CONTESTED,
            State.EXPIRED,
            State.SUSPENDED,
        ):
            shown = State.EXPIRED if expired else state
            return {'hostname': enrollment.hostname, 'state': shown.value}
        has_credential = state in models.OPEN
        if has_credential and not self._may_have_credential(
            enrollment, finding
        ):
            return {'hostname': enrollment.hostname, 'state': state.value}
        if offer is None:
            offer = self._offers.get(enrollment, has_credential=has_credential)
        derived = offer.credential
        return handover.render(
            self._renderer,
            enrollment.hostname,
            self._identity.get_attributes(
                enrollment.hostname, None if derived is None else derived.otp
            ),
            offer.payload,
        )

    def _may_have_credential(
        self,
        enrollment: models.Enrollment,
        finding: inspection.Finding | None,
    ) -> bool:
        if self._inspector.is_blind:
            return True
        if enrollment.epoch > 1 and (
            finding is None
            or not self._inspector.is_new_disk(enrollment, finding)
        ):
            return False
        if not self._wants_config_drive:
            return True
        server = None if finding is None else finding.server
        return (
            server is not None
            and server.has_config_drive
            and server.task_state in ('spawning', 'rebuild_spawning')
        )


def _check_project(
    enrollment: models.Enrollment, post: models.VendordataPost
) -> None:
    if enrollment.project != post.project:
        LOG.warning(
            'A post names instance %s in project %s; it is enrolled in '
            'another one.',
            enrollment.instance,
            post.project,
        )
        raise exceptions.IdentityRefused(
            'The instance belongs to another project.'
        )
