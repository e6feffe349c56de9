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
"""placement: nova does not schedule without it."""

from novajoin.tests.functional.cloud.services import base


class Placement(base.Service):
    name = 'placement'
    catalog = {'placement': ''}
    databases = ('placement',)

    def configure(self) -> None:
        sections = self.get_common_sections()
        sections['placement_database'] = sections.pop('database')
        self.write('placement.conf', sections)

    def sync(self) -> None:
        self.manage(
            'placement-sync',
            'placement-manage',
            '--config-file',
            self.etc / 'placement.conf',
            'db',
            'sync',
        )

    def start(self) -> None:
        self.start_wsgi('placement', 'placement.wsgi.api')
