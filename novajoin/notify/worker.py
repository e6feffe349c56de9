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
"""The worker: an oslo.service service with a thread for each kind of work.

What oslo.service asks for (its threading backend is cotyledon): the service
is made before the process forks, so everything with a thread or a connection
is made in :meth:`Worker.start`; after :meth:`Worker.stop` has returned the
process is gone, so all is finished in there; there is no reset on SIGHUP, the
process is replaced by one with the new configuration.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import datetime
import functools
import logging
import socket
import threading
import time
from typing import Any
from typing import Final
import uuid

from oslo_config import cfg
from oslo_service import service

from novajoin import models
from novajoin.db import engine
from novajoin.db import leases
from novajoin.db import processes
from novajoin.enrollment import reconciliation
from novajoin.notify import endpoints
from novajoin.notify import listener
from novajoin.notify import loop

LOG = logging.getLogger(__name__)

ROLE: Final = 'notify'


@dataclasses.dataclass(frozen=True)
class Services:
    """Everything below the worker, made within the process.

    :ivar process: id of this process, as it is in leases
    :ivar take_hint: makes durable work of a hint; takes the hint and a
        request id; returns whether the instance is one of ours; raises
        DatabaseUnavailable when that could not be done
    :ivar work_outbox: works at most so many due rows; returns how many
    :ivar sweep: compares everything living with nova
    :ivar expire: withdraws what was not used in time; returns how many
    :ivar sign_service_certificates: signs the requests of check-in
        processes; returns how many
    :ivar list_keys: returns the key ids of this process by kind
    :ivar publish_crl: publishes CRLs where they are due, or None when that
        is not for novajoin to do
    :ivar close: closes connections
    """

    database: engine.Database
    clock: Callable[[], datetime.datetime]
    process: str
    take_hint: Callable[[models.Hint, str | None], bool]
    work_outbox: Callable[[int], int]
    sweep: Callable[[], reconciliation.SweepResult]
    expire: Callable[[], int]
    sign_service_certificates: Callable[[], int]
    list_keys: Callable[[], Mapping[str, list[str]]]
    publish_crl: Callable[[], object] | None = None
    close: Callable[[], None] = lambda: None


class Worker(service.ServiceBase):
    """Listen, clean up, reconcile.

    :param conf: for oslo.messaging; its URL is checked here already
    :param settings: the section ``[notify]``
    :param build_services: called once in each process, after the fork
    :raises ConfigurationError: the transport URL is wrong
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        settings: Any,
        build_services: Callable[[], Services],
    ) -> None:
        super().__init__()
        listener.find_url(conf)
        self._conf = conf
        self._settings = settings
        self._build_services = build_services

    def start(self) -> None:
        """Make everything and begin to work; returns at once."""
        self._stopped = threading.Event()
        self._stop_lock = threading.Lock()
        try:
            self._services = self._build_services()
        except Exception:
            # oslo.service itself writes it to stderr and starts again.
            LOG.exception('The worker could not be started.')
            raise
        self._outbox_loops = [
            loop.Loop(
                'outbox-%d' % number,
                self._settings.outbox_interval,
                self._work_outbox,
            )
            for number in range(self._settings.outbox_threads)
        ]
        self._loops = [*self._outbox_loops, *self._make_loops()]
        for each in self._loops:
            each.start()
        self._listener = listener.Listener(
            self._conf,
            self._settings,
            [endpoints.InstanceEndpoint(self._take_hint)],
        )
        self._listener.start()
        LOG.info('The worker %s is at work.', self._services.process)

    def stop(self, graceful: bool = True) -> None:
        """Finish what was begun, for a bounded time; then nothing runs.

        :param graceful: oslo.service does not pass it
        """
        with self._stop_lock:
            if self._stopped.is_set():
                return
            ends_at = time.monotonic() + self._settings.shutdown_timeout
            # The last hints are written down, and acted on by whoever works
            # the outbox next.
            for each in self._loops:
                each.stop()
            self._listener.stop(max(0.0, ends_at - time.monotonic()))
            late = [
                each.name
                for each in self._loops
                if not each.join(max(0.0, ends_at - time.monotonic()))
            ]
            if late:
                LOG.warning(
                    'Not waiting any longer for %s; what it was doing is '
                    'done again by another worker.',
                    ', '.join(late),
                )
            self._services.close()
            LOG.info('The worker %s has stopped.', self._services.process)
            self._stopped.set()

    def wait(self) -> None:
        """Wait until the worker has stopped."""
        self._stopped.wait()

    def reset(self) -> None:
        """Do nothing: on SIGHUP the process is replaced."""

    def _make_loops(self) -> list[loop.Loop]:
        settings = self._settings
        services = self._services
        loops = [
            self._make_single('sweep', settings.sweep_interval, self._sweep),
            self._make_single(
                'expiry', settings.expiry_interval, self._expire
            ),
            loop.Loop('report', settings.report_interval, self._report),
            loop.Loop(
                'service-certificates',
                settings.service_certificate_interval,
                lambda: bool(services.sign_service_certificates()),
            ),
        ]
        if services.publish_crl is not None:
            loops.append(
                loop.Loop('crl', settings.crl_interval, self._publish_crl)
            )
        return loops

    def _make_single(
        self, name: str, interval: float, body: Callable[[], object]
    ) -> loop.Loop:
        """Make a loop that runs in one of all processes.

        The lease outlives the interval, so that it stays where it is; when
        its holder dies another process takes it over two intervals later.
        """
        lease = 'notify.%s' % name

        def run() -> bool:
            if self._acquire(lease, 2 * interval + 10):
                body()
            return False

        return loop.Loop(
            name,
            interval,
            run,
            farewell=functools.partial(self._release, lease),
        )

    def _acquire(self, name: str, seconds: float) -> bool:
        services = self._services
        now = services.clock()
        until = now + datetime.timedelta(seconds=seconds)
        try:
            return services.database.write(
                lambda tx: leases.acquire(
                    tx, name, services.process, until, now
                )
            )
        except engine.DuplicateRow:
            return False

    def _release(self, name: str) -> None:
        services = self._services
        services.database.write(
            lambda tx: leases.release(tx, name, services.process)
        )

    def _take_hint(self, hint: models.Hint, request_id: str | None) -> None:
        request_id = request_id or 'req-%s' % uuid.uuid4()
        if not self._services.take_hint(hint, request_id):
            return
        LOG.info(
            'nova says %s of instance %s (request %s).',
            hint.event_type,
            hint.instance,
            request_id,
        )
        self._outbox_loops[0].wake()

    def _work_outbox(self) -> bool:
        limit = self._settings.outbox_batch
        worked: int = self._services.work_outbox(limit)
        return worked >= int(limit)

    def _sweep(self) -> None:
        result = self._services.sweep()
        LOG.info(
            'A sweep compared %d enrollments with nova: %d instances are '
            'missing and %d have changed%s.',
            result.compared,
            len(result.missing),
            len(result.changed),
            ', and nothing is done about it' if result.is_braked else '',
        )

    def _expire(self) -> None:
        expired = self._services.expire()
        if expired:
            LOG.info('%d credentials expired unused.', expired)

    def _publish_crl(self) -> bool:
        if self._services.publish_crl is not None:
            self._services.publish_crl()
        return False

    def _report(self) -> bool:
        services = self._services
        keys = services.list_keys()
        now = services.clock()
        services.database.write(
            lambda tx: processes.report(
                tx, services.process, ROLE, socket.gethostname(), keys, now
            )
        )
        return False
