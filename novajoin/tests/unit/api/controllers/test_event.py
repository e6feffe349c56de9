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

"""The audit log."""

from novajoin.tests.unit.api import base


class TestEvents(base.ApiTestCase):
    def setUp(self):
        super().setUp()
        self.put_event(
            'enrollment.offered',
            instance=base.INSTANCE,
            project=base.PROJECT,
            request_id='req-1',
            detail={'epoch': 1},
        )
        self.put_event('key.rotated')
        self.put_event(
            'enrollment.closed',
            instance=base.OTHER_INSTANCE,
            project=base.OTHER_PROJECT,
        )

    def list_kinds(self, query=''):
        response = self.app.get('/v1/events' + query)
        return [row['kind'] for row in response.json['events']]

    def test_list(self):
        self.assertEqual(
            {'enrollment.offered', 'key.rotated', 'enrollment.closed'},
            set(self.list_kinds()),
        )

    def test_filters(self):
        self.assertEqual(
            ['enrollment.offered'],
            self.list_kinds('?instance=' + base.INSTANCE),
        )
        self.assertEqual(
            ['enrollment.closed'],
            self.list_kinds('?project_id=' + base.OTHER_PROJECT),
        )

    def test_event(self):
        response = self.app.get('/v1/events?instance=' + base.INSTANCE)
        event = response.json['events'][0]
        self.assertIsInstance(event.pop('id'), int)
        self.assertEqual(
            {
                'at': '2026-11-21T08:00:00Z',
                'kind': 'enrollment.offered',
                'instance': base.INSTANCE,
                'project_id': base.PROJECT,
                'request_id': 'req-1',
                'detail': {'epoch': 1},
            },
            event,
        )

    def test_pages(self):
        seen = []
        url = '/v1/events?limit=2'
        while url:
            response = self.app.get(url)
            seen += [row['id'] for row in response.json['events']]
            url = response.json['links']['next']
        self.assertEqual(3, len(set(seen)))

    def test_bad_marker(self):
        response = self.app.get('/v1/events?marker=-1', status='*')
        self.assertIn(
            'marker', self.assert_error(response, 400, 'bad_request')
        )
