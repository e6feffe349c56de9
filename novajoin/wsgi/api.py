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
"""The control plane for another WSGI server: uWSGI, gunicorn, mod_wsgi.

::

    uwsgi --module novajoin.wsgi.api:application --lazy-apps --need-app …
    gunicorn novajoin.wsgi.api:application

join.conf is looked for in the usual places; the command line belongs to the
server. Under such a server it is the server that has to end TLS and, with
``auth_strategy = noauth``, to listen on a loopback address only; the
application refuses what comes from elsewhere.
"""

from collections.abc import Callable
from collections.abc import Iterable
import sys
import threading
from typing import Any

from oslo_log import log as logging

from novajoin import context
from novajoin import exceptions
from novajoin.api import errors
from novajoin.cmd import assembly
from novajoin.cmd import configuration
from novajoin.cmd import server

LOG = logging.getLogger(__name__)


def build() -> errors.Application:
    """Read join.conf and make the application.

    :raises ConfigurationError: a setting is wrong
    :raises DatabaseUnavailable: the embedded database cannot be made
    """
    conf = configuration.make_conf()
    configuration.read(conf, [])
    configuration.set_up_log(conf)
    server.validate(conf)
    assembly.Assembly(conf).prepare()
    return server.Service(conf).make_application()


class LazyApplication:
    """An application that is made when it is called for the first time.

    What it is made of, threads and connections, must not be made before the
    server has forked.

    :param factory: makes it; tried again with each request while it fails
    """

    def __init__(self, factory: Callable[[], errors.Application]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._application: errors.Application | None = None

    def make(self) -> errors.Application:
        """Return the application, made now if it was not before."""
        with self._lock:
            if self._application is None:
                self._application = self._factory()
            return self._application

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        application = self._application
        if application is None:
            try:
                application = self.make()
            except exceptions.NovajoinError as error:
                LOG.critical('the service cannot start: %s', error.message)
                environ[errors.REQUEST_ID] = context.make_request_id()
                status, headers, body = errors.respond(
                    exceptions.Unavailable(
                        'The service cannot start; its log says why.'
                    ),
                    environ,
                )
                start_response(status, headers)
                return [body]
        return application(environ, start_response)


application = LazyApplication(build)

# Inside uWSGI only there is a module of this name. In a worker (lazy-apps) a
# bad setting stops it before it serves; in the master nothing may be made.
if 'uwsgi' in sys.modules and sys.modules['uwsgi'].worker_id() > 0:
    application.make()
