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

"""Who may do what, with tokens and the default policies."""

import dataclasses
from unittest import mock

from keystoneauth1 import exceptions as keystone_exceptions
from keystonemiddleware import auth_token
from keystonemiddleware import fixture
from oslo_config import cfg

from novajoin import exceptions
from novajoin.api import app
from novajoin.tests.unit.api import base

NOVA = '11111111111111111111111111111111'


class TokenTestCase(base.ApiTestCase):
    is_noauth = False

    def setUp(self):
        super().setUp()
        self.tokens = self.useFixture(fixture.AuthTokenFixture())

    def make_headers(
        self,
        *roles,
        user='alice',
        user_id='alice-id',
        domain='default',
        project=base.PROJECT,
    ):
        """Return the headers with a new token."""
        token = f'token-{len(self.tokens.tokens)}'
        self.tokens.add_token_data(
            token_id=token,
            user_id=user_id,
            user_name=user,
            user_domain_id=domain,
            user_domain_name=domain,
            project_id=project,
            project_name=project and 'demo',
            project_domain_id=project and 'default',
            project_domain_name=project and 'Default',
            role_list=list(roles),
        )
        return {'X-Auth-Token': token}

    def make_nova(self, **changes):
        """Return the headers of nova's own account, as recorded."""
        return self.make_headers(
            *('admin', 'manager', 'member', 'service', 'reader'),
            **{'user': 'nova', 'user_id': NOVA, **changes},
        )


class TestValidate(base.ApiTestCase):
    def make_conf(self, text):
        path = self.make_directory() / 'join.conf'
        path.write_text('[keystone_authtoken]\n' + text)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[path])
        return conf

    def test_an_account(self):
        app.validate(
            self.make_conf(
                'auth_type = password\nauth_url = http://127.0.0.1:1\n'
                'username = join\npassword = x\n'
            )
        )

    def test_what_is_wrong_is_named(self):
        for text, words in (
            ('', 'auth_strategy = noauth'),
            ('auth_type = password', 'auth_url'),
            ('auth_type = nonsense', 'nonsense'),
        ):
            error = self.assertRaises(
                exceptions.ConfigurationError,
                app.validate,
                self.make_conf(text),
            )
            self.assertEqual('[keystone_authtoken] auth_type', error.option)
            self.assertIn(words, error.message)


class TestPost(TokenTestCase):
    """NJ9: nobody but nova may post."""

    def post(self, headers):
        return self.app.post_json(
            '/v1/', base.POST, headers=headers, status='*'
        )

    def assert_refused(self, headers, status=403, reason='forbidden'):
        self.assert_error(self.post(headers), status, reason)
        self.admission.answer.assert_not_called()

    def test_nova(self):
        response = self.post(self.make_nova())
        self.assertEqual({}, response.json)
        caller = self.admission.answer.call_args.args[1]
        self.assertEqual(NOVA, caller.user)
        self.assertEqual(base.PROJECT, caller.project)

    def test_no_token(self):
        self.assert_refused({}, 401, 'unauthorized')
        self.assertIn('WWW-Authenticate', self.post({}).headers)

    def test_unknown_token(self):
        self.assert_refused({'X-Auth-Token': 'x'}, 401, 'unauthorized')

    def test_user(self):
        self.assert_refused(self.make_headers('member', 'reader'))

    def test_admin_is_not_nova(self):
        self.assert_refused(self.make_headers('admin'))

    def test_other_service(self):
        self.assert_refused(
            self.make_headers('service', user='cinder', user_id='cinder-id')
        )

    def test_nova_without_the_role(self):
        self.assert_refused(
            self.make_headers('member', user='nova', user_id=NOVA)
        )

    def test_user_of_that_name_in_another_domain(self):
        self.assert_refused(self.make_nova(domain='evil'))

    def test_domain_of_that_name(self):
        """The id of the domain counts: anybody may be called Default."""
        self.tokens.add_token_data(
            token_id='t',
            user_id='x',
            user_name='nova',
            user_domain_id='evil',
            user_domain_name='default',
            project_id=base.PROJECT,
            role_list=['service'],
        )
        self.assert_refused({'X-Auth-Token': 't'})

    def test_domain_scoped_token(self):
        headers = self.make_nova(project=None)
        data = self.tokens._token_data[headers['X-Auth-Token']]
        data.set_domain_scope(id='default', name='Default')
        self.assert_refused(headers)

    def test_headers_of_the_client_are_not_believed(self):
        self.assert_refused(
            {
                'X-Identity-Status': 'Confirmed',
                'X-User-Id': NOVA,
                'X-User-Name': 'nova',
                'X-User-Domain-Id': 'default',
                'X-Roles': 'service,admin',
                'X-Project-Id': base.PROJECT,
            },
            401,
            'unauthorized',
        )

    def test_delayed_decision(self):
        """An operator's setting does not open the service."""
        conf = base.make_conf()
        conf.set_override(
            'delay_auth_decision', True, group='keystone_authtoken'
        )
        self.app = self.make_app(conf=conf)
        self.assert_refused({}, 401, 'unauthorized')
        self.assert_refused({'X-User-Id': NOVA}, 401, 'unauthorized')

    def test_configured_users(self):
        self.app = self.make_app(vendordata_user_ids=frozenset({'other'}))
        self.assert_refused(self.make_nova())
        response = self.post(
            self.make_headers('service', user='compute', user_id='other')
        )
        self.assertEqual({}, response.json)
        self.assertEqual(
            403,
            self.post(self.make_headers('admin', user_id='other')).status_int,
        )

    def test_refused_before_the_body_is_parsed(self):
        response = self.app.post(
            '/v1/', b'{', content_type='application/json', status='*'
        )
        self.assert_error(response, 401, 'unauthorized')

    def test_keystone_away(self):
        for error in (
            keystone_exceptions.ConnectFailure('secret'),
            keystone_exceptions.DiscoveryFailure('secret'),
        ):

            def fetch_token(*args, error=error, **kwargs):
                raise error

            self.patch(auth_token.AuthProtocol, 'fetch_token', fetch_token)
            response = self.post({'X-Auth-Token': 'x'})
            self.assert_error(response, 503, 'unavailable')
            self.assertNotIn('secret', response.text)
            self.assertIn('Retry-After', response.headers)

    def test_error_that_keystonemiddleware_words_itself(self):
        with mock.patch.object(
            auth_token.AuthProtocol,
            'process_request',
            autospec=True,
            side_effect=auth_token.webob.exc.HTTPServiceUnavailable('secret'),
        ):
            response = self.post({})
        self.assert_error(response, 503, 'unavailable')
        self.assertNotIn('secret', response.text)


