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
"""Transitions 7, 8, 10 to 12: hints, the sweep, and expiry."""

import functools

from novajoin import exceptions
from novajoin import models
from novajoin.db import engine
from novajoin.db import outbox as outbox_rows
from novajoin.enrollment import reconciliation
from novajoin.tests.unit.enrollment import world

State = models.State


class HintTestCase(world.TestCase):
    """Notifications are hints to look at nova, never the cause."""

    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.guest = self.world.enroll()
        self.instance = self.guest.instance

    def look(self, kind='delete'):
        self.assertTrue(self.world.hint(self.instance, kind))
        self.world.work()
        return self.world.get_state(self.instance)

    def test_unknown(self):
        with self.assert_nothing_written(self.world):
            self.assertFalse(self.world.hint(world.make_uuid()))

    def test_closed(self):
        self.world.nova.delete(self.instance)
        self.look()
        with self.assert_nothing_written(self.world):
            self.assertFalse(self.world.hint(self.instance))

    def test_still_there(self):
        """NJ3: a delete that nova does not confirm deletes nothing."""
        before = self.world.find(self.instance)
        self.assertIs(State.ENROLLED, self.look())
        self.assertEqual(before, self.world.find(self.instance))
        self.assertIsNotNone(self.world.find_host('web1.example.com'))

    def test_gone(self):
        """NJ3: revoked, on the CRL, host removed, name free, row kept."""
        self.world.nova.delete(self.instance)
        self.assertIs(State.CLOSED, self.look())
        certificate = self.world.list_certificates(self.instance)[0]
        self.assertIs(
            models.RevocationReason.CESSATION_OF_OPERATION,
            certificate.revocation_reason,
        )
        self.assertEqual([certificate.serial], self.world.ca.list_revoked())
        self.assertEqual([], self.world.list_hosts())
        self.assertEqual([], self.world.list_names(self.instance))
        # The name is free, the uuid is not.
        self.assertIsNotNone(self.world.enroll().certificate)
        self.assertRaises(exceptions.Closed, self.world.post, self.instance)

    def test_status_deleted(self):
        self.world.nova.change(self.instance, status='DELETED')
        self.assertIs(State.CLOSED, self.look())

    def test_nova_is_away(self):
        """The hint is kept until nova can be asked."""
        self.world.nova.delete(self.instance)
        self.world.nova.is_away = True
        self.assertIs(State.ENROLLED, self.look())
        self.world.nova.is_away = False
        self.world.work_on()
        self.assertIs(State.CLOSED, self.world.get_state(self.instance))

    def test_order_of_closing(self):
        """11: revoke, CRL, then the host; names are held until the end."""
        done = []
        self.world.ca.hook = done.append
        self.world.identity.hook = done.append
        self.world.nova.delete(self.instance)
        self.look()
        self.assertEqual(['revoke', 'publish_crl', 'remove'], done)

    def test_identity_is_away_at_closing(self):
        """The CRL does not wait for it; the name does."""

        def hook(method):
            raise exceptions.IdentityUnavailable

        self.world.identity.hook = hook
        self.world.nova.delete(self.instance)
        self.assertIs(State.CLOSING, self.look())
        self.assertEqual(
            [world.get_serial(self.guest.certificate)],
            self.world.ca.list_revoked(),
        )
        self.assertEqual(
            ['web1.example.com'], self.world.list_names(self.instance)
        )
        self.world.identity.hook = lambda method: None
        self.world.work_on()
        self.assertIs(State.CLOSED, self.world.get_state(self.instance))

    def test_suspended_and_restored(self):
        """10: soft-delete and restore, confirmed by nova."""
        before = self.world.find(self.instance)
        self.world.nova.change(self.instance, status='SOFT_DELETED')
        self.assertIs(State.SUSPENDED, self.look('soft_delete'))
        self.assertIs(
            State.ENROLLED, self.world.find(self.instance).suspended_from
        )
        self.assertEqual([], self.world.ca.list_revoked())
        self.assertIs(State.SUSPENDED, self.look('soft_delete'))
        self.world.nova.launch(self.instance)
        self.assertIs(State.ENROLLED, self.look('restore'))
        after = self.world.find(self.instance)
        self.assertIsNone(after.suspended_from)
        self.assertEqual(before.generation, after.generation)
        self.assertIsNotNone(self.guest.renew().certificate)

    def test_suspended_and_gone(self):
        """The soft-deleted instance is reclaimed."""
        self.world.nova.change(self.instance, status='SOFT_DELETED')
        self.look('soft_delete')
        self.world.nova.delete(self.instance)
        self.assertIs(State.CLOSED, self.look())
        self.assertEqual([], self.world.list_hosts())

    def test_restored_and_rebuilt(self):
        self.world.nova.change(self.instance, status='SOFT_DELETED')
        self.look('soft_delete')
        self.world.clock.advance(100)
        self.world.nova.begin_rebuild(self.instance)
        self.assertIs(State.OFFERED, self.look('restore'))
        self.assertEqual(2, self.world.find(self.instance).epoch)

    def test_rebuilt(self):
        self.world.clock.advance(100)
        self.world.nova.begin_rebuild(self.instance)
        self.assertIs(State.OFFERED, self.look('rebuild'))
        self.assertEqual(2, self.world.find(self.instance).epoch)
        self.look('rebuild')
        self.assertEqual(2, self.world.find(self.instance).epoch)

    def test_evacuated(self):
        """Evacuation keeps the disk, hence the epoch: no rebuild action."""
        self.world.clock.advance(100)
        self.world.nova.change(self.instance, status='REBUILD')
        self.assertIs(State.ENROLLED, self.look('rebuild'))
        self.assertEqual(1, self.world.find(self.instance).epoch)

    def test_both_formats_at_once(self):
        """The versioned and the unversioned notification: one look."""
        self.assertEqual(
            [True] * 6,
            self.at_once(
                *[functools.partial(self.world.hint, self.instance)] * 6
            ),
        )
        looks = [
            row
            for row in self.world.list_rows(self.instance)
            if row.operation is models.Operation.NOVA_LOOK
        ]
        self.assertEqual(1, len(looks))

    def test_both_formats_at_once_elsewhere(self):
        """Where the database lets both look before either writes."""
        put = outbox_rows.put
        self.addCleanup(setattr, outbox_rows, 'put', put)

        def late(*args, **kwargs):
            raise engine.DuplicateRow([])

        outbox_rows.put = late
        self.assertTrue(self.world.hint(self.instance))

    def test_hint_while_looking(self):
        """A hint that comes while nova is being asked is not lost."""

        def hook(method):
            self.world.nova.hook = lambda method: None
            self.world.hint(self.instance)

        self.world.nova.hook = hook
        self.world.hint(self.instance)
        self.assertEqual(1, self.world.outbox.work(limit=1))
        # The look was too early: nova said that it is still there.
        self.world.nova.delete(self.instance)
        self.world.work()
        self.assertIs(State.CLOSED, self.world.get_state(self.instance))

    def test_hint_while_a_look_fails(self):
        """Nor does the failure of the earlier look put it off."""

        def hook(method):
            self.world.nova.hook = lambda method: None
            self.world.hint(self.instance)
            self.world.nova.delete(self.instance)
            raise exceptions.ComputeUnavailable

        self.world.nova.hook = hook
        self.world.hint(self.instance)
        self.world.work()
        self.assertIs(State.CLOSED, self.world.get_state(self.instance))

    def test_database_is_away(self):
        """The hint must be given again: the listener requeues it."""

        def fail(function):
            raise exceptions.DatabaseUnavailable

        self.world.database.write = fail
        self.assertRaises(
            exceptions.DatabaseUnavailable, self.world.hint, self.instance
        )

    def test_blind(self):
        """Without a nova a delete is believed, and nothing else is."""
        made = self.make_world(is_blind=True)
        instance = made.enroll().instance
        for kind in ('rebuild', 'soft_delete', 'restore'):
            with self.assert_nothing_written(made):
                self.assertFalse(made.hint(instance, kind))
        self.assertTrue(made.hint(instance))
        made.work()
        self.assertIs(State.CLOSED, made.get_state(instance))


