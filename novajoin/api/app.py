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
"""The control plane's application: everything between server and handler."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import io
import time
from typing import Any
from typing import Final

from keystoneauth1 import exceptions as keystone_exceptions
from keystonemiddleware import auth_token
from oslo_config import cfg
from oslo_log import log as logging
from oslo_middleware import http_proxy_to_wsgi

from novajoin import context
from novajoin import exceptions
from novajoin.api import documents
from novajoin.api import errors
from novajoin.api import health
from novajoin.api import hooks
from novajoin.api import requests
from novajoin.api import services
from novajoin.api.controllers import join
from novajoin.api.controllers import resource
from novajoin.api.controllers import version

LOG = logging.getLogger(__name__)

#: What clients read before they have a token, to find the versions.
_OPEN: Final = frozenset({'', '/', '/v1', '/v1/'})

#: Loopback addresses as WSGI servers write a peer's.
_LOOPBACK: Final = ('127.', '::1', '::ffff:127.')


def build(
    parts: services.Services, settings: services.Settings
) -> errors.Application:
    """Return the WSGI application.

    From the outside to the inside, and why in this order:

    1. *proxy headers*: what follows logs and links with the right names
    2. *request id and log*: everything below has an id, and every request
       has its line, also one that is refused
    3. *shape*: whatever anybody below raises or answers as an error leaves
       in the one shape
    4. *health*: asks for no token and has to work without keystone
    5. *body*: bounded before anybody, keystonemiddleware included, reads it
    6. *authentication*: keystonemiddleware, or nobody on ``noauth``; the
       versions are open
    7. *context*: the caller in our words
    8. *Pecan*: resources, schemas, policies, handlers; its errors are
       answered by a hook

    :param parts: what it works with
    """
    v1 = join.JoinResource(parts, settings)
    application: errors.Application = resource.Application(
        version.VersionsResource(v1),
        default_renderer='json',
        force_canonical=False,
        guess_content_type_from_ext=False,
        hooks=[hooks.ErrorHook()],
        request_cls=requests.Request,
    )
    application = Context(application, settings.vendordata_user_ids)
    anonymous = application
    if settings.is_noauth:
        LOG.warning(
            'auth_strategy is noauth: everybody who reaches this process is '
            'an administrator; only this machine is answered'
        )
        application = NoAuth(application)
    else:
        application = _make_authentication(application, settings.conf)
    application = Dispatcher(
        application,
        anonymous,
        health.Application(health.Health(parts.checks)),
        settings.max_body,
    )
    application = errors.Shaper(application)
    application = RequestLog(application)
    if settings.has_proxy:
        application = http_proxy_to_wsgi.HTTPProxyToWSGI(
            application, settings.conf
        )
    return application


def validate(conf: cfg.ConfigOpts) -> None:
    """Check what keystonemiddleware is told, before anything listens.

    :raises ConfigurationError: it cannot check tokens
    """
    _make_authentication(None, conf)
    if not conf.keystone_authtoken.auth_type:
        raise exceptions.ConfigurationError(
            '[keystone_authtoken] auth_type',
            'without an account in this section tokens cannot be checked; '
            'set it, or auth_strategy = noauth to try novajoin out',
        )


def _make_authentication(
    application: errors.Application | None, conf: cfg.ConfigOpts
) -> errors.Application:
    try:
        layer: errors.Application = auth_token.AuthProtocol(
            application, {'oslo_config_config': conf}
        )
    except (keystone_exceptions.ClientException, cfg.Error) as error:
        raise exceptions.ConfigurationError(
            '[keystone_authtoken] auth_type', str(error)
        ) from error
    return layer


class RequestLog:
    """Give each request an id, and write a line for it.

    oslo.middleware has the same as two layers, each of which parses the
    request again; this runs for each of nova's posts.
    """

    def __init__(self, application: errors.Application) -> None:
        self._application = application

    def __call__(
        self, environ: errors.Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        begun = time.monotonic()
        request_id = context.make_request_id()
        environ[errors.REQUEST_ID] = request_id
        global_id = context.find_request_id(
            environ.get('HTTP_X_OPENSTACK_REQUEST_ID')
        )
        if global_id is not None:
            environ['openstack.global_request_id'] = global_id
        # Log lines of the layers above the context have the id too.
        context.RequestContext(
            request_id=request_id, global_request_id=global_id
        )
        method = environ['REQUEST_METHOD']
        path = environ['PATH_INFO']

        def start(
            status: str, headers: errors.Headers, exc_info: Any = None
        ) -> Any:
            headers.append(('X-Openstack-Request-Id', request_id))
            headers.append(('X-Content-Type-Options', 'nosniff'))
            LOG.info(
                '%s %s %s from %s in %.4f s',
                documents.quote(method),
                documents.quote(path),
                status[:3],
                environ.get('REMOTE_ADDR', '-'),
                time.monotonic() - begun,
            )
            return start_response(status, headers, exc_info)

        return self._application(environ, start)


class Dispatcher:
    """Bound the body and choose who answers: health, versions, or the rest.

    :param application: asks for a token
    :param anonymous: the same without asking
    :param health_application: answers below ``/healthcheck``
    :param max_body: bytes
    """

    def __init__(
        self,
        application: errors.Application,
        anonymous: errors.Application,
        health_application: errors.Application,
        max_body: int,
    ) -> None:
        self._application = application
        self._anonymous = anonymous
        self._health = health_application
        self._max_body = max_body

    def __call__(
        self, environ: errors.Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ['PATH_INFO']
        if path == health.PREFIX or path.startswith(health.PREFIX + '/'):
            return self._health(environ, start_response)
        _check_path(path)
        self._bound_body(environ)
        if path in _OPEN and environ['REQUEST_METHOD'] in ('GET', 'HEAD'):
            _drop_identity(environ)
            environ[requests.IS_OPEN] = True
            return self._anonymous(environ, start_response)
        return self._application(environ, start_response)

    def _bound_body(self, environ: errors.Environ) -> None:
        """Read the whole body and put it back as bytes in memory.

        :raises BodyTooLarge: it is larger than any request needs
        :raises LengthRequired: nothing says where it ends
        :raises UnsupportedMediaType: it is compressed
        :raises BadRequest: it does not come to its end
        """
        length = _get_length(environ)
        if length is None and not environ.get('wsgi.input_terminated'):
            raise exceptions.LengthRequired()
        if length == 0:
            environ['CONTENT_LENGTH'] = '0'
            environ['wsgi.input'] = io.BytesIO()
            return
        if length is not None and length > self._max_body:
            raise self._make_refusal()
        if environ.get('HTTP_CONTENT_ENCODING', 'identity') != 'identity':
            raise exceptions.UnsupportedMediaType(
                'A compressed body is not taken; send it as it is.'
            )
        body = _read(
            environ['wsgi.input'],
            self._max_body + 1 if length is None else length,
        )
        if len(body) > self._max_body:
            raise self._make_refusal()
        if length is not None and len(body) < length:
            raise exceptions.BadRequest(
                'The body ended after %d of %d bytes.' % (len(body), length)
            )
        environ['CONTENT_LENGTH'] = str(len(body))
        environ['wsgi.input'] = io.BytesIO(body)

    def _make_refusal(self) -> exceptions.BodyTooLarge:
        return exceptions.BodyTooLarge(
            'The body is larger than %d bytes.' % self._max_body
        )


def _check_path(path: str) -> None:
    """Refuse a path that is no text.

    :raises BadRequest: it is not UTF-8 once it is unquoted
    """
    if path.isascii():
        return
    try:
        path.encode('latin-1').decode('utf-8')
    except UnicodeError:
        raise exceptions.BadRequest('The path is not UTF-8.') from None


def _get_length(environ: errors.Environ) -> int | None:
    """Return the body's length; None when it comes in chunks.

    :raises BadRequest: the length is no number
    """
    if environ.get('HTTP_TRANSFER_ENCODING'):
        return None
    text = environ.get('CONTENT_LENGTH') or '0'
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise exceptions.BadRequest('The Content-Length is not a number.')
    return int(text)


def _read(stream: Any, size: int) -> bytes:
    """Read so many bytes, or all that there are.

    :raises BadRequest: they do not come, or not in proper chunks
    """
    chunks = []
    try:
        while size > 0:
            chunk = stream.read(size)
            if not chunk:
                break
            chunks.append(chunk)
            size -= len(chunk)
    except Exception as error:  # noqa: BLE001 each server has its own
        LOG.info('a body could not be read: %s', type(error).__name__)
        raise exceptions.BadRequest(
            'The body could not be read to its end.'
        ) from error
    return b''.join(chunks)


class NoAuth:
    """Take everybody on this machine for an administrator and for nova.

    The server refuses to listen elsewhere. This looks again, because under
    another server (uWSGI, gunicorn) nothing else does.
    """

    def __init__(self, application: errors.Application) -> None:
        self._application = application

    def __call__(
        self, environ: errors.Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        peer = environ.get('REMOTE_ADDR', '')
        # A socket in the file system has no address.
        if peer and not peer.startswith(_LOOPBACK):
            raise exceptions.Forbidden(
                'auth_strategy is noauth: only this machine is answered.'
            )
        if 'HTTP_X_FORWARDED_FOR' in environ or 'HTTP_FORWARDED' in environ:
            raise exceptions.Forbidden(
                'auth_strategy is noauth: what a proxy passes on is not '
                'answered.'
            )
        _drop_identity(environ)
        environ.update(_NOBODY)
        return self._application(environ, start_response)


#: As keystonemiddleware would describe the administrator of ``noauth``.
_NOBODY: Final = {
    requests.IS_NOAUTH: True,
    'HTTP_X_IDENTITY_STATUS': 'Confirmed',
    'HTTP_X_USER_ID': 'noauth',
    'HTTP_X_USER_NAME': 'noauth',
    'HTTP_X_PROJECT_ID': 'noauth',
    'HTTP_X_ROLES': 'admin,manager,member,reader,service',
}


class Context:
    """Put the caller into the environment, in our words.

    :param vendordata_user_ids: who may post; the user of ``noauth`` always
        may
    """

    def __init__(
        self,
        application: errors.Application,
        vendordata_user_ids: frozenset[str],
    ) -> None:
        self._application = application
        self._user_ids = vendordata_user_ids

    def __call__(
        self, environ: errors.Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if (
            environ.get('HTTP_X_IDENTITY_STATUS') != 'Confirmed'
            and requests.IS_OPEN not in environ
        ):
            # keystonemiddleware lets everybody through when its
            # delay_auth_decision is set.
            raise exceptions.Unauthorized()
        environ[requests.CONTEXT] = context.RequestContext(
            request_id=environ[errors.REQUEST_ID],
            global_request_id=environ.get('openstack.global_request_id'),
            is_vendordata_user=self._is_vendordata_user(environ),
            **_read_identity(environ),
        )
        return self._application(environ, start_response)

    def _is_vendordata_user(self, environ: Mapping[str, Any]) -> bool:
        return requests.IS_NOAUTH in environ or (
            context.is_vendordata_user(environ, self._user_ids)
        )


def _drop_identity(environ: errors.Environ) -> None:
    """Forget what the client says about itself."""
    for name in list(environ):
        if name.startswith(('HTTP_X_', 'HTTP_OPENSTACK_')):
            del environ[name]


def _read_identity(environ: Mapping[str, Any]) -> dict[str, Any]:
    """Return who calls, from what keystonemiddleware left.

    The token itself stays behind: nothing needs it, and what is not there
    cannot get into a log.
    """
    get = environ.get
    roles = get('HTTP_X_ROLES') or ''
    identity = {
        'user_id': get('HTTP_X_USER_ID'),
        'user_name': get('HTTP_X_USER_NAME'),
        'user_domain_id': get('HTTP_X_USER_DOMAIN_ID'),
        'project_id': get('HTTP_X_PROJECT_ID'),
        'project_name': get('HTTP_X_PROJECT_NAME'),
        'project_domain_id': get('HTTP_X_PROJECT_DOMAIN_ID'),
        'domain_id': get('HTTP_X_DOMAIN_ID'),
        'system_scope': get('HTTP_OPENSTACK_SYSTEM_SCOPE'),
        'roles': [role.strip() for role in roles.split(',') if role.strip()],
    }
    if 'HTTP_X_SERVICE_ROLES' in environ:
        identity['service_user_id'] = get('HTTP_X_SERVICE_USER_ID')
        identity['service_roles'] = environ['HTTP_X_SERVICE_ROLES'].split(',')
    return identity
