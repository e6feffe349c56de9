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
"""nova: API, metadata API, conductor, scheduler and one fake compute."""

import shutil

import openstack.connection

from novajoin.tests.functional.cloud import broker as broker_module
from novajoin.tests.functional.cloud import environment
from novajoin.tests.functional.cloud.services import base

FLAVOR = 'tiny'
TARGET = 'join'
"""The name under which nova puts the answer into vendor_data2.json."""

_HOST = 'cloud'
_DRIVER = 'cloud_compute'
_CELL_DATABASE = (
    '{scheme}://{username}:{password}@{hostname}:{port}/%s?charset=utf8'
)
_CELL_TRANSPORT = '{scheme}://{username}:{password}@{hostname}:{port}/{path}'


class Nova(base.Service):
    name = 'nova'
    catalog = {'compute': '/v2.1'}
    databases = ('nova_api', 'nova_cell0', 'nova')

    def configure(self) -> None:
        """Write nova.conf, and nova-compute.conf without a database."""
        sections = self._get_sections()
        self.write('nova-compute.conf', sections)
        common = self.get_common_sections()
        sections['database'] = common['database']
        sections['api_database'] = {
            'connection': self.plan.database_url('nova_api').replace(
                'utf8mb4', 'utf8'
            ),
        }
        self.write('nova.conf', sections)
        paste = self.plan.venv / 'etc' / 'nova' / 'api-paste.ini'
        (self.etc / 'api-paste.ini').symlink_to(paste)
        self.plan.static_vendordata.write_text('{}')
        self._install_driver()

    def _install_driver(self) -> None:
        """Put the driver where nova looks for drivers, and nowhere else."""
        (package,) = self.plan.venv.glob('lib/python3*/site-packages/nova')
        shutil.copy(environment.PLUGINS / (_DRIVER + '.py'), package / 'virt')

    def _get_sections(self) -> dict[str, dict[str, object]]:
        sections = self.get_common_sections()
        del sections['database']
        sections['DEFAULT'] |= {
            'compute_driver': '%s.ConfigDriveFakeDriver' % _DRIVER,
            'host': _HOST,
            'instances_path': self.plan.instances,
            'my_ip': '127.0.0.1',
        }
        sections['api'] = {
            'auth_strategy': 'keystone',
            # A config drive fails without the static one.
            'vendordata_providers': 'StaticJSON,DynamicJSON',
            'vendordata_jsonfile_path': self.plan.static_vendordata,
            'vendordata_dynamic_targets': '%s@%s'
            % (TARGET, self.plan.url('vendordata', '/v1/')),
        }
        for section, user in {
            'cinder': 'nova',
            'neutron': 'nova',
            'placement': 'nova',
            'service_user': 'nova',
            'vendordata_dynamic_auth': 'nova',
        }.items():
            sections[section] = self.get_credentials(user)
        # The region is no option of sections that name no service.
        del sections['service_user']['region_name']
        del sections['vendordata_dynamic_auth']['region_name']
        sections['service_user']['send_service_user_token'] = True
        sections['cinder'] = {
            **sections['cinder'],
            'catalog_info': 'block-storage::publicURL',
            'os_region_name': sections['cinder'].pop('region_name'),
        }
        sections['neutron'] |= {
            'service_metadata_proxy': True,
            'metadata_proxy_shared_secret': self.plan.secret,
        }
        sections['glance'] = {'valid_interfaces': 'public'}
        sections['notifications'] = {
            'notification_format': 'both',
            'notify_on_state_change': 'vm_and_task_state',
        }
        sections['conductor'] = {'workers': 1}
        sections['scheduler'] = {'workers': 1}
        sections['quota'] = {
            'instances': -1,
            'cores': -1,
            'ram': -1,
        }
        return sections

    def sync(self) -> None:
        self.state.mkdir()
        self._manage('nova-sync-api', 'api_db', 'sync')
        self._manage(
            'nova-map-cell0',
            'cell_v2',
            'map_cell0',
            '--database_connection',
            _CELL_DATABASE % 'nova_cell0',
        )
        self._manage('nova-sync', 'db', 'sync')
        self._manage(
            'nova-create-cell',
            'cell_v2',
            'create_cell',
            '--name=cell1',
            '--database_connection',
            _CELL_DATABASE % 'nova',
            '--transport-url',
            _CELL_TRANSPORT,
        )

    def start(self) -> None:
        self.start_wsgi('nova', 'nova.wsgi.osapi_compute')

    def start_workers(self, broker: broker_module.Broker) -> None:
        """Start conductor and scheduler, then the compute.

        A compute that finds no conductor tries again after 10 s only.
        """
        queues = {
            'conductor': 'conductor',
            'scheduler': 'scheduler',
            'compute': 'compute.%s' % _HOST,
        }
        for name in ('conductor', 'scheduler'):
            self._start_worker(name, 'nova.conf')
        self.wait_for_consumer('nova-conductor', broker, 'conductor')
        self._start_worker('compute', 'nova-compute.conf')
        for name, queue in queues.items():
            self.wait_for_consumer('nova-%s' % name, broker, queue)

    def restart_compute(self, broker: broker_module.Broker) -> None:
        """Stop the compute that runs and start one with these files."""
        self.processes.stop('nova-compute')
        self._start_worker('compute', 'nova-compute.conf')
        self.wait_for_consumer('nova-compute', broker, 'compute.' + _HOST)

    def _start_worker(self, name: str, file: str) -> None:
        program = 'nova-%s' % name
        self.start_program(program, program, '--config-file', self.etc / file)

    def start_metadata(self) -> None:
        """Start the metadata API, as neutron's proxy asks it."""
        self.start_wsgi('nova-metadata', 'nova.wsgi.metadata', 'metadata')

    def wait_for_compute(self, admin: openstack.connection.Connection) -> None:
        """Wait until nova would give the compute something to do."""

        def is_up() -> bool:
            return any(
                service.state == 'up'
                for service in admin.compute.services(binary='nova-compute')
            )

        self.processes.wait_for('nova-compute', is_up)

    def seed(self, admin: openstack.connection.Connection) -> None:
        """One flavor, and the compute's place in its cell."""
        admin.compute.create_flavor(name=FLAVOR, ram=64, vcpus=1, disk=1)
        self.wait_for_compute(admin)
        self._manage('nova-discover-hosts', 'cell_v2', 'discover_hosts')

    def _manage(self, name: str, *arguments: str) -> None:
        self.manage(
            name,
            'nova-manage',
            '--config-file',
            self.etc / 'nova.conf',
            *arguments,
        )
