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

"""Enrollments."""

import dataclasses
import datetime
import uuid

from novajoin import exceptions
from novajoin import models
from novajoin.tests.unit.api import base

URL = '/v1/enrollments/' + base.INSTANCE

#: Queries of a list that are refused, with words of the message; a page has
#: three rows at most.
BAD_QUERIES = (
    ('limit=0', 'limit has to be a whole number'),
    ('limit=-1', 'limit has to be a whole number'),
    ('limit=4', 'limit may be 3 at most'),
    ('limit=9999999', 'limit may be 3 at most'),
    ('limit=' + '9' * 5000, 'limit may be 3 at most'),
    ('limit=1&limit=2', 'limit'),
    ('limit=%EF%BC%91', 'limit has to be'),
    ('state=happy', 'state has to be one of pending, offered'),
    ('marker=x', 'marker has to be a uuid'),
    ('marker=%s%%0A' % base.INSTANCE, 'marker has to be a uuid'),
    ('project_id=a/b', 'project_id has to be the id of a project'),
    ('hostname=', 'hostname has to be a host name'),
    ('hostname=a%00', 'hostname has to be a host name'),
    ('hostname=%F0%9F%98%80', 'hostname has to be a host name'),
    ('color=blue', "has the unknown key 'color'"),
)


class TestShow(base.ApiTestCase):
    def test_show(self):
        self.put_enrollment()
        response = self.app.get(URL)
        self.assertEqual(
            {
                'instance': base.INSTANCE,
                'project_id': base.PROJECT,
                'hostname': 'web-1.example.com',
                'state': 'offered',
                'suspended_from': None,
                'epoch': 2,
                'generation': 3,
                'refusal': None,
                'is_confirmed_by_nova': True,
                'is_confirmed_by_identity': None,
                'host_id': None,
                'image': None,
                'opened_at': '2026-11-21T08:00:00Z',
                'expires_at': '2026-11-21T09:00:00Z',
                'rebuild_at': None,
                'created_at': '2026-11-21T08:00:00Z',
                'updated_at': '2026-11-21T08:00:00Z',
            },
            response.json['enrollment'],
        )
        self.assertEqual('"2.3"', response.headers['ETag'])

    def test_nothing_that_a_credential_is_made_of(self):
        """Salt, key and digest stay in the database."""
        self.put_enrollment()
        text = self.app.get(URL).text
        for value in (
            base.ENROLLMENT.salt.decode(),
            base.ENROLLMENT.salt.hex(),
            base.ENROLLMENT.key_id,
            base.ENROLLMENT.token_sha256.hex(),
            'token',
            'ipa_enroll',
        ):
            self.assertNotIn(value, text)

    def test_unknown(self):
        for part in (
            base.OTHER_INSTANCE,
            base.INSTANCE.upper(),
            'x',
            '..',
            '%00',
            "'%20or%201=1",
        ):
            response = self.app.get('/v1/enrollments/' + part, status='*')
            self.assert_error(response, 404, 'not_found')

    def test_nothing_below(self):
        self.put_enrollment()
        for part in ('/x', '/revoke/x', '//revoke'):
            response = self.app.post(URL + part, status='*')
            self.assert_error(response, 404, 'not_found')


class TestList(base.ApiTestCase):
    def put_some(self, count=5):
        instances = sorted(
            str(uuid.UUID(int=number * 2**100, version=4))
            for number in range(1, count + 1)
        )
        for number, instance in enumerate(instances):
            self.put_enrollment(
                instance=instance,
                hostname=f'web-{number}.example.com',
                project=base.PROJECT if number % 2 else base.OTHER_PROJECT,
                state=models.State.ENROLLED if number else models.State.CLOSED,
            )
        return instances

    def list_instances(self, **query):
        response = self.app.get('/v1/enrollments', query)
        return [row['instance'] for row in response.json['enrollments']]

    def test_pages(self):
        instances = self.put_some()
        response = self.app.get('/v1/enrollments?limit=2&state=enrolled')
        pages = 1
        seen = [row['instance'] for row in response.json['enrollments']]
        while response.json['links']['next']:
            response = self.app.get(response.json['links']['next'])
            seen += [row['instance'] for row in response.json['enrollments']]
            pages += 1
        self.assertEqual(instances[1:], seen)
        self.assertEqual(2, pages)

    def test_page_without_limit(self):
        instances = self.put_some()
        response = self.app.get('/v1/enrollments')
        self.assertEqual(3, len(response.json['enrollments']))
        self.assertEqual(
            '/v1/enrollments?marker=' + instances[2],
            response.json['links']['next'],
        )

    def test_filters(self):
        instances = self.put_some()
        self.assertEqual(instances[:1], self.list_instances(state='closed'))
        self.assertEqual(
            instances[1::2], self.list_instances(project_id=base.PROJECT)
        )
        self.assertEqual(
            instances[3:4], self.list_instances(hostname='web-3.example.com')
        )
        self.assertEqual(
            [],
            self.list_instances(
                hostname='web-3.example.com', project_id=base.OTHER_PROJECT
            ),
        )

    def test_bad_queries(self):
        for query, words in BAD_QUERIES:
            response = self.app.get('/v1/enrollments?' + query, status='*')
            message = self.assert_error(response, 400, 'bad_request')
            self.assertIn(words, message)


