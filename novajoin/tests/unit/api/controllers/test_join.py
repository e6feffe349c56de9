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

"""Nova's post."""

import json
import pathlib

from novajoin import exceptions
from novajoin import models
from novajoin.tests.unit.api import base

RECORDED = pathlib.Path(__file__).parents[1] / 'recorded'


class TestRecordedPosts(base.ApiTestCase):
    def test_posts_of_a_real_nova(self):
        """NJ1: what nova posts is taken as it is."""
        bodies = []
        for path in sorted(RECORDED.glob('*.json')):
            for post in json.loads(path.read_text()):
                headers = {
                    name: value
                    for name, value in post['headers']
                    if name not in ('Connection', 'Content-Length')
                }
                response = self.app.post(
                    post['path'], post['raw_body'], headers=headers
                )
                self.assertEqual({}, response.json)
                bodies.append(post['body'])
        self.assertEqual(9, len(bodies))
        for call, body in zip(
            self.admission.answer.call_args_list, bodies, strict=True
        ):
            self.assertEqual(
                models.VendordataPost(
                    instance=body['instance-id'],
                    project=body['project-id'],
                    image=body['image-id'],
                    hostname=body['hostname'],
                    metadata=body['metadata'],
                ),
                call.args[0],
            )


class TestPost(base.ApiTestCase):
    def post(self, **changes):
        return self.app.post_json('/v1/', {**base.POST, **changes})

    def get_post(self):
        return self.admission.answer.call_args.args[0]

    def test_not_asked(self):
        response = self.post()
        self.assertEqual(b'{}', response.body)
        self.assertEqual('application/json', response.content_type)
        self.assertEqual('no-store', response.headers['Cache-Control'])

    def test_asked(self):
        answer = {
            'hostname': 'web-1.example.com',
            'ipaotp': 'nji1secret',
            'krb_realm': 'EXAMPLE.COM',
            'bootstrap': {'v': 1, 'payload': 'e30=', 'sha256': 'a' * 64},
        }
        self.admission.answer.return_value = answer
        self.assertEqual(answer, self.post().json)

    def test_state_only(self):
        answer = {'hostname': 'web-1.example.com', 'state': 'expired'}
        self.admission.answer.return_value = answer
        self.assertEqual(answer, self.post().json)

    def test_half_an_answer_is_never_sent(self):
        self.admission.answer.return_value = {'hostname': 'web-1.example.com'}
        response = self.app.post_json('/v1/', base.POST, status='*')
        self.assert_error(response, 500, 'internal_error')

    def test_without_the_final_slash(self):
        self.assertEqual({}, self.app.post_json('/v1', base.POST).json)

    def test_booted_from_volume(self):
        for image in ('', None):
            self.post(**{'image-id': image})
            self.assertIsNone(self.get_post().image)

    def test_metadata_empty(self):
        self.post(metadata={})
        self.assertEqual({}, self.get_post().metadata)

    def test_only_what_is_needed(self):
        body = {
            key: base.POST[key]
            for key in ('project-id', 'instance-id', 'hostname')
        }
        self.app.post_json('/v1/', body)
        self.assertEqual(
            models.VendordataPost(
                base.INSTANCE, base.PROJECT, None, 'web-1', {}
            ),
            self.get_post(),
        )

    def test_newer_nova(self):
        """Keys that are not known yet are let through."""
        self.post(**{'a-new-key': {'deep': [1, 2.5, None, True]}})
        self.assertEqual(base.INSTANCE, self.get_post().instance)

    def test_body_never_becomes_arguments(self):
        extra = dict.fromkeys(('self', 'request', 'response', 'args'), 'x')
        self.app.post_json('/v1/', {**base.POST, **extra})
        self.assertEqual(base.INSTANCE, self.get_post().instance)

    def test_caller(self):
        response = self.post()
        caller = self.admission.answer.call_args.args[1]
        self.assertEqual(
            models.Caller(
                request_id=response.headers['X-Openstack-Request-Id'],
                user='noauth',
                project='noauth',
            ),
            caller,
        )

    def test_errors_of_the_domain(self):
        for error in (
            exceptions.InvalidHostname('The hostname is bad.'),
            exceptions.IdentityRefused(),
            exceptions.Closed(),
            exceptions.ComputeUnavailable(),
            exceptions.ImageUnavailable(retry_after=7),
            exceptions.KeyUnavailable(),
            exceptions.DatabaseUnavailable(),
        ):
            self.admission.answer.side_effect = error
            response = self.app.post_json('/v1/', base.POST, status='*')
            message = self.assert_error(response, error.status, error.reason)
            self.assertEqual(error.message, message)
            retry_after = getattr(error, 'retry_after', None)
            self.assertEqual(
                retry_after and str(retry_after),
                response.headers.get('Retry-After'),
            )

    def test_defect(self):
        self.admission.answer.side_effect = RuntimeError('secret njt1_abc')
        response = self.app.post_json('/v1/', base.POST, status='*')
        self.assert_error(response, 500, 'internal_error')
        self.assertNotIn('secret', response.text)

    def test_fault_names_of_1_3_0(self):
        self.admission.answer.side_effect = exceptions.Forbidden()
        response = self.app.post_json('/v1/', base.POST, status=403)
        self.assertEqual('forbidden', response.json['error']['fault_name'])
        response = self.app.post_json('/v1/', {}, status=400)
        self.assertEqual('badRequest', response.json['error']['fault_name'])
