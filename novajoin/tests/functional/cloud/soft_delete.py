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
"""Deletes that nova's users may take back.

nova soft-deletes what is deleted through an API with a reclaim interval, and
its compute does away with that in the end if it has one, too. The cloud has
none: what tests delete is to be gone. So a test that wants it starts a second
API, and may replace the compute by one that reclaims.
"""

import dataclasses

import fixtures

from novajoin.tests.functional.cloud import cloud as cloud_module
from novajoin.tests.functional.cloud import ports
from novajoin.tests.functional.cloud.services import nova

_NAME = 'nova-soft-delete'
_OPTIONS = """\
[DEFAULT]
periodic_fuzzy_delay = 0
reclaim_instance_interval = 1
"""
_RECLAIM_WAIT = 240
"""Seconds: nova's compute looks for what it may reclaim once a minute."""


class _Nova(nova.Nova):
    """The same nova, with a reclaim interval."""

    @property
    def etc(self):
        return self.plan.etc / _NAME

    def configure(self) -> None:
        """Write the files of the cloud's nova, with the options in front."""
        cloud = super().etc
        self.etc.mkdir(mode=0o700, exist_ok=True)
        for file in cloud.iterdir():
            path = self.etc / file.name
            path.touch(0o600)
            path.write_text(
                file.read_text().replace('[DEFAULT]\n', _OPTIONS, 1)
                if file.suffix == '.conf'
                else file.read_text()
            )

    def start(self) -> None:
        self.start_wsgi(_NAME, 'nova.wsgi.osapi_compute', _NAME)


class SoftDelete(fixtures.Fixture):
    """Soft-deletes servers of a cloud.

    :param cloud: whose servers they are
    """

    def __init__(self, cloud: cloud_module.Cloud) -> None:
        super().__init__()
        self._cloud = cloud

    def _setUp(self) -> None:
        port = ports.choose_ports([_NAME])
        plan = self._cloud.plan
        plan = dataclasses.replace(plan, ports={**plan.ports, **port})
        self._url = plan.url(_NAME, '/v2.1/servers/')
        deployment = cloud_module.get_deployment()
        self._nova = deployment.make_service(_Nova, plan)
        self._nova.configure()
        self.addCleanup(self._nova.processes.stop, _NAME)
        self._nova.start()

    def delete(self, server: cloud_module.Server) -> None:
        """Delete a server for the time being."""
        session = self._cloud.open_session('demo')
        session.delete(self._url + server.id)
        self._cloud.wait_for_server(server, 'SOFT_DELETED')

    def restore(self, server: cloud_module.Server) -> None:
        """Take a delete back."""
        self._cloud.connect('demo').compute.restore_server(server)
        self._cloud.wait_for_server(server)

    def force_delete(self, server: cloud_module.Server) -> None:
        """Delete a soft-deleted server for good."""
        self._cloud.connect('demo').compute.delete_server(server, force=True)
        self._cloud.wait_until_gone(server)

    def reclaim(self, server: cloud_module.Server) -> None:
        """Have nova delete for good what is soft-deleted."""
        deployment = cloud_module.get_deployment()
        service = deployment.make_service(nova.Nova, self._cloud.plan)
        self.addCleanup(service.restart_compute, deployment.broker)
        self._nova.restart_compute(deployment.broker)
        self._cloud.wait_until_gone(server, _RECLAIM_WAIT)
