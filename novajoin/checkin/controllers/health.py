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
"""``/healthcheck``: for balancers and for people."""

from collections.abc import Callable
from collections.abc import Mapping
import threading
import time
from typing import Final

from oslo_log import log as logging
import pecan
import webob

from novajoin import exceptions
from novajoin.checkin import requests
from novajoin.checkin import services

LOG = logging.getLogger(__name__)

#: Anyone may ask, so the checks are not run for each who asks.
_SECONDS: Final = 2.0


class HealthController:
    """Run the checks and tell, without their details, how they went."""

    def __init__(
        self,
        parts: services.Services,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks: Mapping[str, Callable[[], str | None]] = parts.health
        self._timer = timer
        self._lock = threading.Lock()
        self._looked_at = float('-inf')
        self._failed: tuple[str, ...] = ()
        self._warned: tuple[str, ...] = ()

    @pecan.expose()
    def check(
        self, request: requests.Request, response: webob.Response
    ) -> webob.Response:
        """Answer 200 when the process can serve.

        :raises Unavailable: it cannot; names the checks that failed
        """
        with self._lock:
            if self._timer() - self._looked_at >= _SECONDS:
                self._look()
                self._looked_at = self._timer()
        if self._failed:
            raise exceptions.Unavailable(
                'Not healthy: %s.' % ', '.join(self._failed)
            )
        lines = ['OK', *('attention: %s' % name for name in self._warned)]
        return webob.Response(
            text='\n'.join(lines) + '\n',
            content_type='text/plain',
            charset='utf-8',
        )

    def _look(self) -> None:
        failed = []
        warned = []
        for name, check in self._checks.items():
            try:
                warning = check()
            except exceptions.NovajoinError as error:
                LOG.warning('Health: %s: %s', name, error.message)
                failed.append(name)
            else:
                if warning:
                    LOG.warning('Health: %s: %s', name, warning)
                    warned.append(name)
        self._failed = tuple(failed)
        self._warned = tuple(warned)
