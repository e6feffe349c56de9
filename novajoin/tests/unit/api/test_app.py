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

"""What lies between the server and the handlers."""

import json
from unittest import mock
import uuid

import fixtures
from oslo_context import context as oslo_context

from novajoin import context
from novajoin import exceptions
from novajoin.api import errors
from novajoin.tests.unit.api import base


class TestRequestIds(base.ApiTestCase):
    def get_id(self, headers=None):
        return self.app.get('/', headers=headers).headers[
            'X-Openstack-Request-Id'
        ]

    def test_own_id(self):
        ids = {self.get_id() for _ in range(3)}
        self.assertEqual(3, len(ids))
        for request_id in ids:
            self.assertEqual(request_id, context.find_request_id(request_id))

    def test_the_id_of_the_client_is_not_ours(self):
        theirs = 'req-%s' % uuid.uuid4()
        for text in (theirs, 'req-1', 'x' * 1000):
            self.assertNotEqual(
                text, self.get_id({'X-Openstack-Request-Id': text})
            )

    def test_global_id_only_if_valid(self):
        seen = []

        def look(post, caller):
            seen.append(oslo_context.get_current().global_request_id)
            return {}

        self.admission.answer.side_effect = look
        theirs = 'req-%s' % uuid.uuid4()
        for text in (theirs, 'req-1', theirs.upper(), theirs + 'x'):
            self.app.post_json(
                '/v1/', base.POST, headers={'X-Openstack-Request-Id': text}
            )
        self.assertEqual([theirs, None, None, None], seen)

    def test_log_line(self):
        log = self.useFixture(fixtures.FakeLogger('novajoin.api.app'))
        self.app.get('/v1/a%0Ab%1Bc?secret=x', status='*')
        self.assertIn(r"'GET' '/v1/a\nb\x1bc' 404 from 127.0.0.1", log.output)
        self.assertNotIn('secret', log.output)

    def test_context_of_the_log_has_no_token(self):
        seen = []

        def look(post, caller):
            seen.append(oslo_context.get_current().to_dict())
            return {}

        self.admission.answer.side_effect = look
        self.app.post_json(
            '/v1/', base.POST, headers={'X-Auth-Token': 'a-live-token'}
        )
        self.assertNotIn('a-live-token', str(seen))