class EveryStateTestCase(world.TestCase):
    """10 and 11 from every living state."""

    def make(self, state):
        made = self.make_world(waiting=0)
        instance = made.start()
        if state is State.REFUSED:
            made.nova.change(instance, hostname='other')
        guest = world.Guest(made, made.post(instance))
        if state is not State.PENDING:
            made.work()
        if state in (State.CLAIMED, State.CONTESTED, State.ENROLLED):
            if state is State.CLAIMED:
                made.ca.hook = _fail_at('issue')
            guest.redeem()
            made.ca.hook = lambda method: None
        if state is State.CONTESTED:
            self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        if state is State.EXPIRED:
            made.clock.advance(world.LIFETIME)
            made.reconciliation.expire()
        if state is State.SUSPENDED:
            made.nova.change(instance, status='SOFT_DELETED')
            made.hint(instance, 'soft_delete')
            made.work()
        self.assertIs(state, made.get_state(instance))
        return made, guest

    def test_close(self):
        for state in sorted(models.LIVING):
            made, guest = self.make(state)
            made.nova.delete(guest.instance)
            made.hint(guest.instance)
            made.work_on()
            self.assertIs(State.CLOSED, made.get_state(guest.instance), state)
            self.assertEqual([], made.list_hosts(), state)
            self.assertEqual([], made.list_names(guest.instance), state)
            self.assertEqual(
                sorted(
                    c.serial for c in made.list_certificates(guest.instance)
                ),
                sorted(made.ca.list_revoked()),
                state,
            )

    def test_suspend_and_restore(self):
        for state in sorted(models.LIVING - {State.SUSPENDED}):
            made, guest = self.make(state)
            status = made.nova.servers[guest.instance].status
            made.nova.change(guest.instance, status='SOFT_DELETED')
            made.hint(guest.instance, 'soft_delete')
            made.work()
            expected = state
            if state is State.PENDING:
                # The look came after the verdicts: first in, first out.
                expected = State.OFFERED
            self.assertIs(
                State.SUSPENDED, made.get_state(guest.instance), state
            )
            made.nova.change(guest.instance, status=status)
            made.hint(guest.instance, 'restore')
            made.work()
            self.assertIs(expected, made.get_state(guest.instance), state)

    def test_suspended_before_the_verdicts(self):
        """Those that were due meanwhile are given after the restore."""
        made, guest = self.make(State.PENDING)
        made.nova.change(guest.instance, status='SOFT_DELETED')
        made.clock.advance(61)
        self.assertEqual('suspended', made.post(guest.instance)['state'])
        made.work()
        self.assertEqual([], made.list_hosts())
        made.nova.change(guest.instance, status='ACTIVE')
        made.hint(guest.instance, 'restore')
        made.work()
        self.assertIsNotNone(guest.redeem().certificate)

    def test_suspended_between_the_verdicts(self):
        made, guest = self.make(State.PENDING)
        self.assertEqual(1, made.outbox.work(limit=1))
        self.assertTrue(made.find(guest.instance).nova_confirmed)
        made.nova.change(guest.instance, status='SOFT_DELETED')
        made.clock.advance(61)
        made.post(guest.instance)
        made.work()
        made.nova.change(guest.instance, status='ACTIVE')
        made.hint(guest.instance, 'restore')
        made.work()
        self.assertIsNotNone(guest.redeem().certificate)

    def test_suspended_while_waiting_for_a_name(self):
        made = self.make_world()
        holder = made.enroll()
        made.nova.delete(holder.instance)
        instance = made.start()
        guest = world.Guest(made, made.post(instance))
        made.nova.change(instance, status='SOFT_DELETED')
        made.clock.advance(61)
        self.assertEqual('suspended', made.post(instance)['state'])
        made.work_on()
        self.assertEqual([], made.list_names(instance))
        made.nova.change(instance, status='ACTIVE')
        made.hint(instance, 'restore')
        made.work_on()
        self.assertEqual(['web1.example.com'], made.list_names(instance))
        self.assertIs(State.OFFERED, made.get_state(instance))
        self.assertIsNotNone(guest.redeem().certificate)


