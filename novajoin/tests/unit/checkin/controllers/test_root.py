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
"""What is at which path, for which method."""

import testscenarios

from novajoin.tests.unit.checkin import fakes

PATHS = {
    fakes.EST + 'cacerts': 'GET, HEAD, OPTIONS',
    fakes.EST + 'csrattrs': 'GET, HEAD, OPTIONS',
    fakes.EST + 'simpleenroll': 'POST, OPTIONS',
    fakes.EST + 'simplereenroll': 'POST, OPTIONS',
    '/ca.crt': 'GET, HEAD, OPTIONS',
    '/crl/cccccccccccccccc.crl': 'GET, HEAD, OPTIONS',
    '/v1/receipts': 'POST, OPTIONS',
    '/healthcheck': 'GET, HEAD, OPTIONS',
}
METHODS = (
    'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'CONNECT',
    'PROPFIND', 'get', 'X' * 100,
)  # fmt: skip


class TestMethods(testscenarios.WithScenarios, fakes.AppTestCase):
    scenarios = [
        (path, {'path': path, 'allow': allow}) for path, allow in PATHS.items()
    ]

    def test_other_methods(self):
        for method in METHODS:
            if method not in self.allow.split(', '):
                answer = self.ask(self.path, method)
                if method != 'HEAD':
                    self.assert_error(answer, 405, 'method_not_allowed')
                self.assertEqual(405, answer.status_int)
                self.assertEqual(self.allow, answer.headers['Allow'])
        self.assert_untouched()

    def test_options(self):
        answer = self.ask(self.path, 'OPTIONS')
        self.assertEqual((204, b''), (answer.status_int, answer.body))
        self.assertEqual(self.allow, answer.headers['Allow'])
        self.assertNotIn('Access-Control-Allow-Origin', answer.headers)

    def test_only_this_spelling(self):
        """No redirects, no labels, nothing to be resolved."""
        for path in (
            self.path + '/',
            '/' + self.path,
            self.path.replace('/', '//'),
            self.path + '.json',
            self.path + '/x',
            self.path.upper().replace('/CRL/CCCC', '/x'),
            '/x/..' + self.path,
            '/.' + self.path,
            self.path + '%00',
            self.path + '%20',
            self.path + ';a=b',
            self.path.replace('/', '\\'),
            self.path.rpartition('/')[0],
            self.path.rpartition('/')[0] + '/',
        ):
            for method in ('GET', 'POST'):
                answer = self.ask(path, method)
                self.assert_error(answer, 404, 'not_found')
        self.assert_untouched()

    def test_a_query_is_ignored(self):
        for query in ('a=b', 'request=1&response=2&name=x', '%ff=%fe', '&&='):
            path = '%s?%s' % (self.path, query)
            answer = self.ask(path, 'OPTIONS')
            self.assertEqual(204, answer.status_int)


class TestElsewhere(fakes.AppTestCase):
    def test_nothing(self):
        for path in (
            '/',
            '/v1',
            '/v1/',
            '/v1/enrollments',
            '/.well-known/',
            '/.well-known/est',
            fakes.EST,
            fakes.EST + 'label/simpleenroll',
            fakes.EST + 'label/cacerts',
            fakes.EST + 'serverkeygen',
            fakes.EST + 'fullcmc',
            '/_route',
            '/list_methods',
            '/__class__',
            '/' + 'a/' * 2000,
        ):
            for method in ('GET', 'POST', 'OPTIONS'):
                answer = self.ask(path, method)
                self.assert_error(answer, 404, 'not_found')
        self.assert_untouched()

    def test_path_that_is_not_utf8(self):
        for path in ('/%ff%fe', '/ca.crt%ff', '/%c3%28', '/%ed%a0%80'):
            self.assert_error(self.ask(path), 404, 'not_found')

    def test_path_that_is_no_path(self):
        for path in ('', '*', 'x', 'http://example.com/ca.crt', '\udcff'):
            answer = self.ask('/', environ={'PATH_INFO': path})
            self.assert_error(answer, 404, 'not_found')

    def test_request_id_of_the_client_is_not_taken(self):
        answer = self.ask('/', headers={'X-Openstack-Request-Id': 'req-mine'})
        self.assertNotIn('mine', answer.text)

    def test_common_headers(self):
        for path in ('/', '/ca.crt', '/healthcheck'):
            answer = self.ask(path)
            self.assertEqual(
                'nosniff', answer.headers['X-Content-Type-Options']
            )
            self.assertRegex(answer.headers['X-Openstack-Request-Id'], '^req-')
            self.assertEqual('no-store', answer.headers['Cache-Control'])