class TestErrors(base.ApiTestCase):
    def test_everything_has_the_one_shape(self):
        for method, path, headers, status, reason in (
            ('GET', '/nothing', {}, 404, 'not_found'),
            ('GET', '/v1/nothing', {}, 404, 'not_found'),
            ('GET', '/v1/%ff', {}, 400, 'bad_request'),
            ('GET', '/v1/%C3%BC', {}, 404, 'not_found'),
            ('GET', '/v1/events?%ff', {}, 400, 'bad_request'),
            ('GET', '/v1/events?x', {}, 400, 'bad_request'),
            ('GET', '/v1//', {}, 404, 'not_found'),
            ('GET', '/healthcheck/nothing', {}, 404, 'not_found'),
            ('POST', '/healthcheck', {}, 405, 'method_not_allowed'),
            ('PUT', '/v1/', {}, 405, 'method_not_allowed'),
            ('DELETE', '/v1/events', {}, 405, 'method_not_allowed'),
            ('TRACE', '/v1/', {}, 405, 'method_not_allowed'),
            ('PATCH', '/', {}, 405, 'method_not_allowed'),
            ('GET', '/v1/', {'Accept': 'image/png'}, 406, 'not_acceptable'),
        ):
            response = self.app.request(
                path, method=method, headers=headers, status='*'
            )
            self.assert_error(response, status, reason)

    def test_method_override_is_not_believed(self):
        response = self.app.get('/v1/?_method=post', status='*')
        self.assert_error(response, 400, 'bad_request')
        response = self.app.get(
            '/v1/',
            headers={'X-HTTP-Method-Override': 'POST'},
        )
        self.assertIn('version', response.json)
        self.admission.answer.assert_not_called()

    def test_allow_header(self):
        response = self.app.put('/v1/', status=405)
        self.assertEqual('GET, HEAD, POST', response.headers['Allow'])
        response = self.app.post('/v1/events', status=405)
        self.assertEqual('GET, HEAD', response.headers['Allow'])

    def test_extension_is_part_of_the_name(self):
        """P11: nothing is guessed from what looks like an extension."""
        for name in ('web1.example.com', 'x.json'):
            response = self.app.get('/v1/enrollments/' + name, status='*')
            message = self.assert_error(response, 404, 'not_found')
            self.assertEqual('There is no such enrollment.', message)

    def test_defect_in_a_layer(self):
        def application(environ, start_response):
            raise RuntimeError('secret')

        response = self.shape(application)
        self.assertEqual('500 Internal Server Error', response[0])
        self.assertNotIn(b'secret', response[1])

    def test_unknown_status_of_a_library(self):
        for status, code, reason in (
            ('418 Teapot', 400, 'bad_request'),
            ('502 Bad', 500, 'internal_error'),
            ('503 Away', 503, 'unavailable'),
        ):
            closed = mock.Mock()

            class Body(list):
                close = closed

            def application(environ, start_response, status=status, body=Body):
                start_response(status, [('Content-Type', 'text/html')])
                return body([b'secret'])

            line, body = self.shape(application)
            self.assertEqual(code, int(line[:3]))
            self.assertEqual(reason, json.loads(body)['error']['reason'])
            closed.assert_called_once_with()

    def shape(self, application):
        lines = []

        def start_response(status, headers, exc_info=None):
            lines.append(status)

        body = b''.join(errors.Shaper(application)({}, start_response))
        return lines[0], body

    def test_every_error_has_a_status_line(self):
        def walk(cls):
            yield cls
            for child in cls.__subclasses__():
                yield from walk(child)

        for cls in walk(exceptions.NovajoinError):
            status = cls.status
            self.assertTrue(400 <= status < 600, cls)
            line, headers, body = errors.respond(
                errors.from_status(status), {}
            )
            self.assertEqual('application/json', dict(headers)['Content-Type'])
            self.assertTrue(line[4:], cls)


class TestNoAuth(base.ApiTestCase):
    def test_other_machines_are_refused(self):
        for peer in ('192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1'):
            response = self.app.get(
                '/v1/events',
                extra_environ={'REMOTE_ADDR': peer},
                status='*',
            )
            self.assert_error(response, 403, 'forbidden')

    def test_this_machine(self):
        for peer in ('127.0.0.1', '::1', '::ffff:127.0.0.1', ''):
            self.app.get('/v1/events', extra_environ={'REMOTE_ADDR': peer})

    def test_what_a_proxy_passes_on_is_refused(self):
        for header in ('X-Forwarded-For', 'Forwarded'):
            response = self.app.get(
                '/v1/events', headers={header: '127.0.0.1'}, status='*'
            )
            self.assert_error(response, 403, 'forbidden')

    def test_headers_change_nothing(self):
        self.app.post_json(
            '/v1/',
            base.POST,
            headers={
                'X-User-Id': 'x',
                'X-Roles': 'reader',
                'X-Domain-Id': 'y',
                'OpenStack-System-Scope': 'all',
            },
        )
        caller = self.admission.answer.call_args.args[1]
        self.assertEqual('noauth', caller.user)

    def test_says_so(self):
        log = self.useFixture(fixtures.FakeLogger('novajoin.api.app'))
        self.make_app()
        self.assertIn('everybody who reaches this process', log.output)


class TestProxy(base.ApiTestCase):
    def test_headers_are_believed_only_when_told_to(self):
        headers = {
            'X-Forwarded-Proto': 'https',
            'X-Forwarded-Host': 'join.example.com',
        }

        def get_href():
            response = self.app.get('/v1/', headers=headers)
            return response.json['version']['links'][0]['href']

        self.assertEqual('http://localhost/v1/', get_href())
        conf = base.make_conf()
        self.app = self.make_app(conf=conf, has_proxy=True)
        conf.set_override(
            'enable_proxy_headers_parsing', True, group='oslo_middleware'
        )
        self.assertEqual('https://join.example.com/v1/', get_href())
