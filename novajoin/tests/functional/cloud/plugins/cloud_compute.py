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
"""nova's fake virt driver, with the config drive that it leaves out.

Runs inside nova-compute. What makes the drive is nova's own: one
`InstanceMetadata` for each build, rendered by `ConfigDriveBuilder`, as the
libvirt driver does in `_create_configdrive`.
"""

import os
import shutil

from nova.api.metadata import base as instance_metadata
import nova.conf
from nova.virt import configdrive
from nova.virt import fake

CONF = nova.conf.CONF


class ConfigDriveFakeDriver(fake.FakeDriverWithoutFakeNodes):
    """An instance's drive is <instances_path>/<uuid>/disk.config.

    The node keeps the uuid that nova wrote into its state directory, so that
    a compute that starts again is the one that it was.
    """

    def spawn(
        self,
        context,
        instance,
        image_meta,
        injected_files,
        admin_password,
        allocations,
        network_info=None,
        **more,
    ) -> None:
        if configdrive.required_by(instance):
            self._make_config_drive(
                instance, injected_files, admin_password, network_info
            )
        super().spawn(
            context,
            instance,
            image_meta,
            injected_files,
            admin_password,
            allocations,
            network_info=network_info,
            **more,
        )

    def destroy(self, context, instance, network_info, *args, **more) -> None:
        super().destroy(context, instance, network_info, *args, **more)
        shutil.rmtree(self._get_directory(instance), ignore_errors=True)

    def _make_config_drive(
        self, instance, injected_files, admin_password, network_info
    ) -> None:
        directory = self._get_directory(instance)
        os.makedirs(directory, exist_ok=True)
        metadata = instance_metadata.InstanceMetadata(
            instance,
            content=injected_files,
            extra_md={'admin_pass': admin_password} if admin_password else {},
            network_info=network_info,
        )
        with configdrive.ConfigDriveBuilder(instance_md=metadata) as drive:
            drive.make_drive(os.path.join(directory, 'disk.config'))

    def _get_directory(self, instance) -> str:
        return os.path.join(CONF.instances_path, instance.uuid)
