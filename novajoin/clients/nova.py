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
"""Ask nova about instances, through python-novaclient.

The account must be nova's ``admin``: others do not see the servers of other
projects, and to them nova answers 404, just as if the server were gone. A
404 is therefore believed only once nova has shown by a list over all projects
that it does answer this account for everybody.
"""

from collections.abc import Mapping
import contextlib
import datetime
from typing import Any

from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import session as ksa_session
from novaclient import client as nova_client
from novaclient import exceptions as nova_exceptions

from novajoin import exceptions
from novajoin import models
from novajoin.clients import base
from novajoin.clients import keystone

#: What nova is asked in (Queens and later): instance actions in pages, of
#: deleted servers too. A later one is of no use: from 2.69 a server in a cell
#: that is down is answered with half of its attributes instead of an error.
MICROVERSION = '2.58'

#: Instance actions per page; a rebuild is searched for through all pages.
ACTIONS_PER_PAGE = 100

_MAX_ACTION_PAGES = 100


class Nova(base.ComputeClient):
    """The compute service of an OpenStack cloud.

    :param session: what ``clients.keystone.build_session`` made
    :param settings: the section ``[nova]``
    """

    def __init__(self, session: ksa_session.Session, settings: Any) -> None:
        self._settings = settings
        self._nova = nova_client.Client(
            MICROVERSION,
            session=session,
            service_type=settings.service_type,
            endpoint_type=settings.valid_interfaces,
            region_name=settings.region_name,
            endpoint_override=settings.endpoint_override,
            connect_retries=settings.connect_retries,
        )

    def check(self) -> None:
        """Ask for one server of any project; see the base class."""
        with _guard('a list of servers', self._settings.timeout):
            self._nova.servers.list(
                search_opts={'all_tenants': 1}, limit=1, detailed=True
            )

    def find_server(
        self, instance: str, *, timeout: float
    ) -> models.Server | None:
        """Return what nova says about an instance; see the base class."""
        with _guard('server %s' % instance, timeout):
            try:
                answer = self._nova.servers.get(instance)
            except nova_exceptions.NotFound as error:
                self._confirm_absence(instance, error)
                return None
            return _parse_server(answer.to_dict(), instance)

    def find_rebuild(
        self, instance: str, *, timeout: float
    ) -> models.Rebuild | None:
        """Return the newest rebuild; see the base class.

        nova gives the newest action first. The action of an evacuation is
        ``evacuate``, although its notifications say ``rebuild``.
        """
        with _guard('the actions of server %s' % instance, timeout):
            marker = None
            for _ in range(_MAX_ACTION_PAGES):
                try:
                    page = self._nova.instance_action.list(
                        instance, marker=marker, limit=ACTIONS_PER_PAGE
                    )
                except nova_exceptions.NotFound as error:
                    self._confirm_absence(instance, error)
                    return None
                actions = [action.to_dict() for action in page]
                for action in actions:
                    if action['action'] == 'rebuild':
                        return _parse_rebuild(action)
                if not actions or actions[-1]['request_id'] == marker:
                    return None
                marker = actions[-1]['request_id']
            raise ValueError('there is no end to its actions')

    def list_servers(
        self,
        *,
        changes_since: datetime.datetime | None = None,
        marker: str | None = None,
        limit: int,
        timeout: float,
    ) -> list[models.Server]:
        """Return one page of all projects' servers; see the base class.

        nova leaves out the servers of a cell that is down: that one is not
        on the list does not say that it is gone.
        """
        search: dict[str, object] = {'all_tenants': 1}
        if changes_since is not None:
            # Naive times are refused by nova, a zone's offset is not.
            search['changes-since'] = changes_since.isoformat()
        with _guard('a list of servers', timeout):
            page = self._nova.servers.list(
                search_opts=search, marker=marker, limit=limit
            )
            return [_parse_server(server.to_dict()) for server in page]

    def _confirm_absence(
        self, instance: str, error: nova_exceptions.NotFound
    ) -> None:
        """Find out whether a 404 means that the server is gone.

        Not so when it came from a balancer or a wrong URL: nova names the
        instance. Nor when nova only hides other projects' servers from this
        account: then the list over all projects is refused, or has it.

        :raises PermissionError: it does not mean that
        :raises novaclient.exceptions.ClientException: nova does not say
        """
        if instance not in str(error.message):
            raise PermissionError(
                'it is a 404 that does not name the instance: check the '
                'endpoint'
            ) from error
        if self._nova.servers.list(
            search_opts={'all_tenants': 1, 'uuid': instance}, limit=1
        ):
            raise PermissionError(
                'nova hides the server from this account: give the account '
                'the role admin'
            ) from error


