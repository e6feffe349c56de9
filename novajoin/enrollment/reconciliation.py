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
"""Bring enrollments and nova into agreement, and end what has expired."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import datetime
from typing import Final
from typing import NamedTuple

from oslo_log import log as logging

from novajoin import models
from novajoin.clients import base as clients_base
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import events
from novajoin.db import outbox
from novajoin.enrollment import lifecycle

LOG = logging.getLogger(__name__)

State = models.State

#: Nova's clock may be so far behind ours.
_SKEW: Final = datetime.timedelta(minutes=1)

#: Nova says so long after the post, at most, that it has launched an instance.
_BUILD: Final = datetime.timedelta(minutes=10)

#: States that a sweep compares with nova.
_SWEPT = models.LIVING


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How a sweep is made.

    :ivar page: servers and enrollments that are read at a time
    :ivar call_timeout: seconds for one call to nova
    :ivar most_missing: a sweep that misses more instances than this, and
        more than ``most_missing_share`` of all, acts on none
    :ivar most_missing_share: from 0 to 1
    """

    page: int = 500
    call_timeout: float = 60.0
    most_missing: int = 10
    most_missing_share: float = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """An enrollment that nova's list does not agree with.

    :ivar status: nova's word for the instance's condition; None where the
        list does not have it
    """

    instance: str
    hostname: str
    state: models.State
    status: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found.

    :ivar compared: how many living enrollments there are
    :ivar missing: of them, those that nova's list does not have
    :ivar changed: of them, those that nova shows in another condition, or
        that have been launched since, which a rebuild does too
    :ivar is_braked: too many were missing: nothing is to be done
    """

    compared: int
    missing: tuple[Difference, ...] = ()
    changed: tuple[Difference, ...] = ()
    is_braked: bool = False


class _Present(NamedTuple):
    """What a sweep keeps of nova's list."""

    status: str
    launched_at: datetime.datetime | None


