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
"""cinder: API, scheduler and one volume service, for boots from volumes."""

from novajoin.tests.functional.cloud import broker as broker_module
from novajoin.tests.functional.cloud.services import base

_HOST = 'cloud'
_BACKEND = 'clones'


class Cinder(base.Service):
    name = 'cinder'
    catalog = {'block-storage': '/v3'}
    databases = ('cinder',)

    def configure(self) -> None:
        sections = self.get_common_sections()
        sections['DEFAULT'] |= {
            'api_paste_config': self.plan.venv / 'etc/cinder/api-paste.ini',
            'resource_query_filters_file': (
                self.plan.venv / 'etc/cinder/resource_filters.json'
            ),
            'auth_strategy': 'keystone',
            'enabled_backends': _BACKEND,
            'host': _HOST,
            'my_ip': '127.0.0.1',
        }
        sections[_BACKEND] = {
            'volume_driver': 'cloud_volume.CloningVolumeDriver',
            'volume_backend_name': _BACKEND,
            'target_helper': 'fake',
        }
        file = self.write('cinder.conf', sections)
        # The API has no other way to be told where its configuration is.
        home = self.plan.run / 'home' / '.cinder'
        home.mkdir()
        (home / 'cinder.conf').symlink_to(file)

    def sync(self) -> None:
        self.state.mkdir()
        self.manage('cinder-sync', 'cinder-manage', 'db', 'sync')

    def start(self) -> None:
        self.start_wsgi('cinder', 'cinder.wsgi.api')

    def start_workers(self, broker: broker_module.Broker) -> None:
        queues = {
            'cinder-scheduler': 'cinder-scheduler',
            'cinder-volume': 'cinder-volume.%s@%s' % (_HOST, _BACKEND),
        }
        for program in queues:
            self.start_program(program, program)
        for program, queue in queues.items():
            self.wait_for_consumer(program, broker, queue)
