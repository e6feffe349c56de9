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
"""The fixture by which a functional test has a cloud."""

import atexit
from collections.abc import Mapping
import logging
import pathlib
import subprocess
import threading
import time
from typing import Any

import fixtures
from keystoneauth1 import session as keystone_session
from openstack.compute.v2 import server as compute_server
import openstack.connection
import openstack.exceptions
from openstack.image.v2 import image as image_module
import requests

from novajoin.tests.functional.cloud import deployment
from novajoin.tests.functional.cloud import environment
from novajoin.tests.functional.cloud import metadata
from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud.services import glance
from novajoin.tests.functional.cloud.services import keystone
from novajoin.tests.functional.cloud.services import neutron
from novajoin.tests.functional.cloud.services import nova

Server = compute_server.Server
Image = image_module.Image

_MICROVERSION = '2.96'
_WAIT = 120
"""Seconds that a server gets for anything."""

_LOUD = ('amqp', 'keystoneauth', 'openstack', 'oslo.messaging', 'urllib3')
"""Loggers that fill a failed test's report with whole requests."""

_lock = threading.Lock()
_deployment: deployment.Deployment | None = None
_failure: Exception | None = None


def get_deployment() -> deployment.Deployment:
    """The one cloud of this process, started when it is first asked for.

    It ends with the process. A cloud that runs already in the directory is
    used as it is and left running. When a start has failed, it is not tried
    again for each test.

    :raises MissingPrograms: see `deployment.Deployment.start`.
    :raises ProcessFailed: likewise.
    """
    global _deployment, _failure
    with _lock:
        if _failure is not None:
            raise _failure
        if _deployment is None:
            found = deployment.Deployment(deployment.get_default_directory())
            try:
                if found.start():
                    atexit.register(found.stop)
            except Exception as failure:
                _failure = failure
                raise
            _deployment = found
        return _deployment


