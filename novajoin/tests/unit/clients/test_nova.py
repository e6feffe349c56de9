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

import datetime

from keystoneauth1 import exceptions as ksa_exceptions
from requests import exceptions as requests_exceptions
import testscenarios

from novajoin import exceptions
from novajoin import models
from novajoin.clients import nova
from novajoin.tests import base
from novajoin.tests.unit.clients import cloud

INSTANCE = '9baef604-e3c9-4708-9b18-8e9fef008537'
OTHER = '5e6ee5f6-4a59-4d5c-b3c1-a2dfbc9b1d0c'
SERVER = '%s/servers/%s' % (cloud.NOVA, INSTANCE)
SERVERS = cloud.NOVA + '/servers/detail'
ACTIONS = SERVER + '/os-instance-actions'

GONE = {
    'itemNotFound': {
        'code': 404,
        'message': 'Instance %s could not be found.' % INSTANCE,
    }
}
ROUTER_404 = {
    'itemNotFound': {
        'code': 404,
        'message': 'The resource could not be found.',
    }
}


def make_action(name, request_id, at='2026-11-20T21:09:06.000000'):
    return {
        'action': name,
        'instance_uuid': INSTANCE,
        'request_id': request_id,
        'start_time': at,
        'message': None,
        'project_id': 'p',
        'user_id': 'u',
        'updated_at': at,
    }


class NovaCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = self.useFixture(cloud.Cloud())
        self.http = self.cloud.requests
        self.nova = self.build()

    def build(self, **overrides):
        conf = cloud.build_conf(**overrides)
        return nova.Nova(self.cloud.build_session(conf), conf.nova)

    def find(self):
        return self.nova.find_server(INSTANCE, timeout=5)

    def assert_unavailable(self, text, function, *args, **kwargs):
        error = self.assertRaises(
            exceptions.ComputeUnavailable, function, *args, **kwargs
        )
        self.assertIn(text, error.message)
        return error


class TestFindServer(NovaCase):
    def test_recorded(self):
        """NJ14: all that a decision needs is in nova's answer."""
        self.http.get(SERVER, json=cloud.load('nova-server.json'))

        self.assertEqual(
            models.Server(
                instance=INSTANCE,
                project='ef44c3558c6a4f1282307e52bca1fa81',
                hostname='web-1',
                status='ACTIVE',
                vm_state='active',
                task_state=None,
                launched_at=datetime.datetime(
                    2026, 11, 20, 21, 9, 6, tzinfo=datetime.timezone.utc
                ),
                has_config_drive=False,
                metadata={
                    'ipa_hostclass': 'webserver',
                    'ipa_enroll': 'True',
                    'compact_service_HTTP': '["internalapi"]',
                },
                image='4257d703-3e5b-4342-8b98-31125925b60f',
            ),
            self.find(),
        )
        self.assertEqual(
            'compute 2.58',
            self.http.last_request.headers['OpenStack-API-Version'],
        )

    def test_volume_config_drive_not_launched(self):
        answer = cloud.load('nova-server.json')
        answer['server'].update(
            {
                'image': '',
                'config_drive': 'True',
                'OS-SRV-USG:launched_at': None,
                'OS-EXT-STS:task_state': 'rebuild_spawning',
                'status': 'REBUILD',
            }
        )
        self.http.get(SERVER, json=answer)
        server = self.find()
        self.assertIsNone(server.image)
        self.assertTrue(server.has_config_drive)
        self.assertIsNone(server.launched_at)
        self.assertEqual('rebuild_spawning', server.task_state)

    def test_gone(self):
        self.http.get(SERVER, json=GONE, status_code=404)
        listing = self.http.get(SERVERS, json={'servers': []})
        self.assertIsNone(self.find())
        self.assertEqual(['1'], listing.last_request.qs['all_tenants'])
        self.assertEqual([INSTANCE], listing.last_request.qs['uuid'])

    def test_hidden_from_an_account_that_is_not_admin(self):
        """A 404 that means "not yours" must not end an identity."""
        self.http.get(SERVER, json=GONE, status_code=404)
        self.http.get(
            SERVERS,
            json={'forbidden': {'code': 403, 'message': 'Policy'}},
            status_code=403,
        )
        self.assert_unavailable('refuses the account', self.find)

    def test_hidden_by_a_policy_of_the_operators_own(self):
        self.http.get(SERVER, json=GONE, status_code=404)
        self.http.get(
            SERVERS,
            json={'servers': [cloud.load('nova-server.json')['server']]},
        )
        self.assert_unavailable('no usable answer', self.find)

    def test_token_is_renewed_on_401(self):
        self.http.get(
            SERVER,
            [
                {'status_code': 401},
                {'json': cloud.load('nova-server.json')},
            ],
        )
        self.assertEqual('web-1', self.find().hostname)
        self.assertEqual(2, self.cloud.tokens.call_count)

    def test_refused_for_good(self):
        self.http.get(SERVER, status_code=401)
        self.assert_unavailable('refuses the account', self.find)

    def test_keystone_404_is_not_novas(self):
        self.cloud.requests.post(
            cloud.KEYSTONE + '/v3/auth/tokens', status_code=404
        )
        self.assert_unavailable('cannot be asked', self.find)

    def test_no_endpoint(self):
        self.nova = self.build(nova__region_name='elsewhere')
        self.assert_unavailable('cannot be asked', self.find)

    def test_silent_peer(self):
        silence = self.useFixture(cloud.Silence())
        self.http.real_http = True
        self.nova = self.build(nova__endpoint_override=silence.url)
        self.assert_unavailable(
            'in time', self.nova.find_server, INSTANCE, timeout=0.2
        )

    def test_silent_keystone_counts_on_the_same_budget(self):
        silence = self.useFixture(cloud.Silence())
        self.http.real_http = True
        self.http.get(
            cloud.KEYSTONE,
            json={'versions': {'values': []}},
            status_code=300,
        )
        conf = cloud.build_conf()
        session = self.cloud.build_session(conf)
        session.auth.auth_url = silence.url
        self.nova = nova.Nova(session, conf.nova)
        self.assertRaises(
            exceptions.ComputeUnavailable,
            self.nova.find_server,
            INSTANCE,
            timeout=0.2,
        )

    def test_no_time_at_all(self):
        self.http.get(SERVER, json=cloud.load('nova-server.json'))
        self.assert_unavailable(
            'in time', self.nova.find_server, INSTANCE, timeout=0
        )


