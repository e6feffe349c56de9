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
"""neutron: the API alone, with a driver that binds every port."""

import openstack.connection

from novajoin.tests.functional.cloud.services import base

NETWORK = 'private'
EXTERNAL_NETWORK = 'public'
_DISTRIBUTION = 'novajoin_cloud-1.dist-info'


class Neutron(base.Service):
    name = 'neutron'
    catalog = {'network': ''}
    databases = ('neutron',)

    def configure(self) -> None:
        sections = self.get_common_sections()
        sections['DEFAULT'] |= {
            'auth_strategy': 'keystone',
            'core_plugin': 'ml2',
            'service_plugins': 'router',
            'api_paste_config': self.plan.venv / 'etc/neutron/api-paste.ini',
            # nova's fake driver waits for no port.
            'notify_nova_on_port_status_changes': False,
            'notify_nova_on_port_data_changes': False,
            'rpc_workers': 0,
        }
        sections['quotas'] = {
            'default_quota': -1,
            'quota_network': -1,
            'quota_subnet': -1,
            'quota_port': -1,
            'quota_router': -1,
            'quota_floatingip': -1,
            'quota_security_group': -1,
            'quota_security_group_rule': -1,
        }
        self.write('neutron.conf', sections)
        (self.etc / 'plugins' / 'ml2').mkdir(parents=True)
        self.write(
            'plugins/ml2/ml2_conf.ini',
            {
                'ml2': {
                    'mechanism_drivers': 'novajoin_cloud',
                    'type_drivers': 'local',
                    'tenant_network_types': 'local',
                    'extension_drivers': '',
                },
            },
        )
        self._announce_driver()

    def _announce_driver(self) -> None:
        """Make the entry point by which neutron finds the driver."""
        distribution = self.plan.etc / _DISTRIBUTION
        distribution.mkdir()
        (distribution / 'METADATA').write_text(
            'Metadata-Version: 2.1\nName: novajoin-cloud\nVersion: 1\n'
        )
        (distribution / 'entry_points.txt').write_text(
            '[neutron.ml2.mechanism_drivers]\n'
            'novajoin_cloud = cloud_network:BindingMechanismDriver\n'
        )

    def sync(self) -> None:
        self.manage(
            'neutron-sync',
            'neutron-db-manage',
            '--config-file',
            self.etc / 'neutron.conf',
            '--config-file',
            self.etc / 'plugins' / 'ml2' / 'ml2_conf.ini',
            'upgrade',
            'heads',
        )

    def start(self) -> None:
        self.start_wsgi('neutron', 'neutron.wsgi.api')

    def seed(self, admin: openstack.connection.Connection) -> None:
        """A network for the servers of all, a router, floating addresses."""
        network = admin.network.create_network(name=NETWORK, is_shared=True)
        subnet = admin.network.create_subnet(
            name=NETWORK,
            network_id=network.id,
            ip_version=4,
            cidr='10.20.0.0/16',
            is_dhcp_enabled=False,
        )
        external = admin.network.create_network(
            name=EXTERNAL_NETWORK, is_router_external=True
        )
        admin.network.create_subnet(
            name=EXTERNAL_NETWORK,
            network_id=external.id,
            ip_version=4,
            cidr='198.51.100.0/24',
            is_dhcp_enabled=False,
        )
        router = admin.network.create_router(
            name=NETWORK, external_gateway_info={'network_id': external.id}
        )
        # openstacksdk's own function renames its parameter in 2026.
        answer = admin.network.put(
            '/routers/%s/add_router_interface' % router.id,
            json={'subnet_id': subnet.id},
        )
        answer.raise_for_status()
