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
"""The CRLs of all three CAs."""

import concurrent.futures
import datetime
import shutil
import threading

from cryptography import x509
import fixtures

from novajoin import exceptions
from novajoin import models
from novajoin.ca import hierarchy
from novajoin.keys import authorities
from novajoin.tests.contract import ca as contract
from novajoin.tests.unit.ca import requests
from novajoin.tests.unit.ca import stores
from novajoin.tests.unit.ca import test_embedded

DAY = datetime.timedelta(days=1)
NAMES = frozenset({'join.example.com', '192.0.2.1'})


class TestInstanceCrl(test_embedded.EmbeddedTestCase):
    def test_content(self):
        ca = self.make()
        reasons = list(models.RevocationReason)
        issued = [
            ca.issue(self.make_order(serial=number + 1))
            for number, _ in enumerate(reasons)
        ]
        for certificate, reason in zip(issued, reasons, strict=True):
            self.crls.revoke(certificate, reason, self.clock())
        crl = ca.publish_crl(self.clock())
        parsed = x509.load_der_x509_crl(crl.der)
        issuer = self.load(ca.get_chain().instance.der)
        self.assertTrue(parsed.is_signature_valid(issuer.public_key()))
        self.assertEqual(issuer.subject, parsed.issuer)
        self.assertEqual(self.clock(), parsed.last_update_utc)
        self.assertEqual(self.clock() + DAY, parsed.next_update_utc)
        self.assertEqual(
            (crl.this_update, crl.next_update),
            (parsed.last_update_utc, parsed.next_update_utc),
        )
        number = parsed.extensions.get_extension_for_class(x509.CRLNumber)
        self.assertEqual(crl.number, number.value.crl_number)
        parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        self.assertEqual(2, len(parsed.extensions))
        found = {}
        for entry in parsed:
            self.assertEqual(self.clock(), entry.revocation_date_utc)
            values = [extension.value for extension in entry.extensions]
            found[entry.serial_number] = (
                values[0].reason.value if values else 'unspecified'
            )
        self.assertEqual(
            {n + 1: str(reason) for n, reason in enumerate(reasons)}, found
        )

    def test_when_it_is_due(self):
        ca = self.make()
        first = ca.publish_crl(self.clock())
        self.clock.advance(12 * 3600 - 1)
        self.assertIsNone(ca.publish_crl(self.clock()))
        self.assertIsNotNone(ca.publish_crl(self.clock(), force=True))
        self.clock.advance(12 * 3600 - 1)
        self.assertIsNone(ca.publish_crl(self.clock()))
        self.clock.advance(1)
        third = ca.publish_crl(self.clock())
        self.assertEqual(first.number + 2, third.number)
        certificate = ca.issue(self.make_order())
        self.crls.revoke(certificate, 'superseded', self.clock())
        fourth = ca.publish_crl(self.clock())
        self.assertEqual(third.number + 1, fourth.number)
        self.assertIsNone(ca.publish_crl(self.clock()))
        # One that has expired and left the list is no reason.
        self.crls.revocations.clear()
        self.assertIsNone(ca.publish_crl(self.clock()))

    def test_lifetime_is_a_setting(self):
        crl = self.make(crl_lifetime=600).publish_crl(self.clock())
        self.assertEqual(
            datetime.timedelta(minutes=10), crl.next_update - crl.this_update
        )

    def test_numbers_grow_when_the_database_is_lost(self):
        ca = self.make()
        first = ca.publish_crl(self.clock())
        self.crls.crls.clear()
        self.clock.advance(60)
        self.assertGreater(ca.publish_crl(self.clock()).number, first.number)

    def test_its_age_is_warned_of_and_stops_nothing(self):
        """DESIGN 3: no process needs another one to do its work."""
        ca = self.make()
        ca.publish_crl(self.clock())
        self.clock.advance(86400 * 3 / 4 - 1)
        self.assertEqual([], ca.list_crl_faults(self.clock()))
        for seconds in (1, 86400):
            self.clock.advance(seconds)
            (fault,) = ca.list_crl_faults(self.clock())
            self.assertIn(ca.get_chain().instance.id, fault)
            self.assertIn('novajoin-notify', fault)
            ca.check()

    def test_a_revocation_in_between_is_not_lost(self):
        """Another process publishes after we have read what is revoked."""
        ca, other = self.make(), self.make()
        certificate = ca.issue(self.make_order())
        ca.publish_crl(self.clock())
        read = self.crls.list_revoked
        overtaken = []

        def list_revoked(issuer, now):
            answer = read(issuer, now)
            if not overtaken:
                overtaken.append(True)
                self.crls.revoke(certificate, 'superseded', now)
                other.publish_crl(now)
            return answer

        self.crls.list_revoked = list_revoked
        self.clock.advance(5)
        ca.publish_crl(self.clock(), force=True)
        parsed = x509.load_der_x509_crl(ca.find_crl(certificate.issuer).der)
        self.assertEqual(
            [certificate.serial], [e.serial_number for e in parsed]
        )

    def test_several_processes_at_once(self):
        backends = [self.make() for _ in range(6)]
        backends[0].get_chain()
        barrier = threading.Barrier(6)

        def publish(ca):
            barrier.wait(30)
            return ca.publish_crl(self.clock())

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            published = list(pool.map(publish, backends))
        self.assertEqual(1, len([crl for crl in published if crl]))

    def test_who_is_never_first_gives_up(self):
        ca = self.make()
        self.crls.put_crl = lambda crl: False
        self.assertRaises(
            exceptions.CAUnavailable, ca.publish_crl, self.clock()
        )

    def test_what_expires_is_on_one_more(self):
        """RFC 5280 3.3: on a CRL from after its end."""
        ca = self.make()
        asked = []
        self.crls.list_revoked = lambda issuer, since: (
            asked.append(since) or []
        )
        first = ca.publish_crl(self.clock())
        self.clock.advance(12 * 3600)
        ca.publish_crl(self.clock())
        self.assertEqual([first.this_update, first.this_update], asked)


