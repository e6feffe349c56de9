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
"""The one shape of an error, and the one place that makes it.

``{"error": {"code", "message", "fault_name", "reason", "request_id"}}``: the
first three are those of novajoin 1.3.0; ``reason`` is a stable word for
programs, and ``request_id`` finds the request in the log.
"""

from collections.abc import Callable
from collections.abc import Iterable
import http
import json
from typing import Any
from typing import Final

from keystoneauth1 import exceptions as keystone_exceptions
from oslo_log import log as logging

from novajoin import exceptions

LOG = logging.getLogger(__name__)

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]

#: Set in the WSGI environment by whoever has written an error in our shape.
SHAPED: Final = 'novajoin.error'

#: Where the request's id is in the WSGI environment; oslo.context's name.
REQUEST_ID: Final = 'openstack.request_id'

_FROM_STATUS: Final[dict[int, type[exceptions.NovajoinError]]] = {
    400: exceptions.BadRequest,
    401: exceptions.Unauthorized,
    403: exceptions.Forbidden,
    404: exceptions.NotFound,
    405: exceptions.MethodNotAllowed,
    406: exceptions.NotAcceptable,
    411: exceptions.LengthRequired,
    413: exceptions.BodyTooLarge,
    415: exceptions.UnsupportedMediaType,
    503: exceptions.Unavailable,
}

#: What a library's answer may keep beside its body.
_KEPT: Final = frozenset({'allow', 'retry-after', 'www-authenticate'})


def from_status(status: int) -> exceptions.NovajoinError:
    """Return our error for the HTTP status that a library chose.

    Its own text is dropped: it may quote what must not be shown.
    """
    if status in _FROM_STATUS:
        return _FROM_STATUS[status]()
    if 400 <= status < 500:
        return exceptions.BadRequest()
    return exceptions.NovajoinError()


def from_exception(error: BaseException) -> exceptions.NovajoinError:
    """Return our error for an exception; what is not ours is logged."""
    if isinstance(error, exceptions.NovajoinError):
        if error.status == 500:
            LOG.error('a request failed', exc_info=error)
        return error
    LOG.error('a request failed unexpectedly', exc_info=error)
    if isinstance(error, keystone_exceptions.ClientException):
        # The domain's clients turn theirs into errors of ours, so this is
        # keystonemiddleware, which cannot ask keystone.
        return exceptions.Unavailable('The identity service cannot be asked.')
    return exceptions.NovajoinError()


def render(
    code: int, reason: str, fault_name: str, message: str, request_id: str
) -> bytes:
    """Return the body of an error."""
    return json.dumps(
        {
            'error': {
                'code': code,
                'message': message,
                'fault_name': fault_name,
                'reason': reason,
                'request_id': request_id,
            }
        }
    ).encode('ascii')


def respond(
    error: exceptions.NovajoinError, environ: Environ
) -> tuple[str, Headers, bytes]:
    """Return status line, headers and body for an error."""
    environ[SHAPED] = True
    body = render(
        error.status,
        error.reason,
        error.fault_name,
        error.message,
        environ.get(REQUEST_ID, ''),
    )
    headers = [
        ('Content-Type', 'application/json'),
        ('Content-Length', str(len(body))),
        ('Cache-Control', 'no-store'),
    ]
    retry_after = getattr(error, 'retry_after', None)
    if retry_after is not None:
        headers.append(('Retry-After', str(int(retry_after))))
    status = '%d %s' % (error.status, http.HTTPStatus(error.status).phrase)
    return status, headers, body


class Shaper:
    """Give every error below the one shape.

    Exceptions that nobody answered become answers, and answers that a
    library wrote itself (keystonemiddleware's 401 and 503) get our body.

    :param application: what is below
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(
        self, environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        replacement: list[bytes] = []

        def start(
            status: str, headers: Headers, exc_info: Any = None
        ) -> Callable[[bytes], object]:
            code = int(status[:3])
            if code < 400 or SHAPED in environ:
                write: Callable[[bytes], object] = start_response(
                    status, headers, exc_info
                )
                return write
            line, ours, body = respond(from_status(code), environ)
            names = {name.lower() for name, _ in ours}
            ours += [
                (name, value)
                for name, value in headers
                if name.lower() in _KEPT - names
            ]
            replacement.append(body)
            start_response(line, ours, exc_info)
            return len  # the write() of old: what comes is thrown away

        try:
            body = self._application(environ, start)
        except Exception as error:  # noqa: BLE001 the last one to catch it
            line, headers, data = respond(from_exception(error), environ)
            start_response(line, headers)
            return [data]
        if replacement:
            close = getattr(body, 'close', None)
            if close is not None:
                close()
            return replacement
        return body
