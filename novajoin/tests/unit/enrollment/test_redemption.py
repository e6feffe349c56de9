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
"""Transitions 4 to 6, IDENTITY 5: redemption, renewal, receipts."""

import dataclasses
import functools

from cryptography import x509

from novajoin import exceptions
from novajoin import models
from novajoin.ca import csr as ca_csr
from novajoin.db import certificates
from novajoin.enrollment import lifecycle
from novajoin.tests.unit.enrollment import world

State = models.State


class Case(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()

    def offer(self, hostname='web1'):
        """Return a guest with a token that can be redeemed."""
        instance = self.world.start(hostname)
        return world.Guest(self.world, self.world.post(instance, hostname))

    def get_state(self, guest):
        return self.world.get_state(guest.instance)

    def get_live(self, guest):
        now = self.world.clock()
        return self.world.database.read(
            lambda tx: certificates.list_valid(tx, guest.instance, now)
        )

    def break_ca(self, method='issue'):
        def hook(called):
            if called == method:
                raise exceptions.CAUnavailable

        self.world.ca.hook = hook

    def mend_ca(self):
        self.world.ca.hook = lambda method: None


class RedeemTestCase(Case):
    def test_certificate(self):
        """Rule 4: the certificate is made from the record."""
        guest = self.offer()
        outcome = guest.redeem()
        certificate = x509.load_der_x509_certificate(outcome.certificate)
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
        self.assertEqual(
            ['web1.example.com'], names.get_values_for_type(x509.DNSName)
        )
        self.assertEqual(
            ['urn:uuid:' + guest.instance],
            names.get_values_for_type(x509.UniformResourceIdentifier),
        )
        self.assertEqual(
            world.get_public_key(guest.key),
            world.get_public_key(outcome.certificate),
        )
        self.assertEqual(
            (self.world.ca.get_chain().instance.der,), outcome.chain
        )
        self.assertEqual(State.ENROLLED, self.get_state(guest))
        stored = self.world.list_certificates(guest.instance)
        self.assertEqual([outcome.certificate], [c.der for c in stored])
        self.assertGreater(int(stored[0].serial, 16).bit_length(), 64)
        self.assertLessEqual(int(stored[0].serial, 16).bit_length(), 127)

    def test_dates(self):
        """Valid from no earlier than the payload's time, and not later."""
        guest = self.offer()
        self.world.clock.advance(600.5)
        guest.redeem()
        row = self.world.list_certificates(guest.instance)[0]
        self.assertEqual(
            self.world.find(guest.instance).opened_at, row.not_before
        )
        self.assertEqual(
            world.days(30),
            row.not_after - self.world.clock().replace(microsecond=0),
        )

    def test_same_key_again(self):
        """Rule 3: the same stored certificate, byte for byte, always."""
        guest = self.offer()
        first = guest.redeem()
        again = guest.redeem()
        self.assertEqual(first, again)
        # Long after the token has expired, too.
        self.world.clock.advance(29 * 86400)
        self.assertEqual(first, guest.redeem())
        self.assertEqual(1, len(self.world.ca.list_issued()))
        self.world.clock.advance(86400)
        self.assertRaises(exceptions.CertificateRevoked, guest.redeem)

    def test_pending(self):
        """202 until both verdicts are in."""
        made = self.make_world(waiting=0)
        guest = world.Guest(made, made.post(made.start()))
        with self.assert_nothing_written(made):
            self.assertIsNone(guest.redeem().certificate)
        made.work()
        self.assertIsNotNone(guest.redeem().certificate)

    def test_pending_with_a_bad_request(self):
        """400 is told at once, not after the verdicts."""
        made = self.make_world(waiting=0)
        guest = world.Guest(made, made.post(made.start()))
        self.assertRaises(exceptions.CsrMalformed, guest.redeem, b'x')

    def test_unauthorized(self):
        """401 for all that is not this pair; nothing is written."""
        guest = self.offer()
        other = self.offer('web2')
        redeem = self.world.redemption.redeem
        with self.assert_nothing_written(self.world):
            for instance, token in (
                (guest.instance, other.token),
                (other.instance, guest.token),
                (world.make_uuid(), guest.token),
                (guest.instance.upper(), guest.token),
                (guest.instance + '\n', guest.token),
                ('', ''),
                (guest.instance, ''),
                (guest.instance, guest.token[:-1]),
                (guest.instance, guest.token.upper()),
                (guest.instance, 'njt1_' + 'a' * 58),
                ("' OR 1=1 --", guest.token),
                (guest.instance, '\udc80'),
                ('\0', '\0'),
            ):
                # Authenticated before the body is looked at.
                self.assertRaises(
                    exceptions.Unauthorized,
                    redeem,
                    instance,
                    token,
                    b'not a request',
                    'req',
                )

    def test_wrong_tokens_never_change_state(self):
        """There is no lock-out to abuse."""
        guest, other = self.offer(), self.offer('web2')
        for _ in range(50):
            self.assertRaises(
                exceptions.Unauthorized,
                self.world.redemption.redeem,
                guest.instance,
                other.token,
                guest.make_csr(),
                'req',
            )
        self.assertIsNotNone(guest.redeem().certificate)

    def test_bad_request_consumes_nothing(self):
        """400 and the token lives on."""
        guest = self.offer()
        template = dict(guest.payload['csr'])
        template['dns'] = ['web1.example.com', 'evil.example.com']
        with self.assert_nothing_written(self.world):
            error = self.assertRaises(
                exceptions.CsrMismatch,
                guest.redeem,
                world.make_csr(template, guest.key),
            )
            self.assertEqual('csr_mismatch.dns_extra', error.reason)
            for csr in (b'', b'\x30\x80', b'\0' * 9000, guest.make_csr()[:-1]):
                self.assertRaises(exceptions.CsrError, guest.redeem, csr)
        self.assertIsNotNone(guest.redeem().certificate)

    def test_reused_key(self):
        """One key belongs to one enrollment for ever."""
        first, second = self.offer(), self.offer('web2')
        first.redeem()
        second.key = first.key
        with self.assert_nothing_written(self.world):
            self.assertRaises(exceptions.KeyReused, second.redeem)
        second.key = world.make_key()
        self.assertIsNotNone(second.redeem().certificate)

    def test_reused_key_at_once(self):
        """The index decides between two that come in the same moment."""
        first, second = self.offer(), self.offer('web2')
        second.key = first.key
        before = certificates.find_public_key
        self.addCleanup(setattr, certificates, 'find_public_key', before)
        first.redeem()
        certificates.find_public_key = lambda tx, sha256: None
        with self.assert_nothing_written(self.world):
            self.assertRaises(exceptions.KeyReused, second.redeem)

    def test_expired(self):
        """403 token_expired; also before the sweep came by."""
        guest = self.offer()
        self.world.clock.advance(world.LIFETIME)
        self.assertRaises(exceptions.TokenExpired, guest.redeem)
        self.assertEqual(State.EXPIRED, self.get_state(guest))
        self.assertRaises(exceptions.TokenExpired, guest.redeem)
        self.world.work()
        self.assertFalse(self.world.find_host('web1.example.com').is_enabled)

    def test_expired_pending(self):
        made = self.make_world(waiting=0)
        guest = world.Guest(made, made.post(made.start()))
        made.clock.advance(world.LIFETIME)
        self.assertRaises(exceptions.TokenExpired, guest.redeem)

    def test_last_moment(self):
        guest = self.offer()
        self.world.clock.advance(world.LIFETIME - 1)
        self.assertIsNotNone(guest.redeem().certificate)

    def test_expires_at_the_claim(self):
        """The swap looks at the time again."""
        guest = self.offer()
        match = ca_csr.match

        def slow(*args):
            self.world.clock.advance(world.LIFETIME)
            return match(*args)

        self.addCleanup(setattr, ca_csr, 'match', match)
        ca_csr.match = slow
        self.assertRaises(exceptions.TokenExpired, guest.redeem)
        self.assertEqual([], self.world.list_certificates(guest.instance))

    def test_refused(self):
        made = self.make_world(waiting=0)
        instance = made.start(project=world.OTHER_PROJECT)
        guest = world.Guest(made, made.post(instance))
        made.work()
        refused = self.assertRaises(exceptions.IdentityRefused, guest.redeem)
        self.assertIn('another project', refused.message)

    def test_suspended(self):
        guest = self.offer()
        self.world.nova.change(guest.instance, status='SOFT_DELETED')
        self.world.hint(guest.instance, 'soft_delete')
        self.world.work()
        self.assertRaises(exceptions.Suspended, guest.redeem)

    def test_closed(self):
        guest = self.offer()
        self.world.nova.delete(guest.instance)
        self.world.hint(guest.instance)
        self.world.work()
        self.assertEqual(State.CLOSED, self.get_state(guest))
        self.assertRaises(exceptions.Closed, guest.redeem)

    def test_older_token(self):
        """The token of an earlier generation: 401."""
        guest = self.offer()
        guest.redeem()
        self.world.operations.reissue(guest.instance, world.make_caller())
        self.assertRaises(exceptions.Unauthorized, guest.redeem)

    def test_key_of_the_same_epoch(self):
        """A later generation of the epoch may use its key again."""
        guest = self.offer()
        guest.redeem()
        self.world.operations.reissue(guest.instance, world.make_caller())
        self.world.work()
        again = world.Guest(self.world, self.world.post(guest.instance))
        again.key = guest.key
        outcome = again.redeem()
        self.assertNotEqual(guest.certificate, outcome.certificate)
        self.assertEqual(outcome, again.redeem())

    def test_revoked_by_an_operator(self):
        """Enrolled without a certificate until it is reissued."""
        guest = self.offer()
        guest.redeem()
        self.world.operations.revoke(guest.instance, world.make_caller())
        self.assertEqual(State.ENROLLED, self.get_state(guest))
        self.assertRaises(exceptions.CertificateRevoked, guest.redeem)

    def test_row_without_a_certificate(self):
        """A purged certificate is none that could be sent."""
        guest = self.offer()
        guest.redeem()
        self.world.database.write(
            lambda tx: tx.execute(certificates._T.delete())
        )
        self.assertRaises(exceptions.CertificateRevoked, guest.redeem)

    def test_csrattrs(self):
        """Authenticated as simpleenroll, and consumes nothing."""
        guest = self.offer()
        with self.assert_nothing_written(self.world):
            found = self.world.redemption.authenticate(
                guest.instance, guest.token
            )
            template = self.world.redemption.get_template(found)
        self.assertEqual(('web1.example.com',), template.dns)
        self.assertEqual(tuple(guest.payload['csr']['eku']), template.eku)


class BusyAuthorityTestCase(Case):
    """202 after the claim, and the same order again."""

    def test_busy(self):
        guest = self.offer()
        self.break_ca()
        self.assertIsNone(guest.redeem().certificate)
        self.assertEqual(State.CLAIMED, self.get_state(guest))
        before = self.world.list_certificates(guest.instance)
        # Claimed is claimed: also after the token has expired.
        self.world.clock.advance(2 * world.LIFETIME)
        self.assertIsNone(guest.redeem().certificate)
        self.mend_ca()
        outcome = guest.redeem()
        certificate = x509.load_der_x509_certificate(outcome.certificate)
        self.assertEqual(
            before[0].not_before, certificate.not_valid_before_utc
        )
        self.assertEqual(before[0].serial, '%x' % certificate.serial_number)
        self.assertEqual(State.ENROLLED, self.get_state(guest))

    def test_chain_is_away(self):
        """No claim is made that could not be signed: 503."""
        guest = self.offer()
        self.break_ca('get_chain')
        with self.assert_nothing_written(self.world):
            self.assertRaises(exceptions.CAUnavailable, guest.redeem)

    def test_ca_refuses(self):
        guest = self.offer()

        def hook(method):
            if method == 'issue':
                raise exceptions.IdentityRefused('Not this one.')

        self.world.ca.hook = hook
        self.assertRaises(exceptions.IdentityRefused, guest.redeem)

    def test_contested_while_signing(self):
        """What was signed for a contested claim is never sent."""
        guest = self.offer()
        other = guest.clone()

        def after(method):
            if method == 'issue':
                self.world.ca.after = lambda method: None
                self.assertRaises(exceptions.KeyConflict, other.redeem)

        self.world.ca.after = after
        self.assertRaises(exceptions.Contested, guest.redeem)
        self.assertEqual(State.CONTESTED, self.get_state(guest))
        self.assertEqual(
            [None],
            [c.der for c in self.world.list_certificates(guest.instance)],
        )
        self.assertEqual([], self.get_live(guest))

    def test_signed_by_another_meanwhile(self):
        """Only the stored one is ever sent."""
        guest = self.offer()
        sent = []

        def after(method):
            if method == 'issue':
                self.world.ca.after = lambda method: None
                sent.append(guest.redeem())

        self.world.ca.after = after
        sent.append(guest.redeem())
        self.assertEqual(2, len(self.world.ca.list_issued()))
        self.assertEqual(sent[0], sent[1])
        self.assertEqual(
            1,
            self.world.list_kinds(guest.instance).count('certificate.issued'),
        )

    def test_gone_while_signing(self):
        guest = self.offer()

        def after(method):
            if method == 'issue':
                self.world.nova.delete(guest.instance)
                self.world.hint(guest.instance)
                self.world.work()

        self.world.ca.after = after
        self.assertRaises(exceptions.Closed, guest.redeem)
        self.assertEqual([], self.get_live(guest))

    def test_revoked_while_signing(self):
        guest = self.offer()
        self.break_ca()
        guest.redeem()
        self.mend_ca()

        def after(method):
            if method == 'issue':
                self.world.operations.revoke(
                    guest.instance, world.make_caller()
                )

        self.world.ca.after = after
        self.assertRaises(exceptions.CertificateRevoked, guest.redeem)
        self.assertEqual([], self.get_live(guest))
        # It can be reissued.
        self.assertIs(State.ENROLLED, self.get_state(guest))
        self.world.ca.after = lambda method: None
        self.world.operations.reissue(guest.instance, world.make_caller())
        self.world.work()
        again = world.Guest(self.world, self.world.post(guest.instance))
        self.assertIsNotNone(again.redeem().certificate)

    def test_one_revoked_while_claimed(self):
        guest = self.offer()
        self.break_ca()
        guest.redeem()
        self.mend_ca()
        row = self.world.list_certificates(guest.instance)[0]
        self.world.operations.revoke_certificate(
            row.serial, world.make_caller()
        )
        self.assertIs(State.ENROLLED, self.get_state(guest))
        self.assertRaises(exceptions.CertificateRevoked, guest.redeem)
        self.assertEqual([], self.world.ca.list_issued())

    def test_revoked_elsewhere_while_signing(self):
        """The row is revoked, whoever did it and however: not signed."""
        guest = self.offer()

        def after(method):
            if method == 'issue':
                serial = self.world.list_certificates(guest.instance)[0].serial
                self.world.database.write(
                    lambda tx: certificates.revoke(
                        tx,
                        serial,
                        models.RevocationReason.UNSPECIFIED,
                        self.world.clock(),
                    )
                )

        self.world.ca.after = after
        self.assertRaises(exceptions.CertificateRevoked, guest.redeem)
        self.assertIs(State.CLAIMED, self.get_state(guest))

    def test_purged_while_signing(self):
        guest = self.offer()

        def after(method):
            if method == 'issue':
                self.world.ca.after = lambda method: None
                guest.redeem()
                self.world.database.write(
                    lambda tx: tx.execute(certificates._T.delete())
                )

        self.world.ca.after = after
        self.assertIsNone(guest.redeem().certificate)

    def test_rotated(self):
        """The chain is that of who signed it, not of who signs now."""
        guest = self.offer()
        before = guest.redeem()
        chain = self.world.ca._chain
        other = models.CertificateAuthorityRecord('f' * 16, b'newer')
        self.world.ca._chain = dataclasses.replace(
            chain, instance=other, others=(chain.instance,)
        )
        self.assertEqual(before, guest.redeem())

    def test_suspended_while_signing(self):
        """Restored, the claim goes on where it was."""
        guest = self.offer()

        def after(method):
            if method == 'issue':
                self.world.ca.after = lambda method: None
                self.world.nova.change(guest.instance, status='SOFT_DELETED')
                self.world.hint(guest.instance, 'soft_delete')
                self.world.work()

        self.world.ca.after = after
        self.assertRaises(exceptions.Suspended, guest.redeem)
        self.world.nova.launch(guest.instance)
        self.world.hint(guest.instance, 'restore')
        self.world.work()
        self.assertEqual(State.CLAIMED, self.get_state(guest))
        self.assertIsNotNone(guest.redeem().certificate)


class SecondKeyTestCase(Case):
    """Transition 6: another SPKI with the right token."""

    def test_within_the_window(self):
        guest = self.offer()
        guest.redeem()
        thief = guest.clone()
        self.assertRaises(exceptions.KeyConflict, thief.redeem)
        self.assertEqual(State.CONTESTED, self.get_state(guest))
        self.assertEqual([], self.get_live(guest))
        revoked = self.world.list_certificates(guest.instance)[0]
        self.assertIs(
            models.RevocationReason.KEY_COMPROMISE, revoked.revocation_reason
        )
        # Nobody holds it now.
        self.assertRaises(exceptions.Contested, thief.redeem)
        self.assertRaises(exceptions.Contested, guest.redeem)
        self.assertRaises(exceptions.CertificateRevoked, guest.renew)
        self.world.work()
        self.assertEqual([revoked.serial], self.world.ca.list_revoked())
        self.assertEqual(
            1,
            self.world.list_kinds(guest.instance).count(
                'enrollment.contested'
            ),
        )

    def test_before_the_signature(self):
        guest = self.offer()
        self.break_ca()
        guest.redeem()
        self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        self.mend_ca()
        self.assertRaises(exceptions.Contested, guest.redeem)
        self.assertEqual([], self.world.ca.list_issued())

    def test_signed_meanwhile(self):
        """Claimed when it was read, enrolled when it is contested."""
        guest = self.offer()
        self.break_ca()
        guest.redeem()
        self.mend_ca()
        match = ca_csr.match

        def slow(*args):
            ca_csr.match = match
            guest.redeem()
            return match(*args)

        self.addCleanup(setattr, ca_csr, 'match', match)
        ca_csr.match = slow
        self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        self.assertEqual(State.CONTESTED, self.get_state(guest))
        self.assertEqual([], self.get_live(guest))

    def test_after_the_window(self):
        """409 and no change; no receipt shortens the window."""
        guest = self.offer()
        guest.redeem()
        guest.send_receipt()
        self.world.clock.advance(world.LIFETIME)
        with self.assert_nothing_written(self.world):
            self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        self.assertIsNotNone(guest.renew().certificate)

    def test_receipt_does_not_shorten_the_window(self):
        guest = self.offer()
        guest.redeem()
        guest.send_receipt()
        self.world.clock.advance(world.LIFETIME - 1)
        self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        self.assertEqual(State.CONTESTED, self.get_state(guest))

    def test_reissued_meanwhile(self):
        """A dispute over an old generation leaves the new one alone."""
        guest = self.offer()
        guest.redeem()
        match = ca_csr.match

        def slow(*args):
            self.world.operations.reissue(guest.instance, world.make_caller())
            return match(*args)

        self.addCleanup(setattr, ca_csr, 'match', match)
        ca_csr.match = slow
        self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        self.assertEqual(State.PENDING, self.get_state(guest))

    def test_at_once(self):
        """One of many keys claims, and in the end nobody holds it."""
        guest = self.offer()
        guests = [guest.clone() for _ in range(12)]
        results = self.at_once(*[other.redeem for other in guests])
        names = [type(result).__name__ for result in results]
        self.assertEqual(State.CONTESTED, self.get_state(guest))
        self.assertLessEqual(len(self.world.ca.list_issued()), 1)
        self.assertLessEqual(names.count('Outcome'), 1)
        self.assertGreaterEqual(names.count('KeyConflict'), 1)
        self.assertEqual([], self.get_live(guest))

    def test_one_key_at_once(self):
        guest = self.offer()
        csr = guest.make_csr()
        results = self.at_once(*[functools.partial(guest.redeem, csr)] * 12)
        self.assertEqual([results[0]] * 12, results)
        self.assertEqual(State.ENROLLED, self.get_state(guest))

    def test_claimed_by_another_at_the_swap(self):
        """Who loses the swap is told what became of it."""
        guest = self.offer()
        other = guest.clone()
        match = ca_csr.match

        def slow(*args):
            ca_csr.match = match
            other.redeem()
            return match(*args)

        self.addCleanup(setattr, ca_csr, 'match', match)
        ca_csr.match = slow
        self.assertRaises(exceptions.KeyConflict, guest.redeem)
        self.assertEqual(State.CONTESTED, self.get_state(guest))

    def test_not_offered_any_more_at_the_swap(self):
        """Pending again, though with the same token: come again."""
        guest = self.offer()
        match = ca_csr.match

        def slow(*args):
            row = self.world.find(guest.instance)
            self.world.database.write(
                lambda tx: lifecycle.enrollments.change(
                    tx, row, self.world.clock(), state=State.PENDING
                )
            )
            return match(*args)

        self.addCleanup(setattr, ca_csr, 'match', match)
        ca_csr.match = slow
        self.assertIsNone(guest.redeem().certificate)


class RenewTestCase(Case):
    def setUp(self):
        super().setUp()
        self.guest = self.world.enroll()
        self.world.clock.advance(20 * 86400)

    def test_renew(self):
        """A successor, with the same names and a life of its own."""
        outcome = self.guest.renew(world.make_key())
        old, new = self.world.list_certificates(self.guest.instance)
        self.assertEqual(outcome.certificate, new.der)
        self.assertEqual(new.serial, old.superseded_by)
        self.assertIsNone(old.revoked_at)
        self.assertEqual(
            world.days(30),
            new.not_after - self.world.clock(),
        )
        self.assertEqual(world.days(1), self.world.clock() - new.not_before)

    def test_same_key(self):
        outcome = self.guest.renew()
        self.assertNotEqual(self.guest.certificate, outcome.certificate)

    def test_stale_serial_with_the_same_key(self):
        """The answer was lost: the stored successor again."""
        key = world.make_key()
        first = self.guest.renew(key)
        self.assertEqual(first, self.guest.renew(key))
        self.assertEqual(State.ENROLLED, self.get_state(self.guest))

    def test_stale_serial_with_another_key(self):
        """Contested: renewals are held, nothing is revoked."""
        successor = self.guest.renew(world.make_key())
        self.assertRaises(
            exceptions.Contested, self.guest.renew, world.make_key()
        )
        self.assertEqual(State.CONTESTED, self.get_state(self.guest))
        self.assertEqual(2, len(self.get_live(self.guest)))
        self.assertRaises(
            exceptions.Contested,
            self.guest.renew,
            certificate=successor.certificate,
        )

    def test_stale_serial_after_the_successor_was_presented(self):
        """Whatever it was presented for, a receipt that came before too."""
        self.guest.send_receipt()
        key = world.make_key()
        successor = self.guest.renew(key)
        self.guest.send_receipt(certificate=successor.certificate)
        self.assertRaises(exceptions.Contested, self.guest.renew, key)
        self.assertEqual(State.CONTESTED, self.get_state(self.guest))

    def test_busy(self):
        """202, and the same request gets the same successor later."""
        key = world.make_key()
        self.break_ca()
        self.assertIsNone(self.guest.renew(key).certificate)
        self.mend_ca()
        outcome = self.guest.renew(key)
        self.assertEqual(
            world.get_public_key(key),
            world.get_public_key(outcome.certificate),
        )
        self.assertEqual(
            2, len(self.world.list_certificates(self.guest.instance))
        )

    def test_at_once(self):
        """One key: one successor. Two keys: one wins, and it is contested."""
        key = world.make_key()
        results = self.at_once(*[functools.partial(self.guest.renew, key)] * 6)
        self.assertEqual([results[0]] * 6, results)
        self.assertEqual(
            2, len(self.world.list_certificates(self.guest.instance))
        )

    def test_two_keys_at_once(self):
        results = self.at_once(
            *[
                functools.partial(self.guest.renew, world.make_key())
                for _ in range(4)
            ]
        )
        self.assertEqual(State.CONTESTED, self.get_state(self.guest))
        self.assertLessEqual(
            [type(result).__name__ for result in results].count('Outcome'), 1
        )
        self.assertEqual(
            2, len(self.world.list_certificates(self.guest.instance))
        )

    def test_bad_request(self):
        """Nothing is written, not even that the certificate was used."""
        template = dict(self.guest.payload['csr'])
        template['dns'] = ['web1.example.com', 'evil.example.com']
        with self.assert_nothing_written(self.world):
            for csr in (
                b'x',
                self.guest.make_csr()[:-1],
                world.make_csr(template, self.guest.key),
            ):
                self.assertRaises(
                    exceptions.CsrError,
                    self.world.redemption.renew,
                    self.guest.certificate,
                    csr,
                    'req',
                )
        self.assertIsNotNone(self.guest.renew().certificate)

    def test_foreign_key(self):
        other = self.world.enroll('web2')
        with self.assert_nothing_written(self.world):
            self.assertRaises(
                exceptions.KeyReused, self.guest.renew, other.key
            )
        self.assertIsNotNone(self.guest.renew().certificate)

    def test_presented(self):
        """What a certificate was used for, once, and is then kept."""
        key = world.make_key()
        successor = self.guest.renew(key)
        old, new = self.world.list_certificates(self.guest.instance)
        self.assertEqual(self.world.clock(), old.presented_at)
        self.assertIsNone(new.presented_at)
        # Refused, so that the answer can still be fetched again.
        self.assertRaises(
            exceptions.CsrError,
            self.world.redemption.renew,
            successor.certificate,
            b'x',
            'req',
        )
        self.assertEqual(successor, self.guest.renew(key))
        self.guest.renew(world.make_key(), successor.certificate)
        self.assertRaises(exceptions.Contested, self.guest.renew, key)

    def test_not_ours(self):
        """Revoked, of an old epoch, not ours: 403 certificate_revoked."""
        stranger = self.make_world().enroll()
        for certificate in (b'', b'x', stranger.certificate):
            self.assertRaises(
                exceptions.CertificateRevoked,
                self.guest.renew,
                certificate=certificate,
            )

    def test_forged_serial(self):
        """A certificate of another CA with a serial of ours."""
        self.world.database.write(
            lambda tx: tx.execute(
                certificates._T.update().values(der=b'other')
            )
        )
        self.assertRaises(exceptions.CertificateRevoked, self.guest.renew)

    def test_revoked(self):
        self.world.operations.revoke(self.guest.instance, world.make_caller())
        self.assertRaises(exceptions.CertificateRevoked, self.guest.renew)

    def test_old_epoch(self):
        self.world.nova.begin_rebuild(self.guest.instance)
        self.world.hint(self.guest.instance, 'rebuild')
        self.world.work()
        self.assertRaises(exceptions.CertificateRevoked, self.guest.renew)

    def test_old_epoch_that_nobody_revoked(self):
        """The disk is new, so whoever holds the old key is someone else."""
        old = self.world.list_certificates(self.guest.instance)[0]
        self.world.nova.begin_rebuild(self.guest.instance)
        self.world.hint(self.guest.instance, 'rebuild')
        self.world.work()
        self.world.nova.launch(self.guest.instance)
        rebuilt = world.Guest(self.world, self.world.post(self.guest.instance))
        rebuilt.redeem()
        self.world.database.write(
            lambda tx: tx.execute(
                certificates._T.update()
                .where(certificates._T.c.serial == old.serial)
                .values(revoked_at=None)
            )
        )
        rebuilt.renew()
        for use in (self.guest.renew, self.guest.send_receipt):
            self.assertRaises(exceptions.CertificateRevoked, use)

    def test_expired(self):
        """A connection may be older than the end of the certificate."""
        row = self.world.list_certificates(self.guest.instance)[0]
        left = (row.not_after - self.world.clock()).total_seconds()
        self.world.clock.advance(left - 1)
        self.guest.send_receipt()
        self.world.clock.advance(1)
        for use in (self.guest.renew, self.guest.send_receipt):
            error = self.assertRaises(exceptions.CertificateRevoked, use)
            self.assertIn('expired', error.message)
        self.assertEqual(
            1, len(self.world.list_certificates(self.guest.instance))
        )

    def test_suspended(self):
        self.world.nova.change(self.guest.instance, status='SOFT_DELETED')
        self.world.hint(self.guest.instance, 'soft_delete')
        self.world.work()
        self.assertRaises(exceptions.Suspended, self.guest.renew)
        self.world.nova.launch(self.guest.instance)
        self.world.hint(self.guest.instance, 'restore')
        self.world.work()
        self.assertIsNotNone(self.guest.renew().certificate)

    def test_closing(self):
        self.world.operations.release(
            self.guest.instance, world.make_caller(), reason='x'
        )
        self.assertRaises(exceptions.CertificateRevoked, self.guest.renew)

    def test_closing_with_a_certificate_that_lives(self):
        """The state alone is reason enough."""
        row = self.world.find(self.guest.instance)
        self.world.database.write(
            lambda tx: lifecycle.enrollments.change(
                tx, row, self.world.clock(), state=State.CLOSED
            )
        )
        self.assertRaises(exceptions.CertificateRevoked, self.guest.renew)

    def test_another_state(self):
        """A living certificate of a row that is not enrolled."""
        row = self.world.find(self.guest.instance)
        self.world.database.write(
            lambda tx: lifecycle.enrollments.change(
                tx, row, self.world.clock(), state=State.PENDING
            )
        )
        self.assertRaises(exceptions.CertificateRevoked, self.guest.renew)

    def interrupt(self, function):
        """Run something between the look and the swap of a renewal."""
        match = ca_csr.match

        def slow(*args):
            ca_csr.match = match
            function()
            return match(*args)

        self.addCleanup(setattr, ca_csr, 'match', match)
        ca_csr.match = slow

    def test_revoked_at_the_swap(self):
        """No certificate gets away from a revocation."""
        for number, function in enumerate(
            (
                lambda guest: self.world.operations.revoke(
                    guest.instance, world.make_caller()
                ),
                lambda guest: self.world.operations.revoke_certificate(
                    world.get_serial(guest.certificate), world.make_caller()
                ),
                lambda guest: self.world.operations.release(
                    guest.instance, world.make_caller(), reason='x'
                ),
                lambda guest: self.world.operations.reissue(
                    guest.instance, world.make_caller()
                ),
            )
        ):
            guest = self.world.enroll('other%d' % number)
            self.interrupt(functools.partial(function, guest))
            self.assertRaises(exceptions.CertificateRevoked, guest.renew)
            self.assertEqual([], self.get_live(guest))
            self.assertEqual(
                1, len(self.world.list_certificates(guest.instance))
            )

    def test_suspended_at_the_swap(self):
        def suspend():
            self.world.nova.change(self.guest.instance, status='SOFT_DELETED')
            self.world.hint(self.guest.instance, 'soft_delete')
            self.world.work()

        self.interrupt(suspend)
        self.assertRaises(exceptions.Suspended, self.guest.renew)
        self.assertEqual(
            1, len(self.world.list_certificates(self.guest.instance))
        )

    def test_changed_and_back_at_the_swap(self):
        """Nothing is wrong, and nothing was done: 503, come again."""
        change = lifecycle.enrollments.change
        self.addCleanup(setattr, lifecycle.enrollments, 'change', change)
        lifecycle.enrollments.change = lambda *args, **kwargs: False
        self.assertRaises(exceptions.Unavailable, self.guest.renew)
        lifecycle.enrollments.change = change
        self.assertEqual(State.ENROLLED, self.get_state(self.guest))
        self.assertIsNotNone(self.guest.renew().certificate)

    def test_revoked_successor(self):
        """The successor was revoked before it was fetched."""
        key = world.make_key()
        self.break_ca()
        self.guest.renew(key)
        self.mend_ca()
        successor = self.world.list_certificates(self.guest.instance)[1]
        self.world.operations.revoke_certificate(
            successor.serial, world.make_caller()
        )
        self.assertRaises(exceptions.CertificateRevoked, self.guest.renew, key)


class ReceiptTestCase(Case):
    """``POST /v1/receipts``: the word that the payload arrived."""

    def test_receipt(self):
        """204, and again 204; one line in the audit log."""
        guest = self.world.enroll()
        guest.send_receipt()
        self.world.clock.advance(10)
        with self.assert_nothing_written(self.world):
            guest.send_receipt()
        self.assertEqual(
            1, self.world.list_kinds(guest.instance).count('payload.received')
        )

    def test_at_once(self):
        guest = self.world.enroll()
        self.assertEqual([None] * 4, self.at_once(*[guest.send_receipt] * 4))
        self.assertEqual(
            1, self.world.list_kinds(guest.instance).count('payload.received')
        )

    def test_another_digest(self):
        guest = self.world.enroll()
        for _ in range(2):
            with self.assert_nothing_written(self.world):
                for seq, sha256 in (
                    (1, '0' * 64),
                    (2, None),
                    (99, None),
                ):
                    self.assertRaises(
                        exceptions.ReceiptConflict,
                        guest.send_receipt,
                        seq,
                        sha256,
                    )
            guest.send_receipt()

    def test_of_another_instance(self):
        guest, other = self.world.enroll(), self.world.enroll('web2')
        self.assertRaises(
            exceptions.ReceiptConflict,
            guest.send_receipt,
            other.payload['seq'],
            other.answer['bootstrap']['sha256'],
        )

    def test_malformed(self):
        guest = self.world.enroll()
        for seq, sha256 in (
            (0, None),
            (-1, None),
            (2**31, None),
            (1, 'x'),
            (1, '0' * 63),
            (1, '0' * 64 + '\n'),
            (1, 'A' * 64),
        ):
            with self.assert_nothing_written(self.world):
                self.assertRaises(
                    exceptions.InvalidBody, guest.send_receipt, seq, sha256
                )

    def test_revoked(self):
        guest = self.world.enroll()
        self.world.operations.revoke(guest.instance, world.make_caller())
        self.assertRaises(exceptions.CertificateRevoked, guest.send_receipt)
