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
"""What bad input gets: a 4xx, its own reason, a message; nothing written.

The processes really run. After each row of the tables the whole database is
compared with what it was before.
"""

import datetime
import pathlib
import tempfile
import time

from novajoin.db import engine
from novajoin.db import tables
from novajoin.tests import base
from novajoin.tests import rows
from novajoin.tests.functional import refusals
from novajoin.tests.functional import service as novajoin_service
from novajoin.tests.functional.checkin import instance as instances
from novajoin.tests.unit.ca import test_csr

_OPTIONS = {
    'api': {'max_body': '65536', 'max_page': '3'},
    'notify': {'expiry_interval': '1'},
    'naming': {
        'domain': 'example.com',
        'reserved': 'ipa.example.com,join.example.com',
    },
}
#: Processes say in this one, by the clock, that they live.
_HEARTBEATS = ('processes',)


class TestBadInput(base.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.service = novajoin_service.Service(
            pathlib.Path(folder.name), _OPTIONS
        )
        cls.service.setUp()
        cls.addClassCleanup(cls.service.cleanUp)
        # It works by the clock; without it all that writes are requests.
        cls.service.stop('notify')
        cls.database = engine.Database(
            'sqlite:///%s' % (cls.service.state_path / 'novajoin.sqlite')
        )
        cls.addClassCleanup(cls.database.close)

    def setUp(self):
        super().setUp()
        self.api = refusals.ApiClient(self.service)

    # What is there.

    def make_instance(self, **changes):
        """Return an instance that may redeem, and the end of all work."""
        uuid, status, answer = self.service.post(**changes)
        self.assertEqual(200, status, answer)
        self.service.wait_for_state(uuid, 'offered')
        self.wait_for_work()
        return instances.Instance(self.service, self.make_directory(), answer)

    def enroll(self, instance):
        """Return key and certificate of an instance."""
        key = instance.make_key()
        answer = instance.enroll(instance.make_csr(key))
        self.assertEqual(200, answer.status, answer)
        return key, instance.write_certificates(answer)[0]

    def wait_for_work(self):
        """Wait until nothing of the outbox is left to be done."""
        end = time.monotonic() + 60
        while self.list_work():
            self.assertLess(time.monotonic(), end, self.list_work())
            time.sleep(0.1)

    def list_work(self):
        query = tables.outbox.select().where(tables.outbox.c.state != 'done')
        return self.database.read(lambda tx: tx.execute(query).all())

    def let_notify_work(self, instance, state):
        """Run novajoin-notify until an instance is in a state."""
        self.service.start('notify')
        self.service.wait_for_state(instance.uuid, state, 90)
        self.wait_for_work()
        self.service.stop('notify')

    def make_client(self, instance, *pair):
        return refusals.CheckinClient(self.service, instance.root, *pair)

    def expire(self, instance):
        """Let the token's hour be over."""
        now = datetime.datetime.now(datetime.timezone.utc)
        table = tables.enrollments
        self.database.write(
            lambda tx: tx.execute(
                table.update()
                .where(table.c.instance == instance.uuid)
                .values(expires_at=now - datetime.timedelta(seconds=1))
            )
        )

    def dump(self):
        return rows.dump(self.database, excluding=_HEARTBEATS)

    # What is checked.

    def check(self, client, table):
        """Send each row; see status, reason, message and the database."""
        before = self.dump()
        count, wrong = 0, []
        for row in table:
            count += 1
            answer = client.send(row)
            if (
                (answer.status, answer.reason) != (row.status, row.reason)
                or not answer.message
                or row.words not in answer.message
            ):
                wrong.append((row.name, row.status, row.reason, answer))
            after = self.dump()
            if after != before:
                wrong.append((row.name, 'wrote', _compare(before, after)))
                before = after
        self.assertEqual([], wrong)
        self.assertGreater(count, 0)

    def check_written(self, client, row, expected):
        """Send a row that does write; see into which tables."""
        before = self.dump()
        answer = client.send(row)
        self.assertEqual(
            (row.status, row.reason), (answer.status, answer.reason), answer
        )
        self.assertTrue(answer.message)
        self.assertEqual(expected, set(_compare(before, self.dump())))

    # The tests.

    def test_control_plane(self):
        """Whatever nova and operators should not have sent."""
        instance = self.make_instance()
        self.enroll(instance)
        self.check(self.api, refusals.list_posts())
        self.check(self.api, refusals.list_posts_about(instance.uuid))
        self.check(self.api, refusals.list_calls(instance.uuid))
        shown = self.service.get_enrollment(instance.uuid)
        self.assertEqual('enrolled', shown['state'])

    def test_checkin(self):
        """EM16 and more through EST; the token is not used up by it."""
        other = self.make_instance()
        instance = self.make_instance(
            instance=test_csr.UUID, hostname=test_csr.FQDN.partition('.')[0]
        )
        self.assertEqual(test_csr.FQDN, instance.name)
        stranger = self.make_client(instance)
        key = instance.make_key()
        self.check(stranger, refusals.list_enrollments(instance, other, key))
        self.check(stranger, refusals.list_strangers(instance, key))
        answer = instance.enroll(instance.make_csr(key))
        self.assertEqual(200, answer.status, answer)
        leaf, _ = instance.write_certificates(answer)
        client = self.make_client(instance, key, leaf)
        self.check(client, refusals.list_renewals(instance, key))
        self.check(client, refusals.list_receipts(instance.sha256))
        foreign, _ = self.enroll(other)
        row = refusals.make_renewal(
            instance, foreign, 'a foreign key', 400, 'key_reused'
        )
        self.check(client, [row])
        # All that was in vain: what is in order is still taken.
        answer = instance.reenroll(instance.make_csr(key), key, leaf)
        self.assertEqual(200, answer.status, answer)

    def test_key_of_another_instance(self):
        foreign, _ = self.enroll(self.make_instance())
        instance = self.make_instance()
        row = refusals.make_enrollment(
            instance, foreign, 'a foreign key', 400, 'key_reused'
        )
        self.check(self.make_client(instance), [row])
        self.enroll(instance)

    def test_replays(self):
        """A token that was used: the same again, or nothing."""
        instance = self.make_instance()
        key, leaf = self.enroll(instance)
        client = self.make_client(instance)
        before = self.dump()
        row = refusals.make_enrollment(instance, key, 'the same', 200, '')
        again = client.send(row)
        self.assertEqual(200, again.status)
        self.assertEqual(again.body, client.send(row).body)
        self.assertEqual(before, self.dump())
        # A second key within the window writes that it came (IDENTITY 1.6).
        second = instance.make_key('second')
        row = refusals.make_enrollment(
            instance, second, 'another key', 409, 'key_conflict'
        )
        self.check_written(
            client, row, {'enrollments', 'certificates', 'events', 'outbox'}
        )
        self.let_notify_work(instance, 'contested')
        for each in (key, second):
            row = refusals.make_enrollment(
                instance, each, 'contested', 403, 'contested'
            )
            self.check(client, [row])
        row = refusals.make_renewal(
            instance, key, 'contested', 403, 'certificate_revoked'
        )
        self.check(self.make_client(instance, key, leaf), [row])
        status, answer = self.service.call(
            'POST', '/v1/enrollments/%s/reissue' % instance.uuid
        )
        self.assertEqual(200, status, answer)
        self.let_notify_work(instance, 'offered')
        row = refusals.make_enrollment(
            instance, key, 'an older token', 401, 'unauthorized'
        )
        self.check(client, [row])

    def test_replay_after_the_window(self):
        instance = self.make_instance()
        self.enroll(instance)
        self.expire(instance)
        row = refusals.make_enrollment(
            *(instance, instance.make_key('second'), 'another key'),
            *(409, 'key_conflict'),
        )
        self.check(self.make_client(instance), [row] * 2)
        shown = self.service.get_enrollment(instance.uuid)
        self.assertEqual('enrolled', shown['state'])

    def test_expired(self):
        """Who comes first finds it expired, which is written down."""
        instance = self.make_instance()
        self.expire(instance)
        client = self.make_client(instance)
        row = refusals.make_enrollment(
            instance, instance.make_key(), 'expired', 403, 'token_expired'
        )
        self.check_written(client, row, {'enrollments', 'events', 'outbox'})
        self.let_notify_work(instance, 'expired')
        self.check(client, [row] * 2)

    def test_expired_and_swept(self):
        instance = self.make_instance()
        self.expire(instance)
        self.let_notify_work(instance, 'expired')
        row = refusals.make_enrollment(
            instance, instance.make_key(), 'expired', 403, 'token_expired'
        )
        self.check(self.make_client(instance), [row] * 2)

    def test_revoked_and_closed(self):
        instance = self.make_instance()
        key, leaf = self.enroll(instance)
        status, answer = self.service.call(
            'POST', '/v1/enrollments/%s/revoke' % instance.uuid
        )
        self.assertEqual(200, status, answer)
        self.let_notify_work(instance, 'enrolled')
        row = refusals.make_renewal(
            instance, key, 'revoked', 403, 'certificate_revoked'
        )
        client = self.make_client(instance, key, leaf)
        self.check(client, [row])
        status, answer = self.service.call(
            *('POST', '/v1/enrollments/%s/release' % instance.uuid),
            {'reason': 'the test is over'},
        )
        self.assertEqual(200, status, answer)
        self.let_notify_work(instance, 'closed')
        self.check(client, [row])
        row = refusals.make_enrollment(instance, key, 'closed', 410, 'closed')
        self.check(self.make_client(instance), [row])


def _compare(before, after):
    """Return what is only after, by table."""
    return {
        name: sorted(set(found) - set(before[name]))
        for name, found in after.items()
        if found != before[name]
    }
