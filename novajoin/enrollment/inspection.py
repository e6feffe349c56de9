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
"""Look at nova: what it says decides, never what a notification claims."""

from collections.abc import Callable
import dataclasses
import datetime
from typing import Final

from novajoin import exceptions
from novajoin import models
from novajoin.clients import base as clients_base
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.enrollment import generations
from novajoin.enrollment import lifecycle
from novajoin.enrollment import naming

State = models.State

#: Task states of nova in which a rebuilt instance gets its new disk.
_SPAWNING: Final = frozenset(
    {'rebuilding', 'rebuild_block_device_mapping', 'rebuild_spawning'}
)

#: Nova's clock may be so far from ours. A rebuild that itself led to the
#: enrollment must not be taken for a later one, nor the other way round.
_SKEW: Final = datetime.timedelta(seconds=5)


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What nova says about an instance.

    :ivar server: None when nova has no such instance
    :ivar rebuild: the newest rebuild, or None
    :ivar hostname: the name that a rebuild, new to the row, gives the
        instance; None for none, or where nova has a name that cannot be one
    """

    server: models.Server | None
    rebuild: models.Rebuild | None
    hostname: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """Whether nova confirms uuid, project and hostname.

    :ivar refusal: why not, or None when it does
    :ivar rebuild: the newest rebuild that was before the enrollment
    :ivar later: what was found, where it was rebuilt since the enrollment
    """

    refusal: str | None = None
    rebuild: models.Rebuild | None = None
    later: Finding | None = None


class Inspector:
    """Compare enrollments with nova and act on the difference."""

    def __init__(
        self,
        compute: clients_base.ComputeClient,
        naming_: naming.Naming,
        generations_: generations.Generations,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._compute = compute
        self._naming = naming_
        self._generations = generations_
        self._clock = clock

    @property
    def is_blind(self) -> bool:
        """Whether there is no nova to ask."""
        return self._compute.is_null

    def look(self, enrollment: models.Enrollment, timeout: float) -> Finding:
        """Ask nova about an instance.

        :param timeout: seconds for each of two calls
        :raises ComputeUnavailable: nothing is known
        """
        # In this order: the server is as nova has it after the rebuild was
        # accepted, so that a server which is doing nothing has its new disk.
        rebuild = self._compute.find_rebuild(
            enrollment.instance, timeout=timeout
        )
        server = self._compute.find_server(
            enrollment.instance, timeout=timeout
        )
        if server is None:
            return Finding(None, None)
        finding = Finding(server, rebuild)
        if self.find_new_rebuild(enrollment, finding) is None:
            return finding
        # Names are fixed for an epoch; a rename takes effect at the next.
        try:
            hostname = self._naming.get_fqdn(
                server.hostname, enrollment.project
            )
        except exceptions.InvalidHostname:
            return finding
        return dataclasses.replace(finding, hostname=hostname)

    def verify(self, enrollment: models.Enrollment, timeout: float) -> Verdict:
        """Ask nova to confirm uuid, project and hostname (transition 3).

        :raises ComputeUnavailable: nothing is known
        """
        if self.is_blind:
            return Verdict()
        finding = self.look(enrollment, timeout)
        server = finding.server
        if server is None or server.status == 'DELETED':
            return Verdict('Nova does not know the instance.')
        if server.project != enrollment.project:
            return Verdict('The instance belongs to another project.')
        try:
            hostname = self._naming.get_fqdn(server.hostname, server.project)
        except exceptions.InvalidHostname as exc:
            return Verdict(exc.message)
        if hostname != enrollment.hostname:
            return Verdict(
                'The instance has another hostname in nova than in the post.'
            )
        if self.find_new_rebuild(enrollment, finding) is not None:
            return Verdict(later=finding)
        return Verdict(rebuild=finding.rebuild)

    def find_new_rebuild(
        self, enrollment: models.Enrollment, finding: Finding
    ) -> models.Rebuild | None:
        """Return the rebuild that the row does not know of, or None.

        Nova tells the second in which a rebuild began, and an instance may
        be enrolled and rebuilt within one.
        """
        rebuild = finding.rebuild
        if rebuild is None or rebuild.request_id == enrollment.rebuild_id:
            return None
        if enrollment.rebuild_at is not None:
            is_new = rebuild.started_at >= enrollment.rebuild_at
        elif enrollment.nova_confirmed:
            # When nova confirmed the row there was no rebuild.
            is_new = rebuild.started_at > enrollment.created_at - _SKEW
        else:
            is_new = rebuild.started_at > enrollment.created_at + _SKEW
        return rebuild if is_new else None

    def is_new_disk(
        self, enrollment: models.Enrollment, finding: Finding
    ) -> bool:
        """Whether who reads the metadata now is the rebuilt machine.

        The old guest can read metadata for some seconds after nova has
        accepted a rebuild; it must not get the new credential.
        """
        server = finding.server
        if server is None or enrollment.rebuild_at is None:
            return False
        if server.task_state == 'rebuild_spawning':
            return True
        return (
            server.task_state not in _SPAWNING
            and server.launched_at is not None
            and server.launched_at >= enrollment.rebuild_at
        )

    def differs(self, enrollment: models.Enrollment, finding: Finding) -> bool:
        """Whether :meth:`act` has something to do."""
        if not enrollment.is_living:
            return False
        server = finding.server
        if server is None or server.status == 'DELETED':
            return True
        is_suspended = enrollment.state is State.SUSPENDED
        if server.status == 'SOFT_DELETED' or is_suspended:
            return (server.status == 'SOFT_DELETED') != is_suspended
        return self.find_new_rebuild(enrollment, finding) is not None

    def act(
        self,
        tx: engine.Transaction,
        enrollment: models.Enrollment,
        finding: Finding,
        request_id: str | None,
    ) -> models.Enrollment | None:
        """Bring an enrollment into agreement with what nova says.

        :param tx: the transaction to act in
        :param enrollment: the row, locked in this transaction
        :returns: the row as it is now, None where nothing was to be done
        :raises KeyUnavailable: a new epoch needs a key that is not there
        """
        now = self._clock()
        server = finding.server
        if server is None or server.status == 'DELETED':
            done = lifecycle.close(
                tx, enrollment, 'gone from nova', request_id, now
            )
        elif server.status == 'SOFT_DELETED':
            done = lifecycle.suspend(tx, enrollment, request_id, now)
        else:
            done = lifecycle.restore(tx, enrollment, request_id, now)
            if done:
                enrollment = (
                    enrollments.find(tx, enrollment.instance) or enrollment
                )
            rebuild = self.find_new_rebuild(enrollment, finding)
            if rebuild is not None and enrollment.is_living:
                done = (
                    self._start_epoch(
                        tx, enrollment, finding.hostname, rebuild, request_id
                    )
                    is not None
                )
        return enrollments.find(tx, enrollment.instance) if done else None

    def _start_epoch(
        self,
        tx: engine.Transaction,
        enrollment: models.Enrollment,
        hostname: str | None,
        rebuild: models.Rebuild,
        request_id: str | None,
    ) -> models.Enrollment | None:
        columns: dict[str, object] = {
            'rebuild_id': rebuild.request_id,
            'rebuild_at': rebuild.started_at,
        }
        work: list[tuple[models.Operation, str]]
        if hostname is not None and hostname != enrollment.hostname:
            columns.update(
                hostname=hostname, host_id=None, nova_confirmed=None
            )
            work = [(models.Operation.NAME_CLAIM, ''), *lifecycle.VERDICTS]
            if enrollment.host_id is not None:
                work.insert(
                    0, (models.Operation.IDENTITY_REMOVE, enrollment.host_id)
                )
        elif not lifecycle.holds_name(tx, enrollment):
            columns['nova_confirmed'] = None
            work = [(models.Operation.NAME_CLAIM, ''), *lifecycle.VERDICTS]
        elif hostname is None:
            # Nova has a name by now that is none: its verdict says so.
            columns['nova_confirmed'] = None
            work = list(lifecycle.VERDICTS)
        else:
            columns['nova_confirmed'] = True
            work = [(models.Operation.IDENTITY_ENSURE, '')]
        return self._generations.open(
            enrollment.instance,
            enrollment.epoch + 1,
            1,
            lambda fresh: lifecycle.reopen(
                tx,
                enrollment,
                {**fresh, **columns},
                work,
                request_id,
                self._clock(),
                {'rebuild': rebuild.request_id},
            ),
        )
