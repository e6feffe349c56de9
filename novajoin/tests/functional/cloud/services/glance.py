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
"""glance: images, kept in files."""

import openstack.connection

from novajoin.tests.functional.cloud.services import base

IMAGE = 'tiny'


class Glance(base.Service):
    name = 'glance'
    catalog = {'image': ''}
    databases = ('glance',)

    def configure(self) -> None:
        paste = self.plan.venv / 'etc' / 'glance' / 'glance-api-paste.ini'
        sections = self.get_common_sections()
        sections['DEFAULT'] |= {
            'enabled_backends': 'files:file',
            'node_staging_uri': 'file://%s' % (self.state / 'staging'),
            'worker_self_reference_url': self.plan.url('glance'),
        }
        sections['glance_store'] = {'default_backend': 'files'}
        sections['files'] = {
            'filesystem_store_datadir': self.state / 'images',
        }
        sections['os_glance_staging_store'] = {
            'filesystem_store_datadir': self.state / 'staging',
        }
        sections['os_glance_tasks_store'] = {
            'filesystem_store_datadir': self.state / 'tasks',
        }
        sections['paste_deploy'] = {
            'flavor': 'keystone',
            'config_file': paste,
        }
        self.write('glance-api.conf', sections)

    def sync(self) -> None:
        self.state.mkdir()
        self.manage(
            'glance-sync',
            'glance-manage',
            '--config-file',
            self.etc / 'glance-api.conf',
            'db_sync',
        )

    def start(self) -> None:
        self.start_wsgi('glance', 'glance.wsgi.api')

    def seed(self, admin: openstack.connection.Connection) -> None:
        """One small public image; nova's fake driver never opens it."""
        image = admin.image.create_image(
            name=IMAGE,
            container_format='bare',
            disk_format='raw',
            visibility='public',
            data=b'\0' * 512,
        )
        admin.image.wait_for_status(image, status='active', wait=60)
