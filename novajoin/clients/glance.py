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
"""Ask glance about the properties of images, through python-glanceclient."""

from collections.abc import Mapping
import contextlib
import logging
from typing import Any
from typing import Final

from glanceclient import exc as glance_exceptions
from glanceclient.v2 import client as glance_client
from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import session as ksa_session

from novajoin import exceptions
from novajoin.clients import base
from novajoin.clients import keystone

LOG = logging.getLogger(__name__)

#: What glance itself says of every image (the base properties of
#: glance/api/v2/images.py and ``stores``); all else is somebody's property.
OWN_ATTRIBUTES = frozenset(
    {
        'checksum',
        'container_format',
        'created_at',
        'direct_url',
        'disk_format',
        'file',
        'id',
        'locations',
        'min_disk',
        'min_ram',
        'name',
        'os_hash_algo',
        'os_hash_value',
        'os_hidden',
        'owner',
        'protected',
        'schema',
        'self',
        'size',
        'status',
        'stores',
        'tags',
        'updated_at',
        'virtual_size',
        'visibility',
    }
)

#: The time-out in the settings is for when nova waits; for health there is
#: more, in seconds.
_CHECK_TIMEOUT: Final = 5.0


class Glance(base.ImageClient):
    """The image service of an OpenStack cloud.

    The account must be glance's ``admin``: to others glance answers 404 for
    the private images of other projects.

    :param session: what ``clients.keystone.build_session`` made
    :param settings: the section ``[glance]``
    """

    def __init__(self, session: ksa_session.Session, settings: Any) -> None:
        self._settings = settings
        self._session = session
        # Each server of the (old) list has its own client; without a list
        # the catalog tells where glance is.
        servers = settings.api_servers or [None]
        self._glances = [
            glance_client.Client(
                session=session,
                service_type=settings.service_type,
                interface=settings.valid_interfaces,
                region_name=settings.region_name,
                endpoint_override=_complete(server),
                connect_retries=settings.connect_retries,
            )
            for server in servers
        ]

    def check(self) -> None:
        """Ask for the schema of an image; see the base class."""
        seconds = max(self._settings.timeout, _CHECK_TIMEOUT)
        with _guard('the schema of images', seconds):
            self._ask('/v2/schemas/image')

    def find_properties(
        self, image: str, *, timeout: float
    ) -> Mapping[str, str] | None:
        """Return the properties of an image; see the base class."""
        with _guard('image %s' % image, timeout):
            try:
                answer = self._ask('/v2/images/%s' % image)
            except glance_exceptions.HTTPNotFound as error:
                self._confirm_absence(image, error)
                return None
            if answer['id'] != image:
                raise ValueError('it is another image: %s' % answer['id'])
            return {
                name: value
                for name, value in answer.items()
                if name not in OWN_ATTRIBUTES and isinstance(value, str)
            }

    def _confirm_absence(
        self, image: str, error: glance_exceptions.HTTPNotFound
    ) -> None:
        """Find out whether a 404 means that there is no such image.

        :raises PermissionError: it does not mean that
        """
        if image not in str(error):
            raise PermissionError(
                'it is a 404 that does not name the image: check the endpoint'
            ) from error
        roles = keystone.find_roles(self._session)
        if roles is not None and 'admin' not in roles:
            raise PermissionError(
                'to this account, glance hides private images of other '
                'projects: give it the role admin'
            ) from error

    def _ask(self, path: str) -> dict[str, Any]:
        """Get a document from the first server that can be reached.

        The client's own ``images.get`` would ask for the schema as well and
        build classes from it.

        :raises Exception: what the last server gave
        """
        rounds = (self._settings.num_retries or 0) + 1
        tries = self._glances * rounds
        for glance in tries[:-1]:
            try:
                return self._get(glance, path)
            except (
                glance_exceptions.CommunicationError,
                glance_exceptions.InvalidEndpoint,
                glance_exceptions.HTTPServiceUnavailable,
                ksa_exceptions.ConnectFailure,
            ) as error:
                LOG.info('glance cannot be reached, trying again: %s', error)
        return self._get(tries[-1], path)

    @staticmethod
    def _get(glance: glance_client.Client, path: str) -> dict[str, Any]:
        _, answer = glance.http_client.get(path)
        if not isinstance(answer, dict):
            raise TypeError('the answer is not a JSON object')
        return answer


def _complete(server: str | None) -> str | None:
    """Add the scheme that novajoin 1.3.0 let one leave out."""
    if server is None or '//' in server:
        return server
    return 'http://%s' % server


def _guard(
    what: str, timeout: float
) -> contextlib.AbstractContextManager[None]:
    return keystone.guard('glance', what, timeout, _make_unavailable)


def _make_unavailable(error: Exception) -> exceptions.ImageUnavailable:
    return exceptions.ImageUnavailable(
        'The image service (glance) gave no usable answer.'
    )