class Cloud(fixtures.Fixture):
    """A real OpenStack; what a test makes in it goes with the test.

    :ivar plan: ports and passwords.
    :ivar admin: an openstacksdk connection of the user admin.
    """

    plan: plan_module.Plan
    admin: openstack.connection.Connection

    def _setUp(self) -> None:
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.INFO)
        self._deployment = get_deployment()
        self.plan = self._deployment.plan
        self._connections: dict[str, openstack.connection.Connection] = {}
        self.admin = self.connect('admin')

    @property
    def auth_url(self) -> str:
        """keystone's URL, with the version."""
        return self.plan.url('keystone', '/v3')

    @property
    def transport_url(self) -> str:
        """The oslo.messaging URL of the broker."""
        return self.plan.transport_url

    @property
    def vendordata_port(self) -> int:
        """Where nova posts to: nothing listens there yet."""
        return self.plan.ports['vendordata']

    @property
    def vendordata_url(self) -> str:
        """Where nova posts to."""
        return self.plan.url('vendordata', '/v1/')

    def create_database(self, name: str) -> str:
        """Make an empty database in MariaDB and return its URL."""
        return self._deployment.database.create(name)

    def open_session(self, user: str) -> keystone_session.Session:
        """A session of a user in the project where it is at home.

        :param user: `admin`; `demo` or `other`, plain users of the project
            of their name; a service's user, such as `nova` or `glance`.
        """
        service = user in keystone.SERVICE_USERS
        return deployment.open_session(
            self.plan, user, 'service' if service else user
        )

    def get_token(self, user: str) -> str:
        """A token of a user, as for `open_session`."""
        token = self.connect(user).session.get_token()
        if token is None:
            raise RuntimeError('keystone has no token for %s' % user)
        return token

    def connect(self, user: str) -> openstack.connection.Connection:
        """An openstacksdk connection of a user, as for `open_session`."""
        if user not in self._connections:
            connection = openstack.connection.Connection(
                session=self.open_session(user),
                region_name=plan_module.REGION,
                compute_default_microversion=_MICROVERSION,
            )
            self.addCleanup(connection.close)
            self._connections[user] = connection
        return self._connections[user]

    def create_image(self, name: str, **properties: str) -> Image:
        """Make a public image with properties; nobody looks inside it."""
        image = self.admin.image.create_image(
            name=name,
            container_format='bare',
            disk_format='raw',
            visibility='public',
            data=b'\0' * 512,
            allow_duplicates=True,
            **properties,
        )
        self.addCleanup(self.admin.image.delete_image, image)
        return self.admin.image.wait_for_status(
            image, status='active', wait=_WAIT
        )

    def create_server(
        self,
        name: str,
        *,
        user: str = 'demo',
        metadata: Mapping[str, str] | None = None,
        image: Image | None = None,
        config_drive: bool = False,
        boot_from_volume: bool = False,
        wait: bool = True,
        **more: Any,
    ) -> Server:
        """Have nova build a server, with one port on the private network.

        :param name: nova makes the hostname of it.
        :param metadata: the instance metadata.
        :param image: else a small one without properties.
        :param boot_from_volume: of a volume that nova has cinder make of the
            image; the server has no image then.
        :param wait: until it is active.
        :param more: goes into nova's request as it is.
        :raises openstack.exceptions.ResourceFailure: when it fails.
        """
        compute = self.connect(user).compute
        image_id = image.id if image else self._find_image_id()
        if boot_from_volume:
            more['block_device_mapping'] = [
                {
                    'boot_index': 0,
                    'uuid': image_id,
                    'source_type': 'image',
                    'destination_type': 'volume',
                    'volume_size': 1,
                    'delete_on_termination': True,
                }
            ]
        else:
            more['image_id'] = image_id
        network = self.admin.network.find_network(neutron.NETWORK)
        flavor = self.admin.compute.find_flavor(nova.FLAVOR)
        server = compute.create_server(
            name=name,
            flavor_id=flavor.id,
            networks=[{'uuid': network.id}],
            metadata=dict(metadata or {}),
            config_drive=config_drive,
            **more,
        )
        self.addCleanup(compute.delete_server, server.id, ignore_missing=True)
        return self.wait_for_server(server) if wait else server

    def _find_image_id(self) -> str:
        return str(self.admin.image.find_image(glance.IMAGE).id)

    def get_server(self, server: Server) -> Server:
        """The server as nova shows it to the admin now.

        :raises openstack.exceptions.NotFoundException: when it is gone.
        """
        return self.admin.compute.get_server(server.id)

    def wait_for_server(
        self, server: Server, status: str = 'ACTIVE'
    ) -> Server:
        """Wait until a server has a status and nothing is done to it.

        :raises openstack.exceptions.ResourceFailure: when it is ERROR.
        """
        while True:
            server = self.admin.compute.wait_for_server(
                server, status=status, interval=0.3, wait=_WAIT
            )
            if server.task_state is None:
                return server

    def rebuild_server(
        self, server: Server, user: str = 'demo', **more: Any
    ) -> Server:
        """Rebuild a server from its image and wait until it is active."""
        more.setdefault('image', self._find_image_id())
        self.connect(user).compute.rebuild_server(server, **more)
        return self.wait_for_server(server)

    def delete_server(self, server: Server, user: str = 'demo') -> None:
        """Delete a server and wait until nova does not know it.

        :raises TimeoutError: when nova goes on knowing it
        """
        self.connect(user).compute.delete_server(server)
        self.wait_until_gone(server)

    def wait_until_gone(self, server: Server, timeout: float = _WAIT) -> None:
        """Wait until nova does not know a server any more.

        :param timeout: seconds.
        :raises TimeoutError: when it goes on knowing it
        """
        deadline = time.monotonic() + timeout
        while True:
            # For a moment, nova shows it with the status DELETED.
            try:
                found = self.get_server(server)
            except openstack.exceptions.NotFoundException:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    'server %s is %s still' % (server.id, found.status)
                )
            time.sleep(0.3)

    def read_metadata(self, server: Server, path: str) -> requests.Response:
        """Ask nova's metadata API as neutron's proxy does.

        :param path: such as `/openstack/latest/meta_data.json`.
        """
        return requests.get(
            self.plan.url('metadata', path),
            headers=metadata.sign(self.plan.secret, server),
            timeout=60,
        )

    def read_vendordata(self, server: Server) -> dict[str, Any]:
        """What the server's guest finds in vendor_data2.json now.

        :raises requests.HTTPError: when nova answers with an error.
        """
        response = self.read_metadata(
            server, '/openstack/latest/vendor_data2.json'
        )
        response.raise_for_status()
        return dict(response.json())

    def read_config_drive(
        self, server: Server, directory: pathlib.Path
    ) -> pathlib.Path:
        """Unpack the config drive that nova made for a server.

        :param directory: empty; becomes what the guest would mount.
        :returns: the directory.
        """
        drive = self.plan.instances / server.id / 'disk.config'
        isoinfo = [
            environment.find_program('isoinfo'),
            *('-R', '-i', str(drive)),
        ]
        listing = subprocess.run(
            [*isoinfo, '-f'], check=True, capture_output=True, text=True
        ).stdout
        for line in listing.splitlines():
            content = subprocess.run(
                [*isoinfo, '-x', line], check=True, capture_output=True
            ).stdout
            path = directory / line.lstrip('/')
            if content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return directory
