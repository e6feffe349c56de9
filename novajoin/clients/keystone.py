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
"""The session with which all OpenStack services are asked, and keystone.

One session serves all threads of a process: it keeps the token and renews
it when a service answers 401. It opens its first connection when it is first
used, so one that was made before a fork may be used after it.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import contextvars
import logging
import time
from typing import Any

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import loading
from keystoneauth1 import plugin
from keystoneauth1 import session as ksa_session
from oslo_config import cfg
import requests

from novajoin import exceptions
from novajoin import models

LOG = logging.getLogger(__name__)

#: Connections kept per peer: about as many as a process has threads.
POOL_SIZE = 64

_ends_at: contextvars.ContextVar[float | None] = contextvars.ContextVar(
    'novajoin_call_ends_at', default=None
)


@contextlib.contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Bound all HTTP requests within the block, taken together.

    Fetching a token, asking for the catalog and a second try after a 401 all
    draw on the same budget. (What counts is each wait for the peer's next
    bytes: a peer that trickles its answer can exceed the budget.)

    :param seconds: the budget
    """
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


@contextlib.contextmanager
def guard(
    peer: str,
    what: str,
    seconds: float,
    make_error: Callable[[Exception], exceptions.Unavailable],
) -> Iterator[None]:
    """Bound the time of a question and make every failure one error.

    :param peer: the service that is asked, for the log
    :param what: what it is asked for, for the log
    :param seconds: see :func:`limit_time`
    :param make_error: makes the error from what was raised
    :raises Unavailable: what *make_error* made
    """
    try:
        with limit_time(seconds):
            yield
    except Exception as error:  # noqa: BLE001 - all mean "not known"
        LOG.warning(
            '%s gave no usable answer to the question for %s: %s: %s',
            peer,
            what,
            type(error).__name__,
            error,
        )
        raise make_error(error) from error


class LimitedSession(ksa_session.Session):
    """A keystoneauth session that keeps to :func:`limit_time`.

    It logs who was asked and not what was answered: a server's document
    holds the tenant's user data.
    """

    def request(
        self, url: str, method: str, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send one request; see keystoneauth1.session.Session.request.

        :raises keystoneauth1.exceptions.ConnectTimeout: the time is over
        """
        ends_at = _ends_at.get()
        if ends_at is not None:
            remaining = ends_at - time.monotonic()
            if remaining <= 0:
                raise ksa_exceptions.ConnectTimeout(
                    'No time is left for this request.'
                )
            kwargs['timeout'] = remaining
        kwargs['log'] = False
        response = super().request(url, method, *args, **kwargs)
        LOG.debug(
            '%s %s: %s (%s)',
            method,
            response.url,
            response.status_code,
            response.headers.get('x-openstack-request-id'),
        )
        return response


class _SessionLoader(loading.session.Session):
    @property
    def plugin_class(self) -> type[ksa_session.Session]:
        return LimitedSession


def load_auth(
    conf: cfg.ConfigOpts, group: str
) -> plugin.BaseAuthPlugin | None:
    """Load the credentials that a section names; opens no connection.

    :param conf: with the section's options registered
    :param group: the section, for instance ``service_credentials``
    :returns: None when the section has no ``auth_type``
    :raises ConfigurationError: the section is incomplete or wrong
    """
    try:
        return loading.load_auth_from_conf_options(conf, group)
    except ksa_exceptions.NoMatchingPlugin as error:
        raise exceptions.ConfigurationError(
            '[%s] auth_type' % group,
            'there is no authentication plugin of that name (%s)' % error,
        ) from error
    except (
        ksa_exceptions.ClientException,
        cfg.Error,
        ValueError,
    ) as error:
        raise exceptions.ConfigurationError(
            '[%s]' % group, 'the credentials are not complete: %s' % error
        ) from error


def build_session(
    conf: cfg.ConfigOpts, group: str, auth: plugin.BaseAuthPlugin
) -> ksa_session.Session:
    """Make a session from a section's TLS options.

    :param conf: with the section's options registered
    :param group: the section, for instance ``service_credentials``
    :param auth: what :func:`load_auth` gave
    """
    session: ksa_session.Session = _SessionLoader().load_from_conf_options(
        conf, group, auth=auth
    )
    for scheme in ('http://', 'https://'):
        session.session.mount(
            scheme,
            ksa_session.TCPKeepAliveAdapter(
                pool_connections=8, pool_maxsize=POOL_SIZE
            ),
        )
    return session


def find_roles(session: ksa_session.Session) -> frozenset[str] | None:
    """Return the names of the roles that the session's account has.

    :returns: None where the credentials do not tell
    :raises keystoneauth1.exceptions.ClientException: keystone is away or
        refuses the credentials
    """
    get_access = getattr(session.auth, 'get_access', None)
    if get_access is None:
        return None
    return frozenset(get_access(session).role_names)


class Keystone:
    """Ask keystone about projects.

    :param session: what :func:`build_session` made
    :param settings: the section ``[keystone]``
    """

    def __init__(self, session: ksa_session.Session, settings: Any) -> None:
        self._settings = settings
        self._adapter = adapter.Adapter(
            session,
            service_type='identity',
            interface=settings.valid_interfaces,
            region_name=settings.region_name,
            endpoint_override=settings.endpoint_override,
            version='3',
            client_name='novajoin',
        )

    def check(self) -> None:
        """Get a token; for health only.

        :raises Unavailable: with what is wrong
        """
        with self._guard('a token'):
            self._adapter.get_token()

    def find_project(self, project: str) -> models.Project | None:
        """Return the name of a project and the domain that it is in.

        :param project: project id
        :returns: None when keystone itself answered that there is none
        :raises Unavailable: keystone gave no usable answer
        """
        with self._guard('project %s' % project):
            try:
                answer = self._adapter.get('/projects/%s' % project).json()
            except ksa_exceptions.NotFound as error:
                # A balancer's 404 does not name it.
                if error.response is None or (
                    project not in error.response.text
                ):
                    raise
                return None
            name = answer['project']['name']
            domain = answer['project']['domain_id']
            if not isinstance(name, str) or not isinstance(domain, str):
                raise TypeError('a project has a name and a domain')
            return models.Project(name, domain)

    def _guard(self, what: str) -> contextlib.AbstractContextManager[None]:
        return guard(
            'keystone', what, self._settings.timeout, _make_unavailable
        )


def _make_unavailable(error: Exception) -> exceptions.Unavailable:
    return exceptions.Unavailable(
        'The identity service (keystone) is not available.'
    )
