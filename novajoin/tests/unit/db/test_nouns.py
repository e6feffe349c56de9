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
"""The nouns whose functions the domain's own tests do not reach."""

import datetime
import functools

from novajoin import models
from novajoin.db import certificates
from novajoin.db import crls
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import events
from novajoin.db import leases
from novajoin.db import outbox
from novajoin.db import processes
from novajoin.db import service_certificates
from novajoin.db import stores
from novajoin.tests.unit.enrollment import world

SECOND = datetime.timedelta(seconds=1)


class Case(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.database = self.world.database
        self.now = self.world.clock()

    def write(self, function, *args, **kwargs):
        return self.database.write(lambda tx: function(tx, *args, **kwargs))

    def read(self, function, *args, **kwargs):
        return self.database.read(lambda tx: function(tx, *args, **kwargs))


class LeasesTestCase(Case):
    def acquire(self, owner, now=None, seconds=10):
        now = now or self.now
        return self.write(
            leases.acquire, 'sweep', owner, now + seconds * SECOND, now
        )

    def test_lease(self):
        """Of several processes one has it, until it ends."""
        self.assertTrue(self.acquire('one'))
        self.assertFalse(self.acquire('two'))
        self.assertTrue(self.acquire('one', seconds=20))
        self.assertFalse(self.acquire('two', self.now + 19 * SECOND))
        self.assertTrue(self.acquire('two', self.now + 20 * SECOND))
        self.assertFalse(self.acquire('one', self.now + 21 * SECOND))

    def test_release(self):
        self.acquire('one')
        self.write(leases.release, 'sweep', 'two')
        self.assertFalse(self.acquire('two'))
        self.write(leases.release, 'sweep', 'one')
        self.assertTrue(self.acquire('two'))

    def test_at_once(self):
        results = self.at_once(
            *[
                functools.partial(self.acquire, 'owner%d' % number)
                for number in range(8)
            ]
        )
        self.assertEqual(1, results.count(True))


class ProcessesTestCase(Case):
    def report(self, name, keys, now=None):
        self.write(
            processes.report, name, 'server', 'host', keys, now or self.now
        )

    def list(self, since=0):
        return self.read(
            processes.list_keys, 'credential', self.now - since * SECOND
        )

    def test_report(self):
        """The newest report of each process; other kinds are left out."""
        self.report('a', {'credential': ['1']})
        self.report('a', {'credential': ['1', '2']})
        self.report('b', {'ca/instance': ['3']})
        self.report('c', {'credential': ['9']}, self.now - 100 * SECOND)
        self.assertEqual([frozenset({'1', '2'})], self.list())
        self.assertEqual(2, len(self.list(since=100)))

    def test_purge(self):
        self.report('a', {'credential': []})
        self.assertEqual(0, self.write(processes.purge, self.now))
        self.assertEqual(1, self.write(processes.purge, self.now + SECOND))
        self.assertEqual([], self.list())


class CrlsTestCase(Case):
    def put(self, number, issuer='a' * 16):
        return stores.CAStore(self.database).put_crl(
            models.Crl(
                issuer, number, b'crl%d' % number, self.now, self.now + SECOND
            )
        )

    def find(self, issuer='a' * 16):
        return stores.CAStore(self.database).find_crl(issuer)

    def test_put(self):
        """The number only grows; each CA has its own."""
        self.assertIsNone(self.find())
        self.assertTrue(self.put(5))
        for number in (1, 5):
            self.assertFalse(self.put(number))
            self.assertEqual(5, self.find().number)
        self.assertTrue(self.put(6))
        self.assertEqual(b'crl6', self.find().der)
        self.assertTrue(self.put(1, 'b' * 16))
        self.assertEqual(
            frozenset({'a' * 16, 'b' * 16}), self.read(crls.list_issuers)
        )

    def test_first_at_once(self):
        results = self.at_once(*[functools.partial(self.put, 1)] * 6)
        self.assertEqual(1, results.count(True))
        self.assertEqual(5, results.count(False))

    def test_first_of_another(self):
        """Where both look before either inserts."""
        find = crls.find
        self.addCleanup(setattr, crls, 'find', find)
        self.put(5)
        crls.find = lambda tx, issuer: None
        self.assertFalse(self.put(1))


class CertificatesTestCase(Case):
    def setUp(self):
        super().setUp()
        self.guest = self.world.enroll()
        self.serial = world.get_serial(self.guest.certificate)

    def test_signed_once(self):
        """What is stored stays; what is revoked is not signed any more."""
        issued = models.IssuedCertificate(
            1, 'b' * 16, b'other', self.now, self.now
        )
        row = self.read(certificates.find, self.serial)
        self.assertFalse(self.write(certificates.put_signed, row, issued))
        self.assertEqual(
            self.guest.certificate,
            self.read(certificates.find, self.serial).der,
        )

    def test_issuers(self):
        issuer = self.world.ca.get_chain().instance.id
        store = stores.CAStore(self.database)
        self.assertEqual({issuer}, set(store.list_issuers(self.now)))
        later = self.now + datetime.timedelta(days=31)
        self.assertEqual(set(), set(store.list_issuers(later)))

    def test_purge(self):
        """Only what expired before; keys stay bound for ever."""
        row = self.read(certificates.find, self.serial)
        self.assertEqual(0, self.write(certificates.purge, row.not_after))
        self.assertEqual(
            1, self.write(certificates.purge, row.not_after + SECOND)
        )
        self.assertEqual(
            (self.guest.instance, 1),
            self.read(certificates.find_public_key, row.public_key_sha256),
        )

    def test_revoked(self):
        """On the CRL until it expires, with the reason."""
        row = self.read(certificates.find, self.serial)
        self.write(
            certificates.revoke,
            self.serial,
            models.RevocationReason.SUPERSEDED,
            self.now,
        )
        revoked = self.read(certificates.list_revoked, row.issuer, self.now)
        self.assertEqual(
            [
                models.Revocation(
                    self.serial,
                    self.now,
                    models.RevocationReason.SUPERSEDED,
                )
            ],
            revoked,
        )
        self.assertFalse(
            self.write(
                certificates.revoke,
                self.serial,
                models.RevocationReason.KEY_COMPROMISE,
                self.now + SECOND,
            )
        )
        for issuer, now in (
            ('other', self.now),
            (row.issuer, row.not_after),
        ):
            self.assertEqual(
                [], self.read(certificates.list_revoked, issuer, now)
            )


class CountsTestCase(Case):
    def test_counts(self):
        self.world.enroll('web1')
        self.world.enroll('web2')
        self.world.post(self.world.start('web3'), 'web3')
        self.assertEqual(
            {models.State.ENROLLED: 2, models.State.OFFERED: 1},
            self.read(enrollments.count_by_state),
        )
        self.assertEqual(
            {models.RowState.DONE: 6}, self.read(outbox.count_by_state)
        )

    def test_key_ids(self):
        """Those that open rows name, and no others."""
        self.world.enroll('web1')
        self.assertEqual(frozenset(), self.read(enrollments.list_key_ids))
        guest = world.Guest(
            self.world, self.world.post(self.world.start('web2'), 'web2')
        )
        row = self.world.find(guest.instance)
        self.assertEqual(
            frozenset({row.key_id}), self.read(enrollments.list_key_ids)
        )


class PurgeTestCase(Case):
    """novajoin-manage db purge: only what is done with."""

    def test_outbox(self):
        self.world.post(self.world.start())
        self.world.nova.is_away = True
        waiting = self.world.start('web2')
        self.world.post(waiting, 'web2')
        self.assertEqual(0, self.write(outbox.purge, self.now))
        self.assertEqual(2, self.write(outbox.purge, self.now + SECOND))
        self.assertEqual(2, len(self.world.list_rows(waiting)))

    def test_events(self):
        self.world.enroll()
        self.assertEqual(0, self.write(events.purge, self.now))
        self.assertEqual(3, self.write(events.purge, self.now + SECOND))
        self.assertEqual([], self.world.list_events())

    def test_service_certificates(self):
        self.write(
            service_certificates.insert,
            models.ServiceCertificate('id', 'host', b'csr', self.now),
        )
        self.assertEqual(0, self.write(service_certificates.purge, self.now))
        self.assertEqual(
            1, self.write(service_certificates.purge, self.now + SECOND)
        )


class ServiceCertificatesTestCase(Case):
    """Certificates of check-in, and intermediates: what the CRLs are of."""

    ISSUER = 'a' * 16
    KEY = 'b' * 16

    def setUp(self):
        super().setUp()
        self.not_after = self.now + 10 * SECOND
        self.store = stores.CAStore(self.database)
        self.write(
            service_certificates.insert,
            models.ServiceCertificate('id', 'host', b'csr', self.now),
        )

    def answer(self, der):
        issued = models.IssuedCertificate(
            0xABC, self.ISSUER, der, self.now, self.not_after
        )
        return self.write(
            service_certificates.put_certificate, 'id', issued, self.KEY
        )

    def test_one_answer(self):
        """A request is answered once."""
        self.assertTrue(self.answer(b'one'))
        self.assertFalse(self.answer(b'two'))
        self.assertFalse(self.write(service_certificates.refuse, 'id', 'no'))
        row = self.read(service_certificates.find, 'id')
        self.assertEqual(
            (b'one', self.KEY, 'abc', self.ISSUER, self.not_after, None),
            (
                row.certificate,
                row.key_id,
                row.serial,
                row.issuer,
                row.not_after,
                row.revoked_at,
            ),
        )

    def test_kept_as_long_as_it_is_valid(self):
        """Its issuer is in use, and it may have to be revoked."""
        self.assertEqual(set(), self.store.list_issuers(self.now))
        self.answer(b'one')
        self.assertEqual({self.ISSUER}, self.store.list_issuers(self.now))
        self.assertEqual(
            ['id'],
            [
                row.id
                for row in self.read(service_certificates.list_valid, self.now)
            ],
        )
        self.assertEqual(
            0, self.write(service_certificates.purge, self.not_after)
        )
        self.assertEqual(set(), self.store.list_issuers(self.not_after))
        self.assertEqual(
            [], self.read(service_certificates.list_valid, self.not_after)
        )
        self.assertEqual(
            1, self.write(service_certificates.purge, self.not_after + SECOND)
        )

    def test_revoked(self):
        self.answer(b'one')
        self.assertEqual([], self.store.list_revoked(self.ISSUER, self.now))
        revoke = service_certificates.revoke
        self.assertFalse(self.write(revoke, 'c' * 16, self.now))
        self.assertFalse(self.read(service_certificates.is_revoked, 'abc'))
        self.assertTrue(self.write(revoke, self.KEY, self.now))
        self.assertFalse(self.write(revoke, self.KEY, self.now + SECOND))
        self.assertEqual(
            ['host'], self.read(service_certificates.list_hosts, self.KEY)
        )
        self.assertTrue(self.read(service_certificates.is_revoked, 'abc'))
        self.assertFalse(self.read(service_certificates.is_revoked, 'abd'))
        self.assertEqual(
            [
                models.Revocation(
                    'abc', self.now, models.RevocationReason.KEY_COMPROMISE
                )
            ],
            self.store.list_revoked(self.ISSUER, self.now),
        )
        for issuer, since in (
            ('d' * 16, self.now),
            (self.ISSUER, self.not_after),
        ):
            self.assertEqual([], self.store.list_revoked(issuer, since))

    def test_revoked_authority(self):
        root = 'e' * 16
        for at in (self.now, self.now + SECOND):
            self.store.revoke_authority(
                models.RevokedAuthority(
                    self.ISSUER, root, 'def', self.not_after, at
                )
            )
        self.assertEqual(
            [
                models.Revocation(
                    'def', self.now, models.RevocationReason.KEY_COMPROMISE
                )
            ],
            self.store.list_revoked(root, self.now),
        )
        self.assertEqual([], self.store.list_revoked(root, self.not_after))
        (event,) = self.world.list_events()
        self.assertEqual('authority.revoked', event.kind)
        self.assertEqual(self.ISSUER, event.detail['authority'])
        self.assertEqual([], self.store.list_revoked(self.ISSUER, self.now))


class OutboxTestCase(Case):
    def test_put(self):
        """Due at once, also where it was done, also with a detail."""
        guest = self.world.enroll()
        row = self.world.find(guest.instance)
        operation = models.Operation.IDENTITY_DISABLE
        for detail in ('', 'expired', ''):
            self.write(outbox.put, row, operation, self.now, detail=detail)
        self.assertEqual(
            {'', 'expired'},
            {
                work.detail
                for work in self.world.list_rows(guest.instance)
                if work.operation is operation
            },
        )

    def test_twice(self):
        """The same work of one generation is one row."""
        guest = self.world.enroll()
        row = self.world.find(guest.instance)
        work = [(models.Operation.NOVA_VERIFY, '')]
        self.assertRaises(
            engine.DuplicateRow, self.write, outbox.insert, row, work, self.now
        )
        self.write(outbox.insert_missing, row, work, self.now)
        self.assertEqual([], self.world.list_ready())

    def test_finish_of_another(self):
        """Only who holds the lease says that it is done."""
        made = self.make_world(waiting=0)
        instance = made.start()
        made.post(instance)
        row = made.list_rows(instance)[0]
        lease = outbox.Lease('me', self.now + 60 * SECOND)
        made.database.write(
            lambda tx: outbox.acquire(tx, row, lease, self.now)
        )
        made.database.write(
            lambda tx: (
                outbox.finish(tx, [row.id], 'other'),
                outbox.postpone(tx, row, self.now, 'x', 'other'),
            )
        )
        after = made.list_rows(instance)[0]
        self.assertEqual('me', after.lease_owner)
        self.assertEqual(0, after.attempts)
        self.assertFalse(
            made.database.write(
                lambda tx: outbox.acquire(tx, row, lease, self.now)
            )
        )


class TimesTestCase(Case):
    def test_zone(self):
        """Whatever zone a time comes in, it is read back in UTC."""
        zone = datetime.timezone(datetime.timedelta(hours=5))
        self.write(
            events.insert, 'test', self.now.astimezone(zone) + SECOND / 3
        )
        found = self.world.list_events()[-1].at
        self.assertEqual(self.now + SECOND / 3, found)
        self.assertIs(datetime.timezone.utc, found.tzinfo)