class TestPersonas(TokenTestCase):
    """A reader of a project sees its own; an admin sees all."""

    enrollment = '/v1/enrollments/' + base.INSTANCE
    other = '/v1/enrollments/' + base.OTHER_INSTANCE

    def setUp(self):
        super().setUp()
        self.put_enrollment()
        self.put_enrollment(
            instance=base.OTHER_INSTANCE,
            project=base.OTHER_PROJECT,
            hostname='web-2.example.com',
        )
        self.put_certificate()
        self.put_event('a', instance=base.INSTANCE, project=base.PROJECT)
        self.put_event('b', project=base.OTHER_PROJECT)
        self.put_event('c')
        self.reader = self.make_headers('reader')
        self.admin = self.make_headers('admin', user_id='root')

    def get(self, url, headers, status='*'):
        return self.app.get(url, headers=headers, status=status)

    def test_reader_shows_the_own(self):
        self.get(self.enrollment, self.reader, 200)
        self.get('/v1/certificates/' + '5' * 32, self.reader, 200)
        self.get('/v1/allow-lists/' + base.PROJECT, self.reader, 200)

    def test_others_do_not_exist(self):
        stranger = self.make_headers('reader', project=base.OTHER_PROJECT)
        for headers, url in (
            (self.reader, self.other),
            (stranger, self.enrollment),
            (stranger, '/v1/certificates/' + '5' * 32),
            (stranger, '/v1/allow-lists/' + base.PROJECT),
            (self.make_headers(), self.enrollment),
            (self.make_headers('member'), self.enrollment),
            (self.make_headers('service'), self.enrollment),
        ):
            answers = {
                self.assert_error(self.get(url, headers), 404, 'not_found')
            }
            if 'enrollments' in url:
                unknown = '/v1/enrollments/' + base.OTHER_INSTANCE[::-1]
                answers.add(
                    self.assert_error(
                        self.get(unknown, headers), 404, 'not_found'
                    )
                )
            self.assertEqual(1, len(answers))

    def test_reader_lists_the_own(self):
        for noun, count in (
            ('enrollments', 1),
            ('certificates', 1),
            ('events', 1),
        ):
            for query in ('', '?project_id=' + base.PROJECT):
                response = self.get(f'/v1/{noun}{query}', self.reader, 200)
                self.assertEqual(count, len(response.json[noun]))
            response = self.get(
                f'/v1/{noun}?project_id={base.OTHER_PROJECT}', self.reader
            )
            self.assert_error(response, 403, 'forbidden')

    def test_admin_lists_all(self):
        for noun, count in (
            ('enrollments', 2),
            ('certificates', 1),
            ('events', 3),
        ):
            response = self.get(f'/v1/{noun}', self.admin, 200)
            self.assertEqual(count, len(response.json[noun]))
        response = self.get(
            '/v1/enrollments?project_id=' + base.OTHER_PROJECT, self.admin
        )
        self.assertEqual(1, len(response.json['enrollments']))

    def test_token_without_a_project(self):
        headers = self.make_headers('reader', project=None)
        for noun in ('enrollments', 'certificates', 'events'):
            self.assert_error(
                self.get(f'/v1/{noun}', headers), 403, 'forbidden'
            )

    def test_actions_are_for_admins(self):
        everything = self.make_headers('manager', 'member', 'reader')
        self.operations.revoke.return_value = base.ENROLLMENT
        for action in ('revoke', 'retry', 'reissue', 'release'):
            body = {'reason': 'x'} if action == 'release' else {}
            response = self.app.post_json(
                f'{self.enrollment}/{action}',
                body,
                headers=everything,
                status='*',
            )
            self.assert_error(response, 403, 'forbidden')
            response = self.app.post_json(
                f'{self.other}/{action}',
                body,
                headers=everything,
                status='*',
            )
            self.assert_error(response, 404, 'not_found')
        response = self.app.post(
            '/v1/certificates/%s/revoke' % ('5' * 32),
            headers=everything,
            status='*',
        )
        self.assert_error(response, 403, 'forbidden')
        self.assert_nothing_done()

    def test_admin_acts(self):
        self.operations.revoke.return_value = dataclasses.replace(
            base.ENROLLMENT
        )
        self.app.post(self.enrollment + '/revoke', headers=self.admin)
        caller = self.operations.revoke.call_args.args[1]
        self.assertEqual('root', caller.user)