class TestUnusableAnswers(testscenarios.WithScenarios, NovaCase):
    """Whatever is not nova's own 404 never reads as "gone"."""

    scenarios = [
        ('500', {'answer': {'status_code': 500}}),
        ('503', {'answer': {'status_code': 503, 'text': 'maintenance'}}),
        ('403', {'answer': {'status_code': 403}}),
        ('410', {'answer': {'status_code': 410}}),
        ('406', {'answer': {'status_code': 406}}),
        ('204', {'answer': {'status_code': 204}}),
        (
            'balancer 404',
            {'answer': {'status_code': 404, 'text': '<h1>Not Found</h1>'}},
        ),
        ('empty 404', {'answer': {'status_code': 404}}),
        ('router 404', {'answer': {'status_code': 404, 'json': ROUTER_404}}),
        ('list 404', {'answer': {'status_code': 404, 'json': [INSTANCE]}}),
        ('garbage', {'answer': {'text': '{"server": {"id":'}}),
        ('html', {'answer': {'text': '<html>'}}),
        ('list', {'answer': {'json': []}}),
        ('number', {'answer': {'json': 1}}),
        ('null', {'answer': {'json': {'server': None}}}),
        ('empty', {'answer': {'json': {}}}),
        ('no attributes', {'answer': {'json': {'server': {'id': INSTANCE}}}}),
        ('redirect', {'answer': {'status_code': 300, 'json': {}}}),
        ('refused', {'answer': {'exc': requests_exceptions.ConnectionError}}),
        ('timeout', {'answer': {'exc': requests_exceptions.ReadTimeout}}),
        (
            'broken',
            {'answer': {'exc': requests_exceptions.ChunkedEncodingError}},
        ),
        ('tls', {'answer': {'exc': requests_exceptions.SSLError}}),
        ('auth', {'answer': {'exc': ksa_exceptions.AuthorizationFailure}}),
    ]

    def test_server(self):
        self.http.get(SERVERS, json={'servers': []})
        self.http.get(SERVER, **self.answer)
        self.assert_unavailable('compute service (nova)', self.find)

    def test_actions(self):
        self.http.get(SERVERS, json={'servers': []})
        self.http.get(ACTIONS, **self.answer)
        self.assert_unavailable(
            'compute service (nova)',
            self.nova.find_rebuild,
            INSTANCE,
            timeout=5,
        )

    def test_list(self):
        self.http.get(SERVERS, **self.answer)
        self.assert_unavailable(
            'compute service (nova)',
            self.nova.list_servers,
            limit=10,
            timeout=5,
        )
        self.assert_unavailable('compute service (nova)', self.nova.check)


