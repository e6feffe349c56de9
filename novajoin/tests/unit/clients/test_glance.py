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

from requests import exceptions as requests_exceptions
import testscenarios

from novajoin import exceptions
from novajoin.clients import glance
from novajoin.tests import base
from novajoin.tests.unit.clients import cloud

IMAGE = '4257d703-3e5b-4342-8b98-31125925b60f'
PATH = '/v2/images/' + IMAGE

# As glance's WSGI layer (webob) writes it.
GONE = (
    '<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n'
    '  <h1>404 Not Found</h1>\n  No image found with ID %s<br /><br />\n\n'
    '\n </body>\n</html>' % IMAGE
)


class GlanceCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = self.useFixture(cloud.Cloud())
        self.http = self.cloud.requests
        self.glance = self.build()

    def build(self, **overrides):
        conf = cloud.build_conf(**overrides)
        return glance.Glance(self.cloud.build_session(conf), conf.glance)

    def find(self, timeout=5):
        return self.glance.find_properties(IMAGE, timeout=timeout)


class TestFindProperties(GlanceCase):
    def test_recorded(self):
        """NJ14: an image's wish is read from its properties."""
        answer = self.http.get(
            cloud.GLANCE + PATH, json=cloud.load('glance-image.json')
        )
        self.assertEqual(
            {
                'os_version': '9',
                'os_distro': 'centos',
                'ipa_enroll': 'True',
                'owner_specified.openstack.md5': '',
                'owner_specified.openstack.sha256': '',
                'owner_specified.openstack.object': 'images/tiny',
            },
            self.find(),
        )
        self.assertEqual(1, answer.call_count)

    def test_gone(self):
        self.http.get(
            cloud.GLANCE + PATH,
            text=GONE,
            status_code=404,
            headers={'Content-Type': 'text/html'},
        )
        self.assertIsNone(self.find())

    def test_hidden_from_an_account_that_is_not_admin(self):
        """A private image's wish must not be missed for want of a role."""
        self.cloud.requests.post(
            cloud.KEYSTONE + '/v3/auth/tokens',
            json=cloud.build_token(roles=('service',)),
            headers={'X-Subject-Token': 'a-token'},
        )
        self.http.get(
            cloud.GLANCE + PATH,
            text=GONE,
            status_code=404,
            headers={'Content-Type': 'text/html'},
        )
        self.assertRaises(exceptions.ImageUnavailable, self.find)

    def test_servers_are_tried_in_order(self):
        """The list of servers of novajoin 1.3.0 still works."""
        self.http.get(
            'http://a.example.com' + PATH,
            exc=requests_exceptions.ConnectionError,
        )
        self.http.get(
            'http://b.example.com:9292' + PATH,
            json=cloud.load('glance-image.json'),
        )
        self.glance = self.build(
            glance__api_servers=[
                'http://a.example.com',
                'b.example.com:9292',
            ]
        )
        self.assertEqual('True', self.find()['ipa_enroll'])

    def test_retries(self):
        answer = self.http.get(cloud.GLANCE + PATH, status_code=503)
        self.glance = self.build(glance__num_retries=2)
        self.assertRaises(exceptions.ImageUnavailable, self.find)
        self.assertEqual(3, answer.call_count)

    def test_silent_peer(self):
        silence = self.useFixture(cloud.Silence())
        self.http.real_http = True
        self.glance = self.build(
            glance__api_servers=[silence.url] * 3, glance__num_retries=10
        )
        self.assertRaises(exceptions.ImageUnavailable, self.find, 0.2)

    def test_check(self):
        self.http.get(
            cloud.GLANCE + '/v2/schemas/image',
            [{'json': {'name': 'image'}}, {'status_code': 500}],
        )
        self.glance.check()
        self.assertRaises(exceptions.ImageUnavailable, self.glance.check)


class TestUnusableAnswers(testscenarios.WithScenarios, GlanceCase):
    scenarios = [
        ('500', {'answer': {'status_code': 500}}),
        ('401', {'answer': {'status_code': 401}}),
        ('403', {'answer': {'status_code': 403}}),
        ('300', {'answer': {'status_code': 300, 'json': {}}}),
        ('empty 404', {'answer': {'status_code': 404}}),
        (
            'balancer 404',
            {'answer': {'status_code': 404, 'text': '<h1>Not Found</h1>'}},
        ),
        ('garbage', {'answer': {'text': '{"id":'}}),
        (
            'declared garbage',
            {
                'answer': {
                    'text': '{"id":',
                    'headers': {'Content-Type': 'application/json'},
                }
            },
        ),
        ('list', {'answer': {'json': [1]}}),
        ('empty', {'answer': {'json': {}}}),
        ('another', {'answer': {'json': {'id': 'another'}}}),
        ('refused', {'answer': {'exc': requests_exceptions.ConnectionError}}),
        ('timeout', {'answer': {'exc': requests_exceptions.ReadTimeout}}),
    ]

    def test_image(self):
        self.http.get(cloud.GLANCE + PATH, **self.answer)
        self.assertRaises(exceptions.ImageUnavailable, self.find)
