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

"""The versions."""

from novajoin.tests.unit.api import base


class TestVersions(base.ApiTestCase):
    is_noauth = False

    def test_list_without_a_token(self):
        for path in ('/', ''):
            response = self.app.get(path)
            self.assertEqual(
                {
                    'versions': [
                        {
                            'id': 'v1.0',
                            'status': 'CURRENT',
                            'links': [
                                {'rel': 'self', 'href': 'http://localhost/v1/'}
                            ],
                        }
                    ]
                },
                response.json,
            )

    def test_show_without_a_token(self):
        for path in ('/v1', '/v1/'):
            response = self.app.get(path)
            self.assertEqual('v1.0', response.json['version']['id'])

    def test_head(self):
        response = self.app.head('/')
        self.assertEqual('application/json', response.content_type)

    def test_nothing_else_without_a_token(self):
        for path in ('/v1/enrollments', '/v1/events', '/v1//', '/v2'):
            response = self.app.get(path, status='*')
            self.assert_error(response, 401, 'unauthorized')
        response = self.app.post_json('/v1/', base.POST, status='*')
        self.assert_error(response, 401, 'unauthorized')