class TestUnusableServers(testscenarios.WithScenarios, NovaCase):
    scenarios = [
        (name, {'change': change})
        for name, change in (
            ('another server', {'id': OTHER}),
            ('no hostname', {'OS-EXT-SRV-ATTR:hostname': None}),
            ('status', {'status': 5}),
            ('project', {'tenant_id': None}),
            ('time', {'OS-SRV-USG:launched_at': 'yesterday'}),
            ('time as a number', {'OS-SRV-USG:launched_at': 17}),
            ('metadata', {'metadata': ['a']}),
            ('image', {'image': 'an-id'}),
        )
    ]

    def test_server(self):
        answer = cloud.load('nova-server.json')
        answer['server'].update(self.change)
        self.http.get(SERVER, json=answer)
        self.assert_unavailable('no usable answer', self.find)


class TestFindRebuild(NovaCase):
    def find(self):
        return self.nova.find_rebuild(INSTANCE, timeout=5)

    def test_newest(self):
        self.http.get(
            ACTIONS,
            json={
                'instanceActions': [
                    make_action('evacuate', 'req-4'),
                    make_action('reboot', 'req-3'),
                    make_action(
                        'rebuild', 'req-2', '2026-11-20T21:10:00.000000'
                    ),
                    make_action('rebuild', 'req-1'),
                    make_action('create', 'req-0'),
                ]
            },
        )
        self.assertEqual(
            models.Rebuild(
                'req-2',
                datetime.datetime(
                    2026, 11, 20, 21, 10, tzinfo=datetime.timezone.utc
                ),
            ),
            self.find(),
        )

    def test_behind_many_others(self):
        def answer(request, context):
            first = int(request.qs.get('marker', ['req-400'])[0][4:])
            last = max(first - 100, 0)
            return {
                'instanceActions': [
                    make_action('rebuild' if n == 7 else 'stop', 'req-%d' % n)
                    for n in range(first - 1, last - 1, -1)
                ]
            }

        self.http.get(ACTIONS, json=answer)
        self.assertEqual('req-7', self.find().request_id)

    def test_none(self):
        pages = self.http.get(
            ACTIONS,
            [
                {
                    'json': {
                        'instanceActions': [
                            make_action('evacuate', 'req-1'),
                            make_action('create', 'req-0'),
                        ]
                    }
                },
                {'json': {'instanceActions': []}},
            ],
        )
        self.assertIsNone(self.find())
        self.assertEqual(2, pages.call_count)

    def test_server_that_repeats_a_page(self):
        self.http.get(
            ACTIONS,
            json={'instanceActions': [make_action('create', 'req-0')]},
        )
        self.assertIsNone(self.find())

    def test_gone(self):
        self.http.get(ACTIONS, json=GONE, status_code=404)
        self.http.get(SERVERS, json={'servers': []})
        self.assertIsNone(self.find())

    def test_no_time(self):
        self.http.get(
            ACTIONS,
            json={'instanceActions': [make_action('rebuild', 'req-1', None)]},
        )
        self.assert_unavailable('no usable answer', self.find)


class TestListServers(NovaCase):
    def test_page(self):
        page = self.http.get(
            SERVERS,
            json={'servers': [cloud.load('nova-server.json')['server']]},
        )
        servers = self.nova.list_servers(marker=OTHER, limit=50, timeout=5)
        self.assertEqual([INSTANCE], [server.instance for server in servers])
        self.assertEqual(
            {'all_tenants': ['1'], 'limit': ['50'], 'marker': [OTHER]},
            page.last_request.qs,
        )
        self.assertEqual(1, page.call_count)

    def test_deleted_ones(self):
        deleted = cloud.load('nova-server.json')['server']
        deleted['status'] = 'DELETED'
        page = self.http.get(SERVERS, json={'servers': [deleted]})
        (server,) = self.nova.list_servers(
            changes_since=datetime.datetime(
                2026, 11, 21, tzinfo=datetime.timezone.utc
            ),
            limit=50,
            timeout=5,
        )
        self.assertEqual('DELETED', server.status)
        self.assertEqual(
            ['2026-11-21t00:00:00+00:00'],
            page.last_request.qs['changes-since'],
        )

    def test_empty_is_a_list(self):
        self.http.get(SERVERS, json={'servers': []})
        self.assertEqual([], self.nova.list_servers(limit=1, timeout=5))

    def test_check(self):
        page = self.http.get(SERVERS, json={'servers': []})
        self.nova.check()
        self.assertEqual(['1'], page.last_request.qs['all_tenants'])
