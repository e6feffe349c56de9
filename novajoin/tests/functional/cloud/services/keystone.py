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
"""keystone: who there is in the cloud."""

import getpass
import grp
import os

import openstack.connection

from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud.services import base

SERVICE_USERS = (
    'cinder',
    'glance',
    'neutron',
    'nova',
    'novajoin',
    'placement',
)
PROJECT_USERS = ('demo', 'other')
"""Users with the roles member and reader on the project of their name."""


class Keystone(base.Service):
    name = 'keystone'
    databases = ('keystone',)

    def configure(self) -> None:
        sections = self.get_common_sections()
        del sections['keystone_authtoken']
        sections['fernet_tokens'] = {'key_repository': self.state / 'fernet'}
        # fernet_setup makes these, too.
        sections['fernet_receipts'] = {
            'key_repository': self.state / 'receipts',
        }
        sections['credential'] = {'key_repository': self.state / 'credential'}
        # The cheapest bcrypt: each log-in costs 4 ms, not 250.
        sections['identity'] = {'password_hash_rounds': 4}
        self.write('keystone.conf', sections)

    def sync(self) -> None:
        self.state.mkdir(mode=0o700)
        for name in ('fernet', 'receipts'):
            (self.state / name).mkdir(mode=0o700)
        # The repository's first key is made by keystone's own command, as
        # whichever user this is.
        user = getpass.getuser()
        group = grp.getgrgid(os.getgid()).gr_name
        self._manage(
            'keystone-keys',
            'fernet_setup',
            '--keystone-user=%s' % user,
            '--keystone-group=%s' % group,
        )
        self._manage('keystone-sync', 'db_sync')
        url = self.plan.url('keystone', '/v3')
        self._manage(
            'keystone-bootstrap',
            'bootstrap',
            '--bootstrap-password=%s' % self.plan.password,
            '--bootstrap-region-id=%s' % plan_module.REGION,
            '--bootstrap-public-url=%s' % url,
            '--bootstrap-internal-url=%s' % url,
        )

    def start(self) -> None:
        if self.name not in self.processes.find():
            self.start_wsgi('keystone', 'keystone.wsgi.api')

    def seed(self, admin: openstack.connection.Connection) -> None:
        """The service users, and two projects with a user each."""
        identity = admin.identity
        roles = {role.name: role for role in identity.roles()}
        service = identity.create_project(name='service', domain_id='default')
        for name in SERVICE_USERS:
            user = self._create_user(identity, name)
            for role in ('admin', 'service'):
                identity.assign_project_role_to_user(
                    service, user, roles[role]
                )
        for name in PROJECT_USERS:
            project = identity.create_project(name=name, domain_id='default')
            user = self._create_user(identity, name)
            for role in ('member', 'reader'):
                identity.assign_project_role_to_user(
                    project, user, roles[role]
                )

    def register(
        self,
        admin: openstack.connection.Connection,
        service: base.Service,
    ) -> None:
        """Enter a service in the catalog."""
        for type_, path in service.catalog.items():
            entry = admin.identity.create_service(
                type=type_, name=service.name
            )
            admin.identity.create_endpoint(
                service_id=entry.id,
                interface='public',
                region_id=plan_module.REGION,
                url=self.plan.url(service.name, path),
            )

    def _create_user(self, identity, name: str):
        return identity.create_user(
            name=name, domain_id='default', password=self.plan.password
        )

    def _manage(self, name: str, *arguments: str) -> None:
        self.manage(
            name,
            'keystone-manage',
            '--config-file',
            self.etc / 'keystone.conf',
            *arguments,
        )
