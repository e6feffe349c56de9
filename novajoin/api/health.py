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
"""Whether this process lives, and whether it can do its work.

``/healthcheck/live`` says yes as long as the process answers; restart it when
it does not. ``/healthcheck/ready`` says whether it should be given work; take
it out of a balancer when it should not. ``/healthcheck`` says the latter and
which dependency is how. Nothing asks for a token, so nothing says more than
a word about what is wrong: that is in the log.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from concurrent import futures
import dataclasses
import threading
import time
from typing import Any
from typing import Final

from oslo_log import log as logging

from novajoin import exceptions
from novajoin.api import documents
from novajoin.api import errors

LOG = logging.getLogger(__name__)

PREFIX: Final = '/healthcheck'

#: How long an answer is good for, and how long one check may take; seconds.
_TTL: Final = 5.0
_TIMEOUT: Final = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One dependency.

    :ivar run: returns when it works and raises when it does not
    :ivar is_needed: whether the process is not ready without it; what the
        outbox makes up for later is not needed
    """

    run: Callable[[], object]
    is_needed: bool = True


class Health:
    """Look at the dependencies, each at most once at a time.

    :param checks: by name
    :param ttl: how long a result is shown again, in seconds
    :param timeout: how long all checks together may take, in seconds; one
        that takes longer counts as failed and is not started again before
        it has ended
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        ttl: float = _TTL,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._checks = dict(checks)
        self._ttl = ttl
        self._timeout = timeout
        self._lock = threading.Lock()
        self._pool: futures.ThreadPoolExecutor | None = None
        self._running: dict[str, futures.Future[object]] = {}
        self._report: dict[str, Any] = {}
        self._until = 0.0

    def get_report(self) -> dict[str, Any]:
        """Return how the dependencies are: ``is_ready`` and ``checks``.

        While one thread looks, the others get the report before.
        """
        is_first = not self._report
        if time.monotonic() >= self._until and self._lock.acquire(is_first):
            try:
                if time.monotonic() >= self._until:
                    self._report = self._look()
                    self._until = time.monotonic() + self._ttl
            finally:
                self._lock.release()
        return self._report

    def _look(self) -> dict[str, Any]:
        if self._pool is None:
            self._pool = futures.ThreadPoolExecutor(
                max_workers=max(1, len(self._checks)),
                thread_name_prefix='health',
            )
        for name, check in self._checks.items():
            if name not in self._running:
                self._running[name] = self._pool.submit(check.run)
        futures.wait(self._running.values(), timeout=self._timeout)
        checks = []
        is_ready = True
        for name, check in self._checks.items():
            status = self._get_status(name)
            checks.append(
                {
                    'name': name,
                    'status': status,
                    'is_needed': check.is_needed,
                }
            )
            is_ready = is_ready and (status == 'ok' or not check.is_needed)
        return {'is_ready': is_ready, 'checks': checks}

    def _get_status(self, name: str) -> str:
        """Return ``ok``, ``timeout`` or the reason of the failure."""
        future = self._running[name]
        if not future.done():
            LOG.warning('the health check of %s does not end', name)
            return 'timeout'
        del self._running[name]
        error = future.exception()
        if error is None:
            return 'ok'
        LOG.warning('the health check of %s failed: %s', name, error)
        if isinstance(error, exceptions.NovajoinError):
            return error.reason
        return 'failed'


class Application:
    """The WSGI application under ``/healthcheck``."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def __call__(
        self, environ: errors.Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer GET and HEAD."""
        part = environ['PATH_INFO'].removeprefix(PREFIX).rstrip('/')
        if part not in ('', '/live', '/ready'):
            raise exceptions.NotFound()
        if environ['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            raise exceptions.MethodNotAllowed()
        is_well = True
        document: dict[str, Any] = {'status': 'live'}
        if part != '/live':
            report = self._health.get_report()
            is_well = report['is_ready']
            document = {'status': 'ready' if is_well else 'not ready'}
            if part == '':
                document['checks'] = report['checks']
        body = documents.dump(document)
        # A balancer looks at the status; our shape of an error has no room
        # for what an operator wants to see here.
        environ[errors.SHAPED] = True
        start_response(
            '200 OK' if is_well else '503 Service Unavailable',
            [
                ('Content-Type', 'application/json'),
                ('Content-Length', str(len(body))),
                ('Cache-Control', 'no-store'),
            ],
        )
        return [body]