def _guard(
    what: str, timeout: float
) -> contextlib.AbstractContextManager[None]:
    return keystone.guard('nova', what, timeout, _make_unavailable)


def _make_unavailable(error: Exception) -> exceptions.ComputeUnavailable:
    return exceptions.ComputeUnavailable(_describe(error))


def _describe(error: Exception) -> str:
    """Say what is wrong in words that whoever asked may see."""
    match error:
        case ksa_exceptions.ConnectTimeout():
            return 'The compute service (nova) does not answer in time.'
        case ksa_exceptions.ConnectFailure():
            return 'The compute service (nova) cannot be reached.'
        case nova_exceptions.Unauthorized() | nova_exceptions.Forbidden():
            return (
                'The compute service (nova) refuses the account of novajoin.'
            )
        case nova_exceptions.ClientException():
            return (
                'The compute service (nova) answered with status %s.'
                % error.code
            )
        case ksa_exceptions.ClientException():
            return (
                'The compute service (nova) cannot be asked: no token or no '
                'endpoint.'
            )
        case _:
            return 'The compute service (nova) gave no usable answer.'


def _parse_server(
    answer: Mapping[str, Any], instance: str | None = None
) -> models.Server:
    """Read nova's server document.

    :param instance: the instance that was asked for
    :raises KeyError, TypeError, ValueError: it is not one
    """
    if instance is not None and answer['id'] != instance:
        raise ValueError('it is another server: %s' % answer['id'])
    metadata = answer.get('metadata') or {}
    image = answer.get('image') or {}
    return models.Server(
        instance=_get_text(answer, 'id'),
        project=_get_text(answer, 'tenant_id'),
        hostname=_get_text(answer, 'OS-EXT-SRV-ATTR:hostname'),
        status=_get_text(answer, 'status'),
        vm_state=answer.get('OS-EXT-STS:vm_state'),
        task_state=answer.get('OS-EXT-STS:task_state'),
        launched_at=_parse_time(answer.get('OS-SRV-USG:launched_at')),
        has_config_drive=str(answer.get('config_drive')).lower() == 'true',
        metadata={str(name): str(value) for name, value in metadata.items()},
        image=image.get('id'),
    )


def _parse_rebuild(action: Mapping[str, Any]) -> models.Rebuild:
    """Read one of nova's instance actions.

    :raises KeyError, TypeError, ValueError: it is not one
    """
    started_at = _parse_time(_get_text(action, 'start_time'))
    if started_at is None:
        raise ValueError('the rebuild has no time')
    return models.Rebuild(
        request_id=_get_text(action, 'request_id'), started_at=started_at
    )


def _get_text(answer: Mapping[str, Any], name: str) -> str:
    value = answer[name]
    if not isinstance(value, str):
        raise TypeError('%s is not a text' % name)
    return value


def _parse_time(value: str | None) -> datetime.datetime | None:
    """Read a time as nova writes it: in UTC, mostly without saying so."""
    if not value:
        return None
    time = datetime.datetime.fromisoformat(value)
    if time.tzinfo is None:
        return time.replace(tzinfo=datetime.timezone.utc)
    return time.astimezone(datetime.timezone.utc)
