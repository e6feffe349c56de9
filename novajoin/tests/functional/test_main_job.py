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
"""The main job, with a real nova, keystone, glance, RabbitMQ and databases."""

import base64
import json
import subprocess
import time
import uuid

from testtools import content

from novajoin.enrollment import admission
from novajoin.tests import base
from novajoin.tests.functional import cloud_service
from novajoin.tests.functional import hostile
from novajoin.tests.functional import leaks
from novajoin.tests.functional.cloud import cloud as cloud_module
from novajoin.tests.functional.cloud import metadata
from novajoin.tests.functional.domain import servers

ASKS = {'ipa_enroll': 'True'}
DOMAIN = 'test.example.com'
PATIENCE = 60


class MainJobCase(base.TestCase):
    """A cloud, and the three processes of novajoin beside it.

    :cvar create_database: see `cloud_service.CloudService`
    """

    create_database = None

    def setUp(self):
        super().setUp()
        self.cloud = self.useFixture(cloud_module.Cloud())
        self.service = self.useFixture(
            cloud_service.CloudService(
                self.make_directory(), self.cloud, self.create_database
            )
        )
        for name in self.service.programs:
            self.addOnException(lambda _, name=name: self._attach_log(name))

    def _attach_log(self, name):
        lines = self.service.read_log(name).splitlines()[-200:]
        self.addDetail(name, content.text_content('\n'.join(lines)))

    def wait_for(self, what, condition):
        """Wait until something is true, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            if time.monotonic() > deadline:
                self.fail('%s: not within %d s' % (what, PATIENCE))
            time.sleep(0.2)
        return found

    def read_join(self, server):
        """What stands under `join` for the server's guest."""
        return self.cloud.read_vendordata(server)['join']

    def get_join(self, server):
        """The same for a server that asked: nova gives {} when it is late."""
        return self.wait_for('the answer', lambda: self.read_join(server))

    def make_post(self, server, hostname):
        """What nova posts for a server."""
        return {
            'project-id': server.project_id,
            'instance-id': server.id,
            'image-id': server.image.id,
            'user-data': None,
            'hostname': hostname,
            'metadata': ASKS,
            'boot-roles': 'reader,member',
        }

    def get_payload(self, join):
        """The decoded payload of an answer."""
        return json.loads(base64.b64decode(join['bootstrap']['payload']))

    def enroll(self, server):
        """Run the guest client of a server on the metadata service.

        :returns: its state directory
        """
        self.get_join(server)
        state = self.make_directory()
        proxy = self.useFixture(
            metadata.MetadataProxy(self.cloud.plan, server)
        )
        done = self.service.run_guest_on_metadata(proxy.url, state)
        self.assertEqual(0, done.returncode, done.stderr)
        return state

    def run_openssl(self, *arguments):
        return subprocess.run(
            ['openssl', *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def assert_verified(self, state, hostname):
        """openssl verifies a guest's certificate against its one CA."""
        current = state / 'current'
        done = self.run_openssl(
            *('verify', '-x509_strict', '-verify_hostname', hostname),
            *('-CAfile', str(current / 'ca.pem')),
            *('-untrusted', str(current / 'chain.pem')),
            str(current / 'cert.pem'),
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def read_serial(self, state):
        """The serial of a guest's certificate, as the API writes it."""
        done = self.run_openssl(
            *('x509', '-noout', '-serial'),
            *('-in', str(state / 'current' / 'cert.pem')),
        )
        return done.stdout.strip().removeprefix('serial=').lower().lstrip('0')

    def assert_revoked(self, state, instance):
        """The certificate is revoked in the API, and on the CRL."""
        serial = self.read_serial(state)

        def is_revoked():
            return any(
                found['serial'].lstrip('0') == serial and found['revoked_at']
                for found in self.service.list_certificates(instance)
            )

        self.wait_for('revoked', is_revoked)
        self.wait_for('on the CRL', lambda: self._is_on_crl(state))

    def _is_on_crl(self, state):
        """Whether openssl refuses the certificate because of the CRL."""
        current = state / 'current'
        (certificate, *_) = self.service.list_certificates(
            self.instance_of(state)
        )
        fetched = self.service.fetch(
            '/crl/%s.crl' % certificate['issuer'], current / 'ca.pem'
        )
        if fetched.returncode != 0:
            return False
        crl = self.make_directory() / 'crl.der'
        crl.write_bytes(fetched.stdout)
        pem = self.run_openssl('crl', '-inform', 'DER', '-in', str(crl)).stdout
        bundle = crl.with_name('bundle.pem')
        bundle.write_text((current / 'ca.pem').read_text() + pem)
        done = self.run_openssl(
            *('verify', '-crl_check', '-CAfile', str(bundle)),
            *('-untrusted', str(current / 'chain.pem')),
            str(current / 'cert.pem'),
        )
        return 'certificate revoked' in done.stdout + done.stderr

    def instance_of(self, state):
        """The instance uuid that a guest's certificate names."""
        text = self.run_openssl(
            *('x509', '-noout', '-ext', 'subjectAltName'),
            *('-in', str(state / 'current' / 'cert.pem')),
        ).stdout
        return text.split('urn:uuid:')[1][:36]


class SixStepsCase(MainJobCase):
    def walk(self, name, **asking):
        """The six steps of the first novajoin's README, and the way back."""
        # 0. What an operator puts into nova's vendordata_jsonfile_path.
        self.cloud.plan.static_vendordata.write_text(
            self.service.manage('guest', 'vendordata')
        )
        # 1. Instance creation is requested to nova.
        server = self.cloud.create_server(name, **asking)
        fqdn = '%s.%s' % (name, DOMAIN)
        self.assertIsNone(self.service.find_enrollment(server.id))
        # 2. nova starts it and hands over the script for cloud-init.
        static = self.cloud.read_metadata(
            server, '/openstack/latest/vendor_data.json'
        ).json()
        self.assertIn('text/x-shellscript', json.dumps(static))
        # 3. The script asks the metadata service for vendor_data2.json.
        join = self.get_join(server)
        # 4. The request invokes novajoin, as often as it is made.
        self.assertEqual(join, self.get_join(server))
        # 5. The host is made, and the credential is in the answer.
        self.assertEqual(fqdn, join['hostname'])
        payload = self.get_payload(join)
        self.assertEqual(server.id, payload['instance']['uuid'])
        self.assertEqual(server.project_id, payload['instance']['project'])
        self.assertTrue(payload['token'].startswith('njt1_'))
        self.wait_for('the host', lambda: fqdn in self.service.list_hosts())
        # 6. The guest's client takes it from there; nobody types anything.
        state = self.enroll(server)
        self.assert_verified(state, fqdn)
        self.service.wait_for_state(server.id, 'enrolled')
        self.assertEqual(server.id, self.instance_of(state))
        self.assertNotIn('token', self.get_payload(self.get_join(server)))
        # And when the instance goes, its identity goes with it.
        self.cloud.delete_server(server)
        self.service.wait_for_state(server.id, 'closed', PATIENCE)
        self.assert_revoked(state, server.id)
        self.assertNotIn(fqdn, self.service.list_hosts())


class TestPostgreSQL(SixStepsCase):
    """novajoin's own database is PostgreSQL; the cloud keeps its MariaDB."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        server = servers.PostgreSQL()
        cls.addClassCleanup(server.stop)
        server.start()
        cls.create_database = server.create

    def test_asked_in_instance_metadata(self):
        """NJ13, NJ8, NJ9, NJ3: the six steps, asked for an instance."""
        self.walk('by-metadata', metadata=ASKS)
        self.assertEqual('postgresql', self.service.dialect)


class TestMainJob(SixStepsCase):
    def test_asked_in_instance_metadata(self):
        """NJ13, NJ8, NJ9, NJ3: the six steps, asked for an instance."""
        self.walk('by-metadata', metadata=ASKS)

    def test_asked_in_image_property(self):
        """NJ13, NJ8: the six steps, asked for an image."""
        image = self.cloud.create_image('enrolling', ipa_enroll='true')
        self.walk('by-image', image=image)

    def test_boot_from_volume(self):
        """Without an image there is none to ask for its properties."""
        self.walk('by-volume', metadata=ASKS, boot_from_volume=True)

    def test_config_drive(self):
        """NJ6: nova's six posts for one drive get one credential."""
        server = self.cloud.create_server(
            'by-drive', metadata=ASKS, config_drive=True
        )
        drive = self.cloud.read_config_drive(
            server, self.make_directory() / 'drive'
        )
        found = {
            path.parent.name: json.loads(path.read_text())['join']
            for path in drive.glob('openstack/*/vendor_data2.json')
        }
        self.assertEqual(6, len(found))
        for version, join in found.items():
            self.assertEqual(found['latest'], join, version)
        done = self.service.run_guest('enroll', drive)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assert_verified(
            self.service.get_guest_state(drive), 'by-drive.' + DOMAIN
        )


class TestDelete(MainJobCase):
    def test_while_novajoin_notify_is_away(self):
        """NJ3: the broker, or the first sweep, knows it when it is back."""
        server = self.cloud.create_server('brief', metadata=ASKS)
        state = self.enroll(server)
        self.service.stop('notify')
        self.cloud.delete_server(server)
        self.service.start('notify')
        self.service.wait_for_state(server.id, 'closed', PATIENCE)
        self.assert_revoked(state, server.id)
        self.assertEqual([], self.service.list_hosts())

    def test_before_the_credential_is_redeemed(self):
        """The credential of an instance that is gone is worth nothing."""
        server = self.cloud.create_server('unborn', metadata=ASKS)
        drive = self.service.make_drive(server.id, self.get_join(server))
        self.cloud.delete_server(server)
        self.service.wait_for_state(server.id, 'closed', PATIENCE)
        refused = self.service.run_guest('enroll', drive)
        self.assertNotEqual(0, refused.returncode)
        self.assertEqual([], self.service.list_certificates(server.id))
        self.assertEqual([], self.service.list_hosts())


class TestLeaks(MainJobCase):
    def test_credentials_are_nowhere_but_in_the_instance(self):
        """Neither ours in the cloud, nor the cloud's in our logs."""
        server = self.cloud.create_server('secret', metadata=ASKS)
        token = self.get_payload(self.get_join(server))['token']
        state = self.enroll(server)
        self.cloud.delete_server(server)
        self.service.wait_for_state(server.id, 'closed', PATIENCE)
        scan = leaks.LeakScan(
            {
                'token': token[5:],
                **leaks.read_private_key(state / 'current' / 'key.pem'),
            }
        )
        found = scan.scan_tree(self.cloud.plan.run)
        found += scan.scan_tree(self.service.directory)
        found += scan.scan_processes(self.service.get_pids())
        found += scan.scan_bytes('the database', self.service.dump())
        self.assertEqual([], found + self._find_credentials_of_cloud())

    def _find_credentials_of_cloud(self):
        scan = leaks.LeakScan(
            {
                'password': self.cloud.plan.password,
                # How every fernet token of keystone begins.
                'keystone token': 'gAAAAAB',
            }
        )
        found = scan.scan_tree(self.service.log_path)
        found += scan.scan_tree(self.service.state_path)
        found += scan.scan_tree(self.service.temporary_path)
        return found + scan.scan_bytes('the database', self.service.dump())

    def test_bad_input(self):
        """NJ2: nor are they there after what was refused."""
        sent = hostile.make_secrets()
        sent['token of nova'] = token = self.cloud.get_token('nova')
        answers = {}
        for headers, expected in (({'X-Auth-Token': token}, None), ({}, 401)):
            sender = hostile.Sender(self.service, sent, headers)
            sender.send_posts(expected)
            self.assertEqual({}, sender.unexpected)
            answers[expected] = b''.join(sender.answers.values())
        scan = leaks.LeakScan(sent)
        found = scan.scan_tree(self.service.directory)
        found += scan.scan_processes(self.service.get_pids())
        found += scan.scan_bytes('the database', self.service.dump())
        for expected, content_ in answers.items():
            found += scan.scan_bytes('answers: %s' % expected, content_)
        self.assertEqual([], found + self._find_credentials_of_cloud())


class TestNobodyAsked(MainJobCase):
    def test_server_gets_nothing_and_causes_nothing(self):
        """NJ8: neither the instance nor its image asks."""
        before = self.service.count_rows()
        for more in ({}, {'config_drive': True}, {'boot_from_volume': True}):
            server = self.cloud.create_server('plain', **more)
            self.assertEqual({}, self.read_join(server))
            if 'boot_from_volume' not in more:
                self.cloud.rebuild_server(server)
            self.cloud.delete_server(server)
        self.assertEqual(before, self.service.count_rows())

    def test_other_than_nova_may_not_post(self):
        """NJ2: users, other services, nobody; and nothing is written."""
        server = self.cloud.create_server('wanted', metadata=ASKS)
        body = self.make_post(server, 'wanted')
        before = self.service.count_rows()
        for user in ('demo', 'other', 'admin', 'glance', 'novajoin'):
            status, answer = self.service.call_as(user, 'POST', '/v1/', body)
            self.assertEqual(403, status, (user, answer))
            self.assertEqual({'error'}, set(answer), user)
        for headers in ({}, {'X-Auth-Token': uuid.uuid4().hex}):
            status, _ = self.service.call('POST', '/v1/', body, headers)
            self.assertEqual(401, status, headers)
        self.assertEqual(before, self.service.count_rows())
        status, answer = self.service.call_as('nova', 'POST', '/v1/', body)
        self.assertEqual(200, status, answer)
        self.assertEqual('wanted.' + DOMAIN, answer['hostname'])

    def test_others_see_nothing_of_an_enrollment(self):
        """The project's own reader sees it, another project's does not."""
        server = self.cloud.create_server('seen', metadata=ASKS)
        self.get_join(server)
        path = '/v1/enrollments/' + server.id
        self.assertEqual(200, self.service.call_as('demo', 'GET', path)[0])
        self.assertEqual(404, self.service.call_as('other', 'GET', path)[0])
        self.assertEqual(401, self.service.call('GET', path, None, {})[0])


class TestRebuild(MainJobCase):
    def test_new_epoch_and_the_old_credential_is_dead(self):
        """A rebuild before the credential was redeemed."""
        server = self.cloud.create_server('again', metadata=ASKS)
        old = self.service.make_drive(server.id, self.get_join(server))
        # Until then, a rebuild may be what led to the enrollment.
        self.service.wait_for_state(server.id, 'offered', PATIENCE)
        self.cloud.rebuild_server(server)

        def is_new():
            join = self.read_join(server)
            return join and self.get_payload(join)['instance']['epoch'] == 2

        self.wait_for('the new epoch', is_new)
        self._assert_dead(old)
        state = self.enroll(server)
        self.assert_verified(state, 'again.' + DOMAIN)
        self.assertEqual(2, self.service.get_enrollment(server.id)['epoch'])

    def test_config_drive_of_a_rebuild(self):
        """nova posts for the new drive before it says that it rebuilds."""
        server = self.cloud.create_server(
            'again', metadata=ASKS, config_drive=True
        )
        old = self.cloud.read_config_drive(
            server, self.make_directory() / 'old'
        )
        # Before, a post is taken for one more of the same build.
        time.sleep(admission._FRESH + 1)
        self.cloud.rebuild_server(server)
        new = self.cloud.read_config_drive(
            server, self.make_directory() / 'new'
        )
        self.assertEqual(1, self._read_epoch(old))
        self.assertEqual(2, self._read_epoch(new))
        self._assert_dead(old)
        done = self.service.run_guest('enroll', new)
        self.assertEqual(0, done.returncode, done.stderr)

    def _assert_dead(self, drive):
        refused = self.service.run_guest('enroll', drive)
        self.assertNotEqual(0, refused.returncode)
        self.assertIn('unauthorized', refused.stderr)

    def test_the_old_certificate_is_revoked(self):
        """A rebuild of an instance that has its certificate."""
        server = self.cloud.create_server(
            'again', metadata=ASKS, config_drive=True
        )
        old = self.cloud.read_config_drive(
            server, self.make_directory() / 'old'
        )
        done = self.service.run_guest('enroll', old)
        self.assertEqual(0, done.returncode, done.stderr)
        self.cloud.rebuild_server(server)
        self.assert_revoked(self.service.get_guest_state(old), server.id)
        new = self.cloud.read_config_drive(
            server, self.make_directory() / 'new'
        )
        done = self.service.run_guest('enroll', new)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assert_verified(
            self.service.get_guest_state(new), 'again.' + DOMAIN
        )
        renewed = self.service.run_guest('renew', old, '--force')
        self.assertNotEqual(0, renewed.returncode)

    def _read_epoch(self, drive):
        path = drive / 'openstack' / 'latest' / 'vendor_data2.json'
        join = json.loads(path.read_text())['join']
        return self.get_payload(join)['instance']['epoch']


class TestOneName(MainJobCase):
    def test_the_second_server_of_a_name_is_refused(self):
        """Two projects want one name: the first one's is untouched."""
        first = self.cloud.create_server('wanted', metadata=ASKS)
        join = self.get_join(first)
        self.assertEqual('wanted.' + DOMAIN, join['hostname'])
        second = self.cloud.create_server(
            'wanted', metadata=ASKS, user='other'
        )
        self.assertEqual({}, self.read_join(second))

        # 503 as long as nova has not told about the holder.
        def is_refused():
            status, answer = self.service.call_as(
                'nova', 'POST', '/v1/', self.make_post(second, 'wanted')
            )
            self.assertIn(status, (403, 503), answer)
            return status == 403

        self.wait_for('the refusal', is_refused)
        self.assertEqual(join, self.get_join(first))
        state = self.enroll(first)
        self.assert_verified(state, 'wanted.' + DOMAIN)
        # The loser's end is none of the winner's business.
        self.cloud.delete_server(second, user='other')
        self.service.wait_for_state(first.id, 'enrolled')
        self.assertEqual(['wanted.' + DOMAIN], self.service.list_hosts())

    def test_the_name_is_free_when_its_holder_is_gone(self):
        """A stack that replaces its machines of one name."""
        first = self.cloud.create_server('stack', metadata=ASKS)
        old = self.enroll(first)
        self.cloud.delete_server(first)
        second = self.cloud.create_server('stack', metadata=ASKS)
        join = self.get_join(second)
        self.assertEqual('stack.' + DOMAIN, join['hostname'])
        new = self.enroll(second)
        self.assert_verified(new, 'stack.' + DOMAIN)
        self.assert_revoked(old, first.id)
        self.assertEqual(['stack.' + DOMAIN], self.service.list_hosts())