class CrlTestCase(test_embedded.EmbeddedTestCase):
    def setUp(self):
        super().setUp()
        self.ca = self.make()
        self.chain = self.ca.get_chain()

    def find_entries(self, issuer):
        crl = x509.load_der_x509_crl(self.ca.find_crl(issuer).der)
        return {
            entry.serial_number: [
                extension.value.reason for extension in entry.extensions
            ]
            for entry in crl
        }

    def issue_service(self):
        request = requests.make(
            subject=[],
            attributes=[
                requests.extension_request(
                    requests.san(requests.dns('join.example.com'))
                )
            ],
        )
        return self.ca.issue_service(request, NAMES, self.clock())

    def verify(self, issuer, der, crls):
        return contract.verify(
            self.chain.root.der,
            [issuer.der],
            der,
            '-crl_check_all',
            crls=crls,
            at=self.clock(),
        )

    def remove_root_key(self):
        key = self.path / 'ca/root' / self.chain.root.id / 'key.pem'
        data = key.read_bytes()
        key.unlink()
        self.ca = self.make()
        return key, data


class TestOtherCrls(CrlTestCase):
    def test_content(self):
        """RFC 5280 5: numbers, dates, and who signed it."""
        published = self.ca.publish_other_crls(self.clock())
        self.assertEqual(
            [self.chain.root.id, self.chain.service.id],
            [crl.issuer for crl in published],
        )
        for crl, record, lifetime in zip(
            published,
            (self.chain.root, self.chain.service),
            (365 * DAY, DAY),
            strict=True,
        ):
            self.assertEqual(crl, self.ca.find_crl(record.id))
            parsed = x509.load_der_x509_crl(crl.der)
            issuer = self.load(record.der)
            self.assertTrue(parsed.is_signature_valid(issuer.public_key()))
            self.assertEqual(issuer.subject, parsed.issuer)
            self.assertEqual(self.clock(), parsed.last_update_utc)
            self.assertEqual(self.clock() + lifetime, parsed.next_update_utc)
            extensions = parsed.extensions
            self.assertEqual(2, len(extensions))
            self.assertEqual(
                crl.number,
                extensions.get_extension_for_class(
                    x509.CRLNumber
                ).value.crl_number,
            )
            self.assertEqual(
                issuer.extensions.get_extension_for_class(
                    x509.SubjectKeyIdentifier
                ).value.digest,
                extensions.get_extension_for_class(
                    x509.AuthorityKeyIdentifier
                ).value.key_identifier,
            )
            self.assertEqual(0, len(parsed))

    def test_each_at_half_of_its_own_life(self):
        first = self.ca.publish_other_crls(self.clock())
        self.assertEqual([], self.ca.publish_other_crls(self.clock()))
        self.clock.advance(12 * 3600)
        (service,) = self.ca.publish_other_crls(self.clock())
        self.assertEqual(
            (self.chain.service.id, first[1].number + 1),
            (service.issuer, service.number),
        )
        self.clock.advance(183 * 86400)
        root, service = self.ca.publish_other_crls(self.clock())
        self.assertEqual(
            (self.chain.root.id, first[0].number + 1),
            (root.issuer, root.number),
        )

    def test_lifetime_of_the_roots_is_a_setting(self):
        root, _ = self.make(root_crl_lifetime=30).publish_other_crls(
            self.clock()
        )
        self.assertEqual(30 * DAY, root.next_update - root.this_update)

    def test_several_processes_at_once(self):
        backends = [self.make() for _ in range(4)]
        barrier = threading.Barrier(4)

        def publish(ca):
            barrier.wait(30)
            return ca.publish_other_crls(self.clock())

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            published = sum(pool.map(publish, backends), [])
        self.assertEqual(2, len(published))

    def test_a_retiring_service_intermediate_has_its_own(self):
        self.ca.publish_other_crls(self.clock())
        former = self.issue_service()
        self.ca.rotate(hierarchy.SERVICE)
        self.crls.revoke(former, 'keyCompromise', self.clock())
        (crl,) = self.ca.publish_other_crls(self.clock())
        self.assertEqual(self.chain.service.id, crl.issuer)
        self.assertEqual(
            {former.serial: [x509.ReasonFlags.key_compromise]},
            self.find_entries(former.issuer),
        )
        self.clock.advance(12 * 3600)
        self.assertEqual(2, len(self.ca.publish_other_crls(self.clock())))

    def test_a_rotation_uses_that_the_root_key_is_at_hand(self):
        root, _ = self.ca.publish_other_crls(self.clock())
        self.clock.advance(86400)
        self.ca.rotate(hierarchy.INSTANCE)
        self.assertEqual(
            root.number + 1, self.ca.find_crl(self.chain.root.id).number
        )

    def find_pointer(self, der):
        """Return the URL of the CRL that a certificate names, or None."""
        try:
            extension = self.load(der).extensions.get_extension_for_class(
                x509.CRLDistributionPoints
            )
        except x509.ExtensionNotFound:
            return None
        self.assertFalse(extension.critical)
        (point,) = extension.value
        (name,) = point.full_name
        return name.value

    def get_pointers(self, url):
        """Return the pointers of both intermediates and their issues."""
        self.path = self.make_directory() / 'keys'
        self.ca = self.make(crl_url=url)
        self.chain = self.ca.get_chain()
        self.assertIsNone(self.find_pointer(self.chain.root.der))
        return [
            self.find_pointer(each.der)
            for each in (
                self.chain.service,
                self.issue_service(),
                self.chain.instance,
                self.ca.issue(self.make_order()),
            )
        ]

    def test_where_certificates_point_to(self):
        pointers = self.get_pointers('http://pki.example.com')
        root, service, instance = [
            'http://pki.example.com/crl/%s.crl' % record.id
            for record in (
                self.chain.root,
                self.chain.service,
                self.chain.instance,
            )
        ]
        self.assertEqual([root, service, root, instance], pointers)
        self.assertEqual([None] * 4, self.get_pointers(None))

    def test_no_crl_is_needed_to_fetch_it(self):
        """RFC 5280 8: no https in the chain of whom it is fetched from."""
        pointers = self.get_pointers('https://join.example.com:9998/')
        url = 'https://join.example.com:9998/crl/%s.crl'
        self.assertEqual(
            [
                None,
                None,
                url % self.chain.root.id,
                url % self.chain.instance.id,
            ],
            pointers,
        )