class Reconciliation:
    """Notice what happened to instances, by notification or by looking."""

    def __init__(
        self,
        database: engine.Database,
        compute: clients_base.ComputeClient,
        settings: Settings,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._db = database
        self._compute = compute
        self._settings = settings
        self._clock = clock
        self._swept_at: datetime.datetime | None = None

    def take_hint(self, hint: models.Hint, request_id: str | None) -> bool:
        """Make work of a notification, durably, and at once if it is new.

        The notification is believed in nothing: the work is to look at
        nova. Instances that are unknown or closed cost one read.

        :returns: whether the instance is one of ours, and there is
            something to look at
        :raises DatabaseUnavailable: the hint must be given again
        """
        if self._compute.is_null and hint.kind != 'delete':
            # Without a nova, to look is to find nothing: that would end the
            # enrollment.
            LOG.warning(
                'There is no nova to ask about the %s of instance %s.',
                hint.event_type,
                hint.instance,
            )
            return False
        return self._put_look(hint.instance, request_id)

    def _put_look(self, instance: str, request_id: str | None) -> bool:
        enrollment = self._db.read(lambda tx: enrollments.find(tx, instance))
        if enrollment is None or not enrollment.is_living:
            return False
        now = self._clock()
        try:
            self._db.write(
                lambda tx: outbox.put(
                    tx,
                    enrollment,
                    models.Operation.NOVA_LOOK,
                    now,
                    request_id=request_id,
                )
            )
        except engine.DuplicateRow:
            # The same hint in nova's other format, at the same moment.
            return True
        return True

    def sweep(self, request_id: str | None = None) -> SweepResult:
        """Compare every living enrollment with nova, and act on it.

        What is missing or in another condition is looked at one by one
        through the outbox, where nova is asked again before anything is
        deleted.

        :raises ComputeUnavailable: nothing was done
        :raises DatabaseUnavailable: likewise
        """
        began = self._clock()
        result = self.compare()
        if result.is_braked:
            LOG.error(
                'The sweep misses %d of %d enrolled instances in nova; '
                'nothing is deleted. Look at nova, or raise [notify] '
                'sweep_most_missing.',
                len(result.missing),
                result.compared,
            )
            self._record_brake(result, request_id)
            return result
        for difference in result.missing + result.changed:
            self._put_look(difference.instance, request_id)
        self._swept_at = began
        return result

    def compare(self) -> SweepResult:
        """Compare every living enrollment with nova's list of servers.

        :raises ComputeUnavailable: nova does not give its list
        :raises DatabaseUnavailable: the database is away
        """
        if self._compute.is_null:
            return SweepResult(0)
        began = self._clock()
        present = self._list_present()
        compared = 0
        missing: list[Difference] = []
        changed: list[Difference] = []
        for enrollment in self._iterate_living():
            if enrollment.created_at >= began:
                continue
            compared += 1
            server = present.get(enrollment.instance)
            difference = Difference(
                enrollment.instance,
                enrollment.hostname,
                enrollment.state,
                None if server is None else server.status,
            )
            # Nova's list leaves out what is soft-deleted, so that this is
            # no sign of a wrong answer.
            if server is None and enrollment.state is not State.SUSPENDED:
                missing.append(difference)
            elif server is None or self._has_changed(enrollment, server):
                changed.append(difference)
        result = SweepResult(compared, tuple(missing), tuple(changed))
        return dataclasses.replace(
            result, is_braked=self._is_too_much(result, present)
        )

    def _has_changed(
        self, enrollment: models.Enrollment, server: _Present
    ) -> bool:
        is_suspended = enrollment.state is State.SUSPENDED
        if (server.status == 'SOFT_DELETED') != is_suspended:
            return True
        if server.status == 'REBUILD':
            return True
        # A rebuild launches the instance, and so do evacuation, resize and
        # unshelving: a sweep looks at what was launched since the last one.
        # The first knows of none, and leaves alone what was just built.
        known = enrollment.rebuild_at or enrollment.created_at
        if self._swept_at is None:
            known += _BUILD
        else:
            known = max(known, self._swept_at) - _SKEW
        return server.launched_at is not None and server.launched_at > known

    def _list_present(self) -> dict[str, _Present]:
        present: dict[str, _Present] = {}
        marker = None
        while True:
            page = self._compute.list_servers(
                marker=marker,
                limit=self._settings.page,
                timeout=self._settings.call_timeout,
            )
            if not page:
                return present
            for server in page:
                present[server.instance] = _Present(
                    server.status, server.launched_at
                )
            if page[-1].instance == marker:
                return present
            marker = page[-1].instance

    def _iterate_living(self) -> Iterator[models.Enrollment]:
        """Yield all living enrollments, holding one page at a time."""
        marker = None
        while True:
            after = marker
            page = self._db.read(
                lambda tx, after=after: enrollments.list_in_states(  # type: ignore[misc]
                    tx, _SWEPT, limit=self._settings.page, marker=after
                )
            )
            if not page:
                return
            yield from page
            marker = page[-1].instance

    def _is_too_much(
        self, result: SweepResult, present: dict[str, _Present]
    ) -> bool:
        missing = len(result.missing)
        if missing and not present:
            # An empty answer is not "all gone".
            return True
        return (
            missing > self._settings.most_missing
            and missing > self._settings.most_missing_share * result.compared
        )

    def _record_brake(
        self, result: SweepResult, request_id: str | None
    ) -> None:
        now = self._clock()
        self._db.write(
            lambda tx: events.insert(
                tx,
                'sweep.braked',
                now,
                request_id=request_id,
                detail={
                    'compared': result.compared,
                    'missing': len(result.missing),
                },
            )
        )

    def expire(self, *, limit: int = 1000) -> int:
        """End generations that nobody redeemed in time (transition 7).

        :param limit: at most this many at a time
        :returns: how many
        :raises DatabaseUnavailable: try again
        """
        now = self._clock()
        rows = self._db.read(
            lambda tx: enrollments.list_expired(tx, now, limit=limit)
        )
        return sum(
            self._db.write(
                lambda tx, row=row: lifecycle.expire(tx, row, None, now)  # type: ignore[misc]
            )
            for row in rows
        )