class SweepTestCase(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.guests = [
            self.world.enroll('web%d' % number) for number in range(15)
        ]
        self.world.clock.advance(10)

    def sweep(self):
        return self.world.reconciliation.sweep('req-sweep')

    def name(self, differences):
        return [difference.instance for difference in differences]

    def count(self, state):
        return [row.state for row in self.world.list_enrollments()].count(
            state
        )

    def test_nothing(self):
        """Every page of both lists is read."""
        with self.assert_nothing_written(self.world):
            self.assertEqual(reconciliation.SweepResult(15), self.sweep())

    def test_missed(self):
        """What the notifications missed, the sweep finds."""
        gone, hidden = self.guests[3], self.guests[9]
        self.world.nova.delete(gone.instance)
        self.world.nova.lists_soft_deleted = True
        self.world.nova.change(hidden.instance, status='SOFT_DELETED')
        result = self.sweep()
        self.assertEqual([gone.instance], self.name(result.missing))
        self.assertEqual([hidden.instance], self.name(result.changed))
        self.world.work()
        self.assertIs(State.CLOSED, self.world.get_state(gone.instance))
        self.assertIs(State.SUSPENDED, self.world.get_state(hidden.instance))
        self.assertEqual(13, self.count(State.ENROLLED))
        self.assertEqual(14, self.sweep().compared)

    def test_compare(self):
        """What a sweep would do, without doing it."""
        gone, hidden = self.guests[3], self.guests[9]
        self.world.nova.delete(gone.instance)
        self.world.nova.lists_soft_deleted = True
        self.world.nova.change(hidden.instance, status='SOFT_DELETED')
        with self.assert_nothing_written(self.world):
            result = self.world.reconciliation.compare()
        self.assertEqual(
            reconciliation.SweepResult(
                15,
                (
                    reconciliation.Difference(
                        gone.instance, 'web3.' + world.DOMAIN, State.ENROLLED
                    ),
                ),
                (
                    reconciliation.Difference(
                        hidden.instance,
                        'web9.' + world.DOMAIN,
                        State.ENROLLED,
                        'SOFT_DELETED',
                    ),
                ),
            ),
            result,
        )

    def test_compare_with_an_empty_answer(self):
        self.world.nova.servers.clear()
        with self.assert_nothing_written(self.world):
            result = self.world.reconciliation.compare()
        self.assertTrue(result.is_braked)

    def test_restored(self):
        guest = self.guests[0]
        self.world.nova.change(guest.instance, status='SOFT_DELETED')
        self.world.hint(guest.instance, 'soft_delete')
        self.world.work()
        self.world.nova.launch(guest.instance)
        self.assertEqual([guest.instance], self.name(self.sweep().changed))
        self.world.work()
        self.assertIs(State.ENROLLED, self.world.get_state(guest.instance))

    def rebuild(self, instance):
        """Rebuild it, without a word, to the end."""
        self.world.nova.begin_rebuild(instance)
        self.world.clock.advance(30)
        self.world.nova.launch(instance)

    def assert_found(self, instance):
        self.assertEqual([instance], self.name(self.sweep().changed))
        self.world.work()
        self.assertEqual(2, self.world.find(instance).epoch)
        self.assertIs(State.OFFERED, self.world.get_state(instance))

    def test_rebuild_without_a_word(self):
        """NJ3: what the notifications missed, after a sweep."""
        self.world.clock.advance(1000)
        self.sweep()
        self.rebuild(self.guests[4].instance)
        self.world.clock.advance(600)
        self.assert_found(self.guests[4].instance)
        self.world.clock.advance(600)
        self.assertEqual((), self.sweep().changed)

    def test_rebuild_while_all_were_away(self):
        """The first sweep of a process has none before it."""
        self.world.clock.advance(3 * 24 * 3600)
        self.rebuild(self.guests[4].instance)
        self.world.clock.advance(3 * 24 * 3600)
        self.assert_found(self.guests[4].instance)

    def test_rebuild_under_way(self):
        self.world.clock.advance(100)
        self.world.nova.begin_rebuild(self.guests[4].instance)
        self.assert_found(self.guests[4].instance)

    def test_resized(self):
        """It is looked at once, and nothing is done to it."""
        self.world.clock.advance(1000)
        self.sweep()
        self.world.clock.advance(1000)
        self.world.nova.launch(self.guests[4].instance)
        self.world.clock.advance(100)
        self.assertEqual(
            [self.guests[4].instance], self.name(self.sweep().changed)
        )
        self.world.work()
        self.assertEqual(1, self.world.find(self.guests[4].instance).epoch)
        self.world.clock.advance(1000)
        with self.assert_nothing_written(self.world):
            self.assertEqual((), self.sweep().changed)

    def test_list_is_wrong(self):
        """Missing from the list is a hint: nova is asked before a delete."""
        servers = dict(self.world.nova.servers)
        missing = self.guests[5].instance
        self.world.nova.delete(missing)
        result = self.sweep()
        self.world.nova.servers = servers
        self.assertEqual([missing], self.name(result.missing))
        self.world.work()
        self.assertEqual(15, self.count(State.ENROLLED))

    def test_empty_answer(self):
        """An empty answer is not "all gone"."""
        self.world.nova.servers = {}
        result = self.sweep()
        self.assertTrue(result.is_braked)
        self.assertEqual(0, self.world.work())
        self.assertEqual(15, self.count(State.ENROLLED))
        self.assertEqual(
            ['sweep.braked'],
            [e.kind for e in self.world.list_events()][-1:],
        )

    def test_empty_answer_for_one(self):
        made = self.make_world()
        guest = made.enroll()
        made.clock.advance(1)
        made.nova.servers = {}
        self.assertTrue(made.reconciliation.sweep().is_braked)
        made.work()
        self.assertIs(State.ENROLLED, made.get_state(guest.instance))

    def test_brake(self):
        """More than ten, and more than a fifth: nothing is done."""
        for guest in self.guests[:11]:
            self.world.nova.delete(guest.instance)
        self.assertTrue(self.sweep().is_braked)
        self.world.work()
        self.assertEqual(15, self.count(State.ENROLLED))

    def test_just_below_the_brake(self):
        for guest in self.guests[:10]:
            self.world.nova.delete(guest.instance)
        result = self.sweep()
        self.assertFalse(result.is_braked)
        self.assertEqual(10, len(result.missing))
        self.world.work()
        self.assertEqual(10, self.count(State.CLOSED))

    def test_suspended_do_not_brake(self):
        """Nova's list leaves them out; each is looked at, every time."""
        for guest in self.guests[:12]:
            self.world.nova.change(guest.instance, status='SOFT_DELETED')
            self.world.hint(guest.instance, 'soft_delete')
        self.world.work()
        self.world.nova.delete(self.guests[0].instance)
        result = self.sweep()
        self.assertEqual((), result.missing)
        self.assertEqual(12, len(result.changed))
        self.world.work()
        self.assertEqual(11, self.count(State.SUSPENDED))
        self.assertEqual(1, self.count(State.CLOSED))

    def test_newer_than_the_list(self):
        """What was enrolled while the list was read is left alone."""

        def hook(method):
            self.world.nova.hook = lambda method: None
            servers = dict(self.world.nova.servers)
            self.late = self.world.enroll('late')
            self.world.nova.servers = servers

        self.world.nova.hook = hook
        result = self.sweep()
        self.assertEqual(15, result.compared)
        self.assertEqual((), result.missing)

    def test_nova_is_away(self):
        self.world.nova.is_away = True
        with self.assert_nothing_written(self.world):
            self.assertRaises(exceptions.ComputeUnavailable, self.sweep)

    def test_list_that_never_ends(self):
        """A list whose page repeats comes to an end, too."""
        page = list(self.world.nova.servers.values())[:1]
        self.world.nova.list_servers = lambda **kwargs: page
        self.world.nova.find_server = None
        self.assertEqual(14, len(self.sweep().missing))

    def test_blind(self):
        made = self.make_world(is_blind=True)
        made.enroll()
        with self.assert_nothing_written(made):
            self.assertEqual(
                reconciliation.SweepResult(0), made.reconciliation.sweep()
            )


class ExpiryTestCase(world.TestCase):
    """Transition 7."""

    def test_expiry(self):
        made = self.make_world()
        offered = world.Guest(made, made.post(made.start()))
        enrolled = made.enroll('web2')
        made.clock.advance(world.LIFETIME - 1)
        self.assertEqual(0, made.reconciliation.expire())
        made.clock.advance(1)
        self.assertEqual(1, made.reconciliation.expire())
        self.assertEqual(0, made.reconciliation.expire())
        self.assertIs(State.EXPIRED, made.get_state(offered.instance))
        self.assertIs(State.ENROLLED, made.get_state(enrolled.instance))
        made.work()
        # The OTP is withdrawn, the host stays ours, the name is held.
        self.assertFalse(made.find_host('web1.example.com').is_enabled)
        self.assertTrue(made.find_host('web2.example.com').is_enabled)
        self.assertEqual(
            ['web1.example.com'], made.list_names(offered.instance)
        )

    def test_second_expiry(self):
        """The OTP of a reissued generation is withdrawn, too."""
        made = self.make_world()
        instance = made.start()
        made.post(instance)
        for generation in (1, 2, 3):
            self.assertEqual(generation, made.find(instance).generation)
            self.assertTrue(made.find_host('web1.example.com').is_enabled)
            made.clock.advance(world.LIFETIME)
            self.assertEqual(1, made.reconciliation.expire())
            made.work()
            self.assertFalse(made.find_host('web1.example.com').is_enabled)
            made.operations.reissue(instance, world.make_caller())
            made.work()

    def test_redeemed_in_the_same_moment(self):
        """Either it expired or it was claimed, never both."""
        made = self.make_world()
        guest = world.Guest(made, made.post(made.start()))
        made.clock.advance(world.LIFETIME - 1)
        read = made.database.read

        def late(function):
            made.database.read = read
            found = read(function)
            made.clock.advance(-1)
            guest.redeem()
            made.clock.advance(1)
            return found

        made.clock.advance(1)
        made.database.read = late
        self.assertEqual(0, made.reconciliation.expire())
        self.assertIs(State.ENROLLED, made.get_state(guest.instance))

    def test_pending(self):
        made = self.make_world(waiting=0)
        guest = world.Guest(made, made.post(made.start()))
        made.clock.advance(world.LIFETIME)
        self.assertEqual(1, made.reconciliation.expire())
        made.work()
        self.assertIs(State.EXPIRED, made.get_state(guest.instance))
        self.assertEqual([], made.list_hosts())


def _fail_at(method):
    def hook(called):
        if called == method:
            raise exceptions.CAUnavailable

    return hook