class TestRootOffline(CrlTestCase):
    def test_no_crash_and_a_warning_in_time(self):
        """IDENTITY 6: the root's key is needed for nothing daily."""
        root, _ = self.ca.publish_other_crls(self.clock())
        key, data = self.remove_root_key()
        log = self.useFixture(fixtures.FakeLogger())
        self.clock.advance(273 * 86400)
        (service,) = self.ca.publish_other_crls(self.clock())
        self.assertEqual(self.chain.service.id, service.issuer)
        self.assertEqual([], self.ca.list_crl_faults(self.clock()))
        self.assertNotIn('out of date', log.output)
        self.clock.advance(86400)
        for _ in range(3):
            self.ca.publish_other_crls(self.clock())
        (fault,) = self.ca.list_crl_faults(self.clock())
        self.assertIn('will be out of date', fault)
        self.assertIn('ca/root/%s' % self.chain.root.id, fault)
        self.assertEqual(1, log.output.count(fault))
        self.clock.advance(86400)
        self.ca.publish_other_crls(self.clock())
        self.assertEqual(2, log.output.count(fault))
        self.clock.advance(90 * 86400)
        self.ca.publish_other_crls(self.clock())
        (fault,) = self.ca.list_crl_faults(self.clock())
        self.assertIn('is out of date', fault)
        self.ca.check()
        key.write_bytes(data)
        key.chmod(0o600)
        self.ca = self.make()
        (new,) = self.ca.publish_other_crls(self.clock())
        self.assertEqual(root.number + 1, new.number)
        self.assertEqual([], self.ca.list_crl_faults(self.clock()))

    def test_there_never_was_one(self):
        self.remove_root_key()
        self.ca.publish_other_crls(self.clock())
        (fault,) = self.ca.list_crl_faults(self.clock())
        self.assertIn('There is no CRL', fault)
        self.assertIn('keys setup', fault)

    def test_an_old_crl_of_the_service_intermediate(self):
        self.ca.publish_other_crls(self.clock())
        self.clock.advance(20 * 3600)
        (fault,) = self.ca.list_crl_faults(self.clock())
        self.assertIn(self.chain.service.id, fault)
        self.assertIn('novajoin-notify', fault)

    def test_without_a_service_intermediate(self):
        key = self.path / 'ca/service' / self.chain.service.id / 'key.pem'
        key.unlink()
        (crl,) = self.make().publish_other_crls(self.clock())
        self.assertEqual(self.chain.root.id, crl.issuer)


