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
"""What happens to every request: its id, the rate, the shape of an error."""

import http
from typing import Any
from typing import Final

from oslo_context import context
from oslo_log import log as logging
from pecan import hooks
import webob
from webob import exc

from novajoin import exceptions
from novajoin.checkin import limits
from novajoin.checkin import requests

LOG = logging.getLogger(__name__)

#: Where in the WSGI environment the error of a request is kept.
_ERROR: Final = 'novajoin.error'

_LONGEST_MESSAGE: Final = 500

REALM: Final = 'Basic realm="novajoin-est"'

_FROM_STATUS: Final[dict[int, type[exceptions.NovajoinError]]] = {
    400: exceptions.BadRequest,
    404: exceptions.NotFound,
    405: exceptions.MethodNotAllowed,
}


class RequestHook(hooks.PecanHook):
    """Give the request its id, its headers and its line in the log."""

    priority = 10

    def on_route(self, state: Any) -> None:
        """Set the id for all log lines of the request."""
        context.RequestContext(request_id=state.request.id, overwrite=True)

    def after(self, state: Any) -> None:
        """Write the headers, and the line of the log."""
        request, response = state.request, state.response
        headers = response.headers
        headers['X-Openstack-Request-Id'] = request.id
        headers['X-Content-Type-Options'] = 'nosniff'
        headers.setdefault('Cache-Control', 'no-store')
        LOG.info(
            '%(address)s %(method).20s %(path).120r %(status)d%(error)s',
            {
                'address': request.environ.get('REMOTE_ADDR'),
                'method': request.method,
                'path': request.environ.get('PATH_INFO'),
                'status': response.status_int,
                'error': request.environ.get(_ERROR, ''),
            },
        )


class RateLimitHook(hooks.PecanHook):
    """Refuse who asks too often.

    :param limit: shared by the threads of this process
    :param free: paths that are not counted
    """

    priority = 20

    def __init__(self, limit: limits.RateLimit, free: frozenset[str]) -> None:
        self._limit = limit
        self._free = free

    def on_route(self, state: Any) -> None:
        """Count the request against its sender."""
        if state.request.environ.get('PATH_INFO') not in self._free:
            self._limit.take(state.request.environ.get('REMOTE_ADDR') or '')


class ErrorHook(hooks.PecanHook):
    """Turn whatever was raised into an answer; the one place that does."""

    priority = 30

    def on_error(self, state: Any, error: Exception) -> webob.Response:
        """Return the answer for an error."""
        known = _translate(error)
        if known.status >= 500 and known.reason == 'internal_error':
            LOG.error('An unexpected error', exc_info=error)
        state.request.environ[_ERROR] = ' %s: %s' % (
            known.reason,
            _clean(known.message),
        )
        return make_error(known, state.request)


def _translate(error: Exception) -> exceptions.NovajoinError:
    """Return our own error for any error."""
    if type(error) is exceptions.Unauthorized:
        # Whatever was wrong with a token, it is told in the same words.
        return exceptions.Unauthorized()
    if isinstance(error, exceptions.NovajoinError):
        return error
    if isinstance(error, exc.HTTPException):
        return _FROM_STATUS.get(error.status_int, exceptions.NovajoinError)()
    return exceptions.NovajoinError()


def render_fault(fault: Any) -> tuple[str, bytes]:
    """Put into words what is wrong with the HTTP itself.

    :param fault: has reason and message (novajoin.wsgi.server.HttpFault)
    :returns: content type and body, as those of :func:`make_error`
    """
    body = _write(fault.reason, fault.message, requests.make_id())
    return 'text/plain; charset=utf-8', body.encode()


def make_error(
    error: exceptions.NovajoinError, request: requests.Request
) -> webob.Response:
    """Return reason, message and request id on three lines of text."""
    response = webob.Response(
        status=http.HTTPStatus(error.status).value,
        content_type='text/plain',
        charset='utf-8',
        text=_write(error.reason, error.message, request.id),
    )
    if isinstance(error, exceptions.Unauthorized):
        response.headers['WWW-Authenticate'] = REALM
        if 'HTTP_AUTHORIZATION' not in request.environ:
            # Bouncy Castle's client drops the body of a challenge, and then
            # complains that less came than Content-Length said. So the
            # server sends it in chunks.
            response.content_length = None
    retry_after = getattr(error, 'retry_after', None)
    if retry_after is not None:
        response.headers['Retry-After'] = str(retry_after)
    allowed = getattr(error, 'allowed', None)
    if allowed is not None:
        response.headers['Allow'] = ', '.join(allowed)
    return response


def _write(reason: str, message: str, request_id: str) -> str:
    return '%s\n%s\n%s\n' % (reason, _clean(message), request_id)


def _clean(message: str) -> str:
    """Return a message as one line that is safe to log and to show.

    What the domain says about a request may quote it.
    """
    line = ' '.join(message[:_LONGEST_MESSAGE].split())
    return ''.join(c if c.isprintable() else '?' for c in line)