class TestActions(base.ApiTestCase):
    def setUp(self):
        super().setUp()
        self.put_enrollment()
        self.changed = dataclasses.replace(
            base.ENROLLMENT,
            generation=4,
            updated_at=base.NOW + datetime.timedelta(seconds=1),
        )

    def get_caller(self, response):
        return models.Caller(
            response.headers['X-Openstack-Request-Id'], 'noauth', 'noauth'
        )

    def test_revoke_and_retry(self):
        for action in ('revoke', 'retry'):
            method = getattr(self.operations, action)
            method.return_value = self.changed
            response = self.app.post(f'{URL}/{action}')
            self.assertEqual('"2.4"', response.headers['ETag'])
            self.assertEqual(4, response.json['enrollment']['generation'])
            method.assert_called_once_with(
                base.INSTANCE, self.get_caller(response)
            )

    def test_reissue(self):
        self.operations.reissue.return_value = self.changed
        for header, expected in (
            ({}, None),
            ({'If-Match': '*'}, None),
            ({'If-Match': '"2.3"'}, (2, 3)),
        ):
            response = self.app.post(URL + '/reissue', headers=header)
            self.operations.reissue.assert_called_with(
                base.INSTANCE, self.get_caller(response), expected=expected
            )

    def test_reissue_of_something_else(self):
        self.operations.reissue.side_effect = exceptions.PreconditionFailed()
        response = self.app.post(
            URL + '/reissue', headers={'If-Match': '"1.1"'}, status='*'
        )
        self.assert_error(response, 412, 'precondition_failed')

    def test_bad_if_match(self):
        for text in ('2.3', 'W/"2.3"', '"2"', '"2.3", "2.4"', '""'):
            response = self.app.post(
                URL + '/reissue', headers={'If-Match': text}, status='*'
            )
            message = self.assert_error(response, 400, 'bad_request')
            self.assertIn('If-Match', message)
        self.operations.reissue.assert_not_called()

    def test_release(self):
        self.operations.release.return_value = self.changed
        response = self.app.post_json(URL + '/release', {'reason': 'gone'})
        self.operations.release.assert_called_once_with(
            base.INSTANCE, self.get_caller(response), reason='gone'
        )

    def test_release_without_a_reason(self):
        for body in ({}, {'reason': ''}, {'reason': None}, {'reason': 'a\nb'}):
            response = self.app.post_json(URL + '/release', body, status='*')
            self.assertIn(
                'reason', self.assert_error(response, 400, 'invalid_body')
            )
        self.operations.release.assert_not_called()

    def test_body_where_none_is_taken(self):
        response = self.app.post_json(URL + '/revoke', {'a': 1}, status='*')
        self.assert_error(response, 400, 'invalid_body')
        self.operations.revoke.assert_not_called()
        self.operations.revoke.return_value = self.changed
        self.app.post_json(URL + '/revoke', {})

    def test_unknown_instance(self):
        for action in ('revoke', 'retry', 'reissue', 'release'):
            response = self.app.post_json(
                f'/v1/enrollments/{base.OTHER_INSTANCE}/{action}',
                {'reason': 'x'} if action == 'release' else {},
                status='*',
            )
            self.assert_error(response, 404, 'not_found')
        self.assert_nothing_done()

    def test_conflict(self):
        self.operations.reissue.side_effect = exceptions.StateConflict()
        response = self.app.post(URL + '/reissue', status='*')
        self.assert_error(response, 409, 'state_conflict')

    def test_get_does_nothing(self):
        for action in ('revoke', 'retry', 'reissue', 'release'):
            response = self.app.get(f'{URL}/{action}', status='*')
            self.assert_error(response, 405, 'method_not_allowed')
            self.assertEqual('POST', response.headers['Allow'])
        response = self.app.get(f'{URL}/revoke?_method=post', status='*')
        self.assert_error(response, 405, 'method_not_allowed')
