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
"""Transitions 9 and 11a, and what else operators do."""

import functools
import shutil

from novajoin import exceptions
from novajoin import models
from novajoin.db import enrollments
from novajoin.keys import repository
from novajoin.tests.unit.enrollment import world

State = models.State


class Case(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.caller = world.make_caller('operator')

    @property
    def operations(self):
        return self.world.operations

    def offer(self, hostname='web1'):
        instance = self.world.start(hostname)
        return world.Guest(self.world, self.world.post(instance, hostname))


class ReadTestCase(Case):
    def test_enrollments(self):
        first = self.world.enroll('web1')
        second = self.world.enroll('web2', world.OTHER_PROJECT)
        everything = self.operations.list_enrollments(limit=10)
        self.assertEqual(
            sorted([first.instance, second.instance]),
            [row.instance for row in everything],
        )
        for filters in (
            {'project': world.OTHER_PROJECT},
            {'hostname': 'web2.example.com'},
            {'project': world.OTHER_PROJECT, 'state': State.ENROLLED},
        ):
            found = self.operations.list_enrollments(limit=10, **filters)
            self.assertEqual([second.instance], [r.instance for r in found])
        self.assertEqual(
            [],
            self.operations.list_enrollments(limit=10, state=State.CLOSED),
        )

    def test_pages(self):
        for number in range(5):
            self.world.enroll('web%d' % number)
        seen, marker = [], None
        while page := self.operations.list_enrollments(limit=2, marker=marker):
            self.assertLessEqual(len(page), 2)
            marker = page[-1].instance
            seen += [row.instance for row in page]
        self.assertEqual(5, len(set(seen)))
        self.assertEqual(sorted(seen), seen)

    def test_certificates(self):
        first = self.world.enroll('web1')
        second = self.world.enroll('web2', world.OTHER_PROJECT)
        serial = world.get_serial(second.certificate)
        for filters in (
            {'instance': second.instance},
            {'project': world.OTHER_PROJECT},
        ):
            found = self.operations.list_certificates(limit=10, **filters)
            self.assertEqual([serial], [row.serial for row in found])
        both = [
            row.serial for row in self.operations.list_certificates(limit=10)
        ]
        self.assertEqual(
            sorted([serial, world.get_serial(first.certificate)]), both
        )
        self.assertEqual(
            both[1:],
            [
                row.serial
                for row in self.operations.list_certificates(
                    limit=10, marker=both[0]
                )
            ],
        )
        self.assertEqual(
            second.certificate, self.operations.find_certificate(serial).der
        )

    def test_unsigned_certificates_are_none(self):
        guest = self.offer()

        def hook(method):
            if method == 'issue':
                raise exceptions.CAUnavailable

        self.world.ca.hook = hook
        guest.redeem()
        self.assertEqual([], self.operations.list_certificates(limit=10))

    def test_events(self):
        guest = self.world.enroll('web1')
        self.world.enroll('web2', world.OTHER_PROJECT)
        found = self.operations.list_events(instance=guest.instance, limit=10)
        self.assertEqual(
            ['enrollment.pending', 'enrollment.offered', 'certificate.issued'],
            [event.kind for event in found],
        )
        self.assertEqual(
            found[1:],
            self.operations.list_events(
                instance=guest.instance, limit=10, marker=found[0].id
            ),
        )
        others = self.operations.list_events(
            project=world.OTHER_PROJECT, limit=10
        )
        self.assertEqual({world.OTHER_PROJECT}, {e.project for e in others})
        self.assertEqual(
            {(1, 1)},
            {(e.detail['epoch'], e.detail['generation']) for e in found},
        )

    def test_find(self):
        guest = self.world.enroll('web1')
        self.assertEqual(
            guest.instance,
            self.operations.find_enrollment(guest.instance).instance,
        )
        self.assertIsNone(self.operations.find_enrollment(world.make_uuid()))
        self.assertIsNone(self.operations.find_certificate('f' * 32))

    def test_not_found(self):
        for function in (
            functools.partial(self.operations.revoke, caller=self.caller),
            functools.partial(self.operations.retry, caller=self.caller),
            functools.partial(self.operations.reissue, caller=self.caller),
            functools.partial(
                self.operations.release, caller=self.caller, reason='x'
            ),
            functools.partial(
                self.operations.revoke_certificate, caller=self.caller
            ),
        ):
            with self.assert_nothing_written(self.world):
                self.assertRaises(
                    exceptions.NotFound, function, world.make_uuid()
                )


class RevokeTestCase(Case):
    def test_revoke(self):
        """Revoked, and enrolled without a certificate until a reissue."""
        guest = self.world.enroll()
        successor = guest.renew(world.make_key())
        row = self.operations.revoke(guest.instance, self.caller)
        self.assertIs(State.ENROLLED, row.state)
        self.world.work()
        self.assertEqual(
            {
                world.get_serial(guest.certificate),
                world.get_serial(successor.certificate),
            },
            set(self.world.ca.list_revoked()),
        )
        with self.assert_nothing_written(self.world):
            self.operations.revoke(guest.instance, self.caller)
        event = self.world.list_events(guest.instance)[-1]
        self.assertEqual('certificate.revoked', event.kind)
        self.assertEqual('operator', event.detail['by'])
        self.assertEqual(self.caller.request_id, event.request_id)

    def test_without_a_certificate(self):
        guest = self.offer()
        with self.assert_nothing_written(self.world):
            self.operations.revoke(guest.instance, self.caller)

    def test_one_certificate(self):
        guest = self.world.enroll()
        serial = world.get_serial(guest.certificate)
        revoked = self.operations.revoke_certificate(serial, self.caller)
        self.assertIsNotNone(revoked.revoked_at)
        with self.assert_nothing_written(self.world):
            self.operations.revoke_certificate(serial, self.caller)
        self.world.work()
        self.assertEqual([serial], self.world.ca.list_revoked())

    def test_expired_certificate(self):
        """It leaves the CRL by itself."""
        guest = self.world.enroll()
        self.world.clock.advance(31 * 86400)
        with self.assert_nothing_written(self.world):
            self.operations.revoke(guest.instance, self.caller)


class ReissueTestCase(Case):
    """Transition 9."""

    def reissue(self, guest, **kwargs):
        return self.operations.reissue(guest.instance, self.caller, **kwargs)

    def test_enrolled(self):
        guest = self.world.enroll()
        row = self.reissue(guest)
        self.assertIs(State.PENDING, row.state)
        self.assertEqual((1, 2), (row.epoch, row.generation))
        self.world.work()
        self.assertEqual(
            [world.get_serial(guest.certificate)],
            self.world.ca.list_revoked(),
        )
        self.assertRaises(exceptions.CertificateRevoked, guest.renew)
        again = world.Guest(self.world, self.world.post(guest.instance))
        self.assertNotEqual(guest.token, again.token)
        self.assertGreater(again.payload['seq'], guest.payload['seq'])
        self.assertIsNotNone(again.redeem().certificate)
        self.assertTrue(self.world.find_host('web1.example.com').is_enabled)
        self.assertEqual(1, len(self.world.list_hosts()))

    def test_expired(self):
        guest = self.offer()
        self.world.clock.advance(world.LIFETIME)
        self.world.reconciliation.expire()
        self.world.work()
        self.reissue(guest)
        self.world.work()
        again = world.Guest(self.world, self.world.post(guest.instance))
        self.assertIsNotNone(again.redeem().certificate)

    def test_contested(self):
        guest = self.world.enroll()
        self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        self.reissue(guest)
        self.world.work()
        again = world.Guest(self.world, self.world.post(guest.instance))
        self.assertIsNotNone(again.redeem().certificate)

    def test_refused(self):
        """Both verdicts again, and the name again."""
        instance = self.world.start('other')
        self.assertRaises(
            exceptions.IdentityRefused, self.world.post, instance, 'web1'
        )
        self.world.nova.change(instance, hostname='web1')
        row = self.operations.reissue(instance, self.caller)
        self.assertIsNone(row.refusal)
        self.assertEqual(['web1.example.com'], self.world.list_names(instance))
        self.world.work()
        guest = world.Guest(self.world, self.world.post(instance))
        self.assertIsNotNone(guest.redeem().certificate)

    def test_refused_again(self):
        instance = self.world.start('other')
        self.assertRaises(
            exceptions.IdentityRefused, self.world.post, instance, 'web1'
        )
        self.operations.reissue(instance, self.caller)
        self.world.work()
        self.assertIs(State.REFUSED, self.world.get_state(instance))

    def test_name_is_taken(self):
        holder = self.world.enroll()
        instance = self.world.start()
        self.assertRaises(
            exceptions.IdentityRefused, self.world.post, instance
        )
        with self.assert_nothing_written(self.world):
            error = self.assertRaises(
                exceptions.StateConflict,
                self.operations.reissue,
                instance,
                self.caller,
            )
        self.assertNotIn(holder.instance, error.message)

    def test_expired_while_waiting_for_a_name(self):
        """It never had the name: two must not have it now."""
        holder = self.world.enroll()
        self.world.identity.hook = _fail_at('remove')
        self.world.nova.delete(holder.instance)
        instance = self.world.start()
        self.world.post(instance)
        self.world.clock.advance(world.LIFETIME)
        self.world.reconciliation.expire()
        self.assertRaises(
            exceptions.StateConflict,
            self.operations.reissue,
            instance,
            self.caller,
        )
        self.world.identity.hook = lambda method: None
        self.world.work_on()
        self.operations.reissue(instance, self.caller)
        self.world.work_on()
        self.assertIs(State.OFFERED, self.world.get_state(instance))
        self.assertEqual(['web1.example.com'], self.world.list_names(instance))

    def test_wrong_state(self):
        guest = self.offer()
        with self.assert_nothing_written(self.world):
            error = self.assertRaises(
                exceptions.StateConflict, self.reissue, guest
            )
        self.assertIn('offered', error.message)
        self.assertIn('contested, enrolled, expired, refused', error.message)
        self.operations.release(guest.instance, self.caller, reason='x')
        self.assertRaises(exceptions.StateConflict, self.reissue, guest)

    def test_precondition(self):
        """If-Match on epoch.generation."""
        guest = self.world.enroll()
        for wrong in ((1, 2), (2, 1)):
            with self.assert_nothing_written(self.world):
                self.assertRaises(
                    exceptions.PreconditionFailed,
                    self.reissue,
                    guest,
                    expected=wrong,
                )
        self.assertEqual(2, self.reissue(guest, expected=(1, 1)).generation)

    def test_at_once(self):
        """One opens a generation, the others are told that it changed."""
        guest = self.world.enroll()
        results = self.at_once(
            *[functools.partial(self.reissue, guest, expected=(1, 1))] * 5
        )
        self.assertEqual(2, self.world.find(guest.instance).generation)
        self.assertEqual(
            1, sum(isinstance(r, models.Enrollment) for r in results)
        )
        for result in results:
            self.assertIsInstance(
                result,
                models.Enrollment
                | exceptions.PreconditionFailed
                | exceptions.StateConflict,
            )

    def test_changed_at_the_swap(self):
        guest = self.world.enroll()
        change = enrollments.change
        self.addCleanup(setattr, enrollments, 'change', change)
        enrollments.change = lambda *args, **kwargs: False
        self.assertRaises(exceptions.PreconditionFailed, self.reissue, guest)


class ReleaseTestCase(Case):
    """Transition 11a: whatever nova says, audited with the reason."""

    def test_release(self):
        guest = self.world.enroll()
        row = self.operations.release(
            guest.instance, self.caller, reason='lost hypervisor'
        )
        self.assertIs(State.CLOSING, row.state)
        self.world.work()
        self.assertIs(State.CLOSED, self.world.get_state(guest.instance))
        event = [
            event
            for event in self.world.list_events(guest.instance)
            if event.kind == 'enrollment.released'
        ]
        self.assertEqual('lost hypervisor', event[0].detail['reason'])
        self.assertEqual('operator', event[0].detail['by'])
        with self.assert_nothing_written(self.world):
            self.operations.release(
                guest.instance, self.caller, reason='again'
            )


class RetryTestCase(Case):
    def test_retry(self):
        self.world.nova.is_away = True
        guest = self.offer()
        self.world.nova.is_away = False
        self.assertEqual(0, self.world.work())
        self.operations.retry(guest.instance, self.caller)
        self.assertEqual(2, self.world.work())
        self.assertIs(State.OFFERED, self.world.get_state(guest.instance))
        with self.assert_nothing_written(self.world):
            self.operations.retry(guest.instance, self.caller)


class CompromiseTestCase(Case):
    """keys compromise: transition 9 for every open row of the key."""

    def setUp(self):
        super().setUp()
        self.key_id = self.world.keys.get_primary(repository.CREDENTIAL).id

    def compromise(self):
        return self.operations.compromise(self.key_id, 'req-x')

    def test_primary(self):
        """New credentials of the same key would be of no use."""
        self.offer()
        with self.assert_nothing_written(self.world):
            self.assertRaises(exceptions.StateConflict, self.compromise)

    def test_open_rows(self):
        offered = self.offer('web1')
        enrolled = self.world.enroll('web2')
        self.world.keys.rotate(repository.CREDENTIAL)
        newer = self.offer('web3')
        self.assertEqual([offered.instance], self.compromise())
        self.world.work()
        row = self.world.find(offered.instance)
        self.assertEqual(2, row.generation)
        self.assertNotEqual(self.key_id, row.key_id)
        self.assertRaises(exceptions.Unauthorized, offered.redeem)
        again = world.Guest(
            self.world, self.world.post(offered.instance, 'web1')
        )
        self.assertIsNotNone(again.redeem().certificate)
        self.assertIsNotNone(enrolled.renew().certificate)
        self.assertIsNotNone(newer.redeem().certificate)
        self.assertEqual([], self.compromise())

    def test_pending(self):
        """Its verdicts are outstanding: they are asked for again."""
        made = self.world = self.make_world(waiting=0)
        guest = world.Guest(made, made.post(made.start()))
        self.key_id = made.keys.get_primary(repository.CREDENTIAL).id
        made.keys.rotate(repository.CREDENTIAL)
        self.assertEqual([guest.instance], self.compromise())
        made.work_on()
        again = world.Guest(made, made.post(guest.instance))
        self.assertIsNotNone(again.redeem().certificate)

    def test_waiting_for_a_name(self):
        """It goes on to wait, and never has what another holds."""
        holder = self.world.enroll()
        self.world.nova.delete(holder.instance)
        waiting = self.offer()
        self.world.keys.rotate(repository.CREDENTIAL)
        self.assertEqual([waiting.instance], self.compromise())
        self.assertEqual([], self.world.list_names(waiting.instance))
        self.world.work_on()
        self.assertEqual(
            ['web1.example.com'], self.world.list_names(waiting.instance)
        )
        again = world.Guest(self.world, self.world.post(waiting.instance))
        self.assertIsNotNone(again.redeem().certificate)

    def test_suspended(self):
        """It comes back without its credential."""
        guest = self.offer()
        held = self.world.enroll('web2')
        for instance in (guest.instance, held.instance):
            self.world.nova.change(instance, status='SOFT_DELETED')
            self.world.hint(instance, 'soft_delete')
        self.world.work()
        self.world.keys.rotate(repository.CREDENTIAL)
        self.assertIn(
            self.key_id,
            self.world.database.read(enrollments.list_key_ids),
        )
        self.assertEqual([guest.instance], self.compromise())
        self.assertEqual([], self.compromise())
        for instance in (guest.instance, held.instance):
            self.world.nova.launch(instance)
            self.world.hint(instance, 'restore')
        self.world.work()
        self.assertRaises(exceptions.TokenExpired, guest.redeem)
        self.assertIsNotNone(held.renew().certificate)

    def test_changed_meanwhile(self):
        """What was redeemed in the same moment does not stop the rest."""
        first, second = self.offer('web1'), self.offer('web2')
        hidden = self.offer('web3')
        self.world.nova.change(hidden.instance, status='SOFT_DELETED')
        self.world.hint(hidden.instance, 'soft_delete')
        self.world.work()
        self.world.keys.rotate(repository.CREDENTIAL)
        list_of_key = enrollments.list_of_key
        self.addCleanup(setattr, enrollments, 'list_of_key', list_of_key)

        def late(*args):
            found = list_of_key(*args)
            enrollments.list_of_key = list_of_key
            pending.append(found)
            return found

        pending = []
        enrollments.list_of_key = late
        read = self.world.database.read

        def after(function):
            found = read(function)
            if pending:
                self.world.database.read = read
                first.redeem()
                self.operations.release(
                    hidden.instance, self.caller, reason='x'
                )
            return found

        self.world.database.read = after
        self.assertEqual([second.instance], self.compromise())
        self.assertIs(State.ENROLLED, self.world.get_state(first.instance))

    def test_confirmed_meanwhile(self):
        """A verdict in the same moment leaves no row as it was."""
        made = self.world = self.make_world(waiting=0)
        guest = world.Guest(made, made.post(made.start()))
        self.key_id = made.keys.get_primary(repository.CREDENTIAL).id
        made.keys.retire(repository.CREDENTIAL, self.key_id)
        write = made.database.write

        def late(function):
            if made.database.read(
                lambda tx: enrollments.list_of_key(
                    tx, self.key_id, models.OPEN
                )
            ):
                made.database.write = write
                made.work()
            return write(function)

        def retire(function):
            made.database.write = late
            return write(function)

        made.database.write = retire
        self.assertEqual([guest.instance], self.compromise())
        self.assertNotEqual(self.key_id, made.find(guest.instance).key_id)
        self.assertRaises(exceptions.Unauthorized, guest.redeem)


class StaleKeysTestCase(Case):
    """keys compromise, beside a process that read its keys before."""

    def setUp(self):
        super().setUp()
        self.key_id = self.world.keys.get_primary(repository.CREDENTIAL).id
        self.other = self.make_world(self.world.directory, process='other')
        self.other.nova = self.other.inspector._compute = self.world.nova
        # It does not look again because time goes by.
        self.other.keys._clock = lambda: 0.0

    def compromise(self):
        self.assertEqual(
            self.key_id,
            self.other.keys.get_primary(repository.CREDENTIAL).id,
        )
        self.world.keys.retire(repository.CREDENTIAL, self.key_id)
        return self.operations.compromise(self.key_id, 'req-x')

    def check(self, instance, answer):
        row = self.world.find(instance)
        self.assertNotEqual(self.key_id, row.key_id)
        self.world.work()
        guest = world.Guest(self.world, answer)
        self.assertIsNotNone(guest.redeem().certificate)

    def test_post(self):
        self.compromise()
        instance = self.other.start()
        self.check(instance, self.other.post(instance))
        self.assertEqual([], self.operations.compromise(self.key_id, 'req-y'))

    def test_post_for_a_name_that_is_held(self):
        holder = self.world.enroll()
        self.world.nova.delete(holder.instance)
        self.compromise()
        instance = self.other.start()
        answer = self.other.post(instance)
        self.world.work_on()
        self.check(instance, answer)

    def test_rebuild(self):
        guest = self.world.enroll()
        self.compromise()
        self.world.clock.advance(10)
        self.world.nova.begin_rebuild(guest.instance)
        self.check(guest.instance, self.other.post(guest.instance))
        self.assertEqual(2, self.world.find(guest.instance).epoch)

    def test_reissue(self):
        guest = self.world.enroll()
        self.compromise()
        self.other.operations.reissue(guest.instance, self.caller)
        self.world.work()
        self.check(guest.instance, self.world.post(guest.instance))

    def test_files_of_another_host(self):
        """Where the key has no successor yet, nothing is opened."""
        guest = self.world.enroll()
        copied = self.make_directory() / 'keys'
        shutil.copytree(self.world.directory / 'keys', copied)
        for path in [copied, *copied.glob('**/')]:
            path.chmod(0o700)
        self.compromise()
        self.other.keys.directory = copied
        with self.assert_nothing_written(self.world):
            error = self.assertRaises(
                exceptions.KeyRetired, self.other.post, self.other.start('b')
            )
            self.assertIn(self.key_id, error.message)
            self.assertRaises(
                exceptions.KeyRetired,
                self.other.operations.reissue,
                guest.instance,
                self.caller,
            )
        self.other.keys.directory = self.world.keys.directory
        instance = self.other.start('b')
        self.check(instance, self.other.post(instance, 'b'))

    def test_at_once(self):
        """Whoever posts in that moment, nothing stays open with the key."""
        posts = [
            functools.partial(
                self.other.post,
                self.other.start('h%d' % number),
                'h%d' % number,
            )
            for number in range(8)
        ]
        results = self.at_once(*posts, self.compromise)
        for result in results:
            self.assertNotIsInstance(result, Exception)
        self.assertEqual(
            [],
            self.world.database.read(
                lambda tx: enrollments.list_of_key(
                    tx, self.key_id, models.OPEN
                )
            ),
        )


def _fail_at(method):
    def hook(called):
        if called == method:
            raise exceptions.IdentityUnavailable

    return hook
