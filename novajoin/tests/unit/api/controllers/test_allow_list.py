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

"""Allow-lists."""

from novajoin.tests.unit.api import base


class TestAllowLists(base.ApiTestCase):
    def test_show(self):
        response = self.app.get('/v1/allow-lists/' + base.PROJECT)
        self.assertEqual(
            {
                'project_id': base.PROJECT,
                'allowed_classes': ['web', 'db'],
                'allowed_services': [],
                'allowed_subhosts': [],
                'allowed_zones': [],
            },
            response.json['allow_list'],
        )

    def test_no_project(self):
        for part in ('', '/a%20b', '/' + 65 * 'a', '/a/b'):
            response = self.app.get('/v1/allow-lists' + part, status='*')
            self.assertIn(response.status_int, (404, 405), part)