class TestCompromise(CrlTestCase):
    def publish(self):
        self.ca.publish_crl(self.clock())
        self.ca.publish_other_crls(self.clock())
        return [crl.der for crl in self.crls.crls.values()]

    def test_of_an_instance_intermediate(self):
        former = self.ca.issue(self.make_order())
        self.publish()
        self.clock.advance(60)
        active = self.ca.compromise(hierarchy.INSTANCE, former.issuer)
        self.assertEqual(active, self.ca.get_chain().instance.id)
        self.assertNotEqual(former.issuer, active)
        serial = self.load(self.chain.instance.der).serial_number
        self.assertEqual(
            {serial: [x509.ReasonFlags.ca_compromise]},
            self.find_entries(self.chain.root.id),
        )
        new = self.ca.issue(self.make_order(serial=4712))
        crls = self.publish()
        result = self.verify(self.chain.instance, former.der, crls)
        self.assertIn('certificate revoked', result.stderr)
        result = self.verify(self.ca.get_chain().instance, new.der, crls)
        self.assertEqual(0, result.returncode, result.stderr)
        # Instances of the former one still have to be told apart.
        self.assertEqual(
            (self.chain.instance.id,),
            tuple(record.id for record in self.ca.get_chain().others),
        )

    def test_of_a_service_intermediate(self):
        former = self.issue_service()
        active = self.ca.compromise(hierarchy.SERVICE, former.issuer)
        self.assertEqual(active, self.ca.get_chain().service.id)
        new = self.issue_service()
        crls = self.publish()
        result = self.verify(self.chain.service, former.der, crls)
        self.assertIn('certificate revoked', result.stderr)
        result = self.verify(self.ca.get_chain().service, new.der, crls)
        self.assertEqual(0, result.returncode, result.stderr)

    def test_is_idempotent(self):
        former = self.chain.instance.id
        active = self.ca.compromise(hierarchy.INSTANCE, former)
        self.assertEqual(
            active, self.ca.compromise(hierarchy.INSTANCE, former)
        )
        self.assertEqual(1, len(self.find_entries(self.chain.root.id)))

    def get_states(self):
        return {
            each.id: each.state
            for each in self.ca.store.keys.authorities.list(hierarchy.INSTANCE)
        }

    def stage(self):
        self.ca.rotate(hierarchy.INSTANCE, reported=[frozenset()])
        (staged,) = [
            each
            for each, state in self.get_states().items()
            if state is authorities.AuthorityState.STAGED
        ]
        return staged

    def test_a_staged_one_takes_over(self):
        staged = self.stage()
        active = self.ca.compromise(hierarchy.INSTANCE, self.chain.instance.id)
        self.assertEqual(staged, active)

    def test_of_a_staged_one(self):
        staged = self.stage()
        active = self.ca.compromise(hierarchy.INSTANCE, staged)
        self.assertEqual(self.chain.instance.id, active)
        self.assertEqual(1, len(self.find_entries(self.chain.root.id)))
        self.assertIs(
            authorities.AuthorityState.RETIRING, self.get_states()[staged]
        )
        rotation = self.ca.rotate(hierarchy.INSTANCE)
        self.assertEqual((staged,), rotation.removed)

    def test_without_the_root_key(self):
        """Nothing has changed, and it is said what to do."""
        self.publish()
        self.remove_root_key()
        before = self.get_states()
        error = self.assertRaises(
            exceptions.CAUnavailable,
            self.ca.compromise,
            hierarchy.INSTANCE,
            self.chain.instance.id,
        )
        self.assertIn('put key.pem back', error.message)
        self.assertEqual(before, self.get_states())
        self.assertEqual({}, self.find_entries(self.chain.root.id))

    def test_a_host_without_the_copy_issues_no_more(self):
        """Its health says so within ten seconds: balancers go elsewhere."""
        elsewhere = self.make_directory() / 'keys'
        shutil.copytree(self.path, elsewhere)
        other = stores.make_ca(elsewhere, self.crls, clock=self.clock)
        other.check()
        self.ca.compromise(hierarchy.INSTANCE, self.chain.instance.id)
        self.ca.compromise(hierarchy.SERVICE, self.chain.service.id)
        self.clock.advance(10)
        self.ca.check()
        self.ca.issue(self.make_order())
        self.issue_service()
        former, self.ca = self.ca, other
        for call in (
            other.check,
            lambda: other.issue(self.make_order()),
            self.issue_service,
        ):
            error = self.assertRaises(exceptions.CAUnavailable, call)
            self.assertIn('copy the key repository', error.message)
        shutil.rmtree(elsewhere)
        shutil.copytree(self.path, elsewhere)
        # At once, whenever it would have looked again.
        other.check()
        self.assertEqual(former.get_chain(), other.get_chain())

    def test_of_the_root(self):
        error = self.assertRaises(
            exceptions.ConfigurationError,
            self.ca.compromise,
            hierarchy.ROOT,
            self.chain.root.id,
        )
        self.assertIn('cannot be revoked', str(error))

    def test_of_an_unknown_one(self):
        self.assertRaises(
            exceptions.CAUnavailable,
            self.ca.compromise,
            hierarchy.INSTANCE,
            'f' * 16,
        )

    def test_while_the_database_is_away(self):
        """Doing it again completes it."""
        revoke = self.crls.revoke_authority

        def fail(authority):
            raise exceptions.DatabaseUnavailable

        self.crls.revoke_authority = fail
        self.assertRaises(
            exceptions.DatabaseUnavailable,
            self.ca.compromise,
            hierarchy.INSTANCE,
            self.chain.instance.id,
        )
        active = self.ca.get_chain().instance.id
        self.crls.revoke_authority = revoke
        self.assertEqual(
            active,
            self.ca.compromise(hierarchy.INSTANCE, self.chain.instance.id),
        )
        self.assertEqual(1, len(self.find_entries(self.chain.root.id)))
