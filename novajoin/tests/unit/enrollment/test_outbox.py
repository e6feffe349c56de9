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
"""Rule 6: every side effect is a row first; nothing lost, nothing doubled."""

import datetime
import functools

import fixtures

from novajoin import exceptions
from novajoin import models
from novajoin.db import enrollments
from novajoin.db import names
from novajoin.db import outbox as outbox_rows
from novajoin.enrollment import outbox
from novajoin.tests.unit.enrollment import world

Operation = models.Operation
RowState = models.RowState
State = models.State


def _fail(error, *methods):
    def hook(called):
        if called in methods:
            raise error

    return hook


class Case(world.TestCase):
    def make(self, **kwargs):
        """Return a world with one pending instance and its two rows."""
        self.world = self.make_world(waiting=0, **kwargs)
        self.instance = self.world.start()
        self.guest = world.Guest(self.world, self.world.post(self.instance))
        return self.world

    def list_rows(self):
        return self.world.list_rows(self.instance)

    def get_row(self, operation):
        return [r for r in self.list_rows() if r.operation is operation][-1]

    def change_row(self, row, **values):
        self.world.database.write(
            lambda tx: tx.execute(
                outbox_rows._T.update()
                .where(outbox_rows._T.c.id == row.id)
                .values(**values)
            )
        )


class WorkTestCase(Case):
    def test_in_order(self):
        made = self.make()
        self.assertEqual(1, made.outbox.work(limit=10))
        self.assertEqual(
            [RowState.DONE, RowState.READY],
            [row.state for row in self.list_rows()],
        )
        self.assertEqual(1, made.outbox.work(limit=10))
        self.assertEqual(0, made.outbox.work(limit=10))
        self.assertIs(State.OFFERED, made.get_state(self.instance))

    def test_limit(self):
        made = self.make_world(waiting=0)
        for number in range(4):
            name = 'web%d' % number
            made.post(made.start(name), name)
        self.assertEqual(3, made.outbox.work(limit=3))

    def test_back_off(self):
        """Doubled after each failure, with jitter, up to five minutes."""
        made = self.make()
        made.nova.is_away = True
        for attempt in range(1, 13):
            self.assertEqual(1, made.outbox.work(limit=1))
            row = self.list_rows()[0]
            self.assertEqual(attempt, row.attempts)
            self.assertIsNone(row.lease_owner)
            delay = (row.due_at - made.clock()).total_seconds()
            longest = min(2 ** (attempt - 1), 300)
            self.assertTrue(longest / 2 <= delay <= longest, delay)
            self.assertEqual(0, made.outbox.work(limit=1))
            made.clock.now = row.due_at
        self.assertIn('compute service', row.last_error)
        made.nova.is_away = False
        made.work()
        self.assertIs(State.OFFERED, made.get_state(self.instance))

    def test_dead(self):
        """Out of attempts: it waits for an operator, in sight."""
        made = self.make(attempts=2)
        made.nova.is_away = True
        made.work_on()
        row = self.list_rows()[0]
        self.assertIs(RowState.DEAD, row.state)
        self.assertEqual(
            [row.id],
            [
                r.id
                for r in made.database.read(
                    lambda tx: outbox_rows.list_dead(tx, limit=10)
                )
            ],
        )
        made.nova.is_away = False
        made.work_on()
        self.assertIs(State.PENDING, made.get_state(self.instance))
        made.operations.retry(self.instance, world.make_caller())
        made.work()
        self.assertIs(State.OFFERED, made.get_state(self.instance))

    def test_error_of_a_library(self):
        """Its text may hold a secret: only its type is kept and logged."""
        logger = self.useFixture(fixtures.FakeLogger())
        made = self.make()
        made.work()
        made.identity.hook = _fail(ValueError('njt1_secret'), 'remove')
        made.nova.delete(self.instance)
        made.hint(self.instance)
        made.work()
        row = self.get_row(Operation.IDENTITY_REMOVE)
        self.assertEqual('ValueError', row.last_error)
        self.assertIn('ValueError', logger.output)
        self.assertIn('in _remove', logger.output)
        self.assertNotIn('njt1_secret', logger.output)

    def test_row_without_an_enrollment(self):
        made = self.make()
        row = self.list_rows()[0]
        self.change_row(row, instance=world.make_uuid())
        made.work()
        self.assertIsNone(
            made.database.read(
                lambda tx: (
                    outbox_rows.list_due(
                        tx, made.clock() + world.days(1), limit=1
                    )
                    or None
                )
            )
        )

    def test_done_by_another(self):
        """Read by two, leased by one."""
        directory = self.make_directory() / 'shared'
        one = self.make_world(directory, waiting=0)
        two = self.make_world(directory, process='other')
        two.nova.servers = one.nova.servers
        one.post(one.start())
        results = self.at_once(
            *[
                functools.partial(made.outbox.work, limit=1)
                for made in (one, two)
            ]
            * 3
        )
        # Its turn comes, and then the next row's: never one row twice.
        self.assertLessEqual(sum(results), 2)
        self.assertEqual(
            1,
            [q for q, _ in one.nova.questions + two.nova.questions].count(
                'find_server'
            ),
        )

    def test_taken_between_look_and_lease(self):
        made = self.make()
        acquire = outbox_rows.acquire
        self.addCleanup(setattr, outbox_rows, 'acquire', acquire)
        outbox_rows.acquire = lambda *args: False
        self.assertEqual(0, made.outbox.work(limit=1))
        outbox_rows.acquire = acquire
        outbox_rows_has_earlier = outbox_rows.has_earlier
        self.addCleanup(
            setattr, outbox_rows, 'has_earlier', outbox_rows_has_earlier
        )
        outbox_rows.has_earlier = lambda tx, row: True
        self.assertEqual(0, made.outbox.work(limit=1))

    def test_first_in_first_out(self):
        """A row waits for every earlier one on its name."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.delete(guest.instance)
        made.identity.hook = _fail(exceptions.IdentityUnavailable(), 'remove')
        newcomer = made.start()
        made.post(newcomer)
        made.work_on(3)
        self.assertEqual(
            [0, 0, 0], [row.attempts for row in made.list_rows(newcomer)]
        )
        self.assertIs(State.PENDING, made.get_state(newcomer))
        # Other names do not wait.
        made.identity.hook = _fail(exceptions.IdentityUnavailable(), 'remove')
        self.assertIsNotNone(made.enroll('web2').certificate)


class LeasedTestCase(Case):
    """Work of the process that made the rows, while nova waits."""

    def make(self, **kwargs):
        self.world = made = self.make_world(**kwargs)
        self.instance = made.start()
        return made

    def test_lease_of_a_dead_process(self):
        """Nobody else takes it before it runs out; then somebody does."""
        made = self.make()
        made.outbox.work_leased = lambda enrollment, lease: None
        made.post(self.instance)
        self.assertEqual(
            {True}, {row.lease_owner is not None for row in self.list_rows()}
        )
        made.clock.advance(59)
        self.assertEqual(0, made.work())
        made.clock.advance(1)
        self.assertEqual(2, made.work())
        self.assertIs(State.OFFERED, made.get_state(self.instance))

    def test_first_row_fails(self):
        """The rest is given back untried, and due at once."""
        made = self.make()
        made.nova.is_away = True
        made.post(self.instance)
        verify, ensure = self.list_rows()
        self.assertEqual((1, 0), (verify.attempts, ensure.attempts))
        self.assertIsNone(verify.lease_owner)
        self.assertIsNone(ensure.lease_owner)

    def test_second_row_fails(self):
        """The first one's verdict is kept."""
        made = self.make()
        made.identity.hook = _fail(exceptions.IdentityUnavailable(), 'ensure')
        made.post(self.instance)
        self.assertTrue(made.find(self.instance).nova_confirmed)
        verify, ensure = self.list_rows()
        self.assertIs(RowState.DONE, verify.state)
        self.assertEqual(1, ensure.attempts)

    def test_first_row_refuses(self):
        """What is refused needs no host."""
        made = self.make()
        made.nova.change(self.instance, hostname='other')
        done = []
        made.identity.hook = done.append
        self.assertRaises(exceptions.IdentityRefused, made.post, self.instance)
        self.assertEqual([], done)
        self.assertEqual([], made.list_ready())

    def test_identity_refuses(self):
        """A host of the name that is not ours stays what it is."""
        made = self.make()
        stranger = models.Host(
            world.make_uuid(), 'web1.example.com', world.make_uuid()
        )
        made.identity.store.add_host(stranger, world.PROJECT, made.clock())
        refused = self.assertRaises(
            exceptions.IdentityRefused, made.post, self.instance
        )
        self.assertIn('another instance', refused.message)
        self.assertEqual([stranger], made.list_hosts())
        self.assertEqual([], made.list_names(self.instance))

    def test_earlier_work_on_the_name(self):
        """Somebody else's unfinished work on the name comes first."""
        made = self.make()
        guest = made.enroll('web2')
        made.nova.delete(guest.instance)
        made.hint(guest.instance)
        row = self.world.list_rows(guest.instance)[-1]
        self.change_row(row, name='web1.example.com')
        made.post(self.instance)
        self.assertIs(State.PENDING, made.get_state(self.instance))
        self.assertEqual({None}, {row.lease_owner for row in self.list_rows()})
        made.work()
        self.assertIs(State.OFFERED, made.get_state(self.instance))

    def test_nothing_leased(self):
        made = self.make()
        made.post(self.instance)
        self.assertIsNone(
            made.outbox.work_leased(
                made.find(self.instance), made.outbox.make_lease()
            )
        )

    def test_lease_lost(self):
        """Two do it, which is harmless: it is done once and settled once."""
        made = self.make()
        other = self.make_world(made.directory, process='other')
        other.clock = other.outbox._clock = made.clock
        other.nova.servers = made.nova.servers

        def hook(method):
            made.identity.hook = lambda method: None
            made.clock.advance(61)
            other.work()

        made.identity.hook = hook
        made.post(self.instance)
        self.assertIs(State.OFFERED, made.get_state(self.instance))
        self.assertEqual(1, len(made.list_hosts()))
        self.assertEqual(
            1, made.list_kinds(self.instance).count('enrollment.offered')
        )
        self.assertEqual([], made.list_ready())


class LostHostTestCase(Case):
    """A host whose id was never written down is still removed."""

    def crash_after_ensure(self, made):
        """Do what a process does that dies after the backend worked."""
        self.assertEqual(1, made.outbox.work(limit=1))
        row = self.get_row(Operation.IDENTITY_ENSURE)
        lease = outbox_rows.Lease(
            'dead', made.clock() + datetime.timedelta(seconds=60)
        )
        made.database.write(
            lambda tx: outbox_rows.acquire(tx, row, lease, made.clock())
        )
        made.identity.ensure(
            made.outbox._make_host_request(made.find(self.instance))
        )
        self.assertIsNone(made.find(self.instance).host_id)
        self.assertEqual(1, len(made.list_hosts()))

    def test_goes_on(self):
        made = self.make()
        self.crash_after_ensure(made)
        made.clock.advance(61)
        made.work()
        self.assertIsNotNone(self.guest.redeem().certificate)
        self.assertEqual(1, len(made.list_hosts()))

    def test_closed(self):
        made = self.make()
        self.crash_after_ensure(made)
        made.operations.release(self.instance, world.make_caller(), reason='')
        made.work_on()
        self.assertIs(State.CLOSED, made.get_state(self.instance))
        self.assertEqual([], made.list_hosts())

    def test_closed_after_it_was_given_up(self):
        """Dead, closed, removed - and then an operator says: again."""
        made = self.make(attempts=1)
        made.outbox.work(limit=1)
        made.identity.after = _fail(exceptions.IdentityUnavailable(), 'ensure')
        made.outbox.work(limit=1)
        made.identity.after = lambda method: None
        self.assertIs(
            RowState.DEAD, self.get_row(Operation.IDENTITY_ENSURE).state
        )
        made.operations.release(self.instance, world.make_caller(), reason='')
        made.work_on()
        self.assertIs(State.CLOSING, made.get_state(self.instance))
        made.operations.retry(self.instance, world.make_caller())
        made.work_on()
        self.assertIs(State.CLOSED, made.get_state(self.instance))
        self.assertEqual([], made.list_hosts())

    def test_expired(self):
        """The OTP of a host that was made too late is withdrawn."""
        made = self.make()
        self.crash_after_ensure(made)
        made.clock.advance(world.LIFETIME)
        made.reconciliation.expire()
        made.work_on()
        self.assertIs(State.EXPIRED, made.get_state(self.instance))
        self.assertFalse(made.find_host('web1.example.com').is_enabled)
        made.nova.delete(self.instance)
        made.hint(self.instance)
        made.work_on()
        self.assertEqual([], made.list_hosts())

    def test_refused(self):
        """Its name is free for others: the host must not be in the way."""
        made = self.make()
        self.crash_after_ensure(made)
        row = made.find(self.instance)
        made.database.write(
            lambda tx: outbox.lifecycle.refuse(
                tx, row, 'no', None, made.clock()
            )
        )
        made.clock.advance(61)
        made.work_on()
        self.assertEqual([], made.list_hosts())
        self.assertIsNotNone(made.enroll().certificate)

    def test_not_ours(self):
        """What is there is somebody else's: it stays."""
        made = self.make()
        self.crash_after_ensure(made)
        made.identity.remove(made.find_host('web1.example.com').id)
        stranger = models.Host(
            world.make_uuid(), 'web1.example.com', world.make_uuid()
        )
        made.identity.store.add_host(stranger, world.PROJECT, made.clock())
        made.operations.release(self.instance, world.make_caller(), reason='')
        made.work_on()
        self.assertIs(State.CLOSED, made.get_state(self.instance))
        self.assertEqual([stranger], made.list_hosts())

    def test_never_tried(self):
        """Nothing was made, so nothing is made now."""
        made = self.make()
        made.operations.release(self.instance, world.make_caller(), reason='')
        done = []
        made.identity.hook = done.append
        made.work_on()
        self.assertIs(State.CLOSED, made.get_state(self.instance))
        self.assertNotIn('ensure', done)

    def change_during_ensure(self, made, change):
        def after(method):
            made.identity.after = lambda method: None
            change()

        made.outbox.work(limit=1)
        made.identity.after = after
        made.work_on()

    def test_closed_meanwhile(self):
        made = self.make()
        self.change_during_ensure(
            made,
            lambda: made.operations.release(
                self.instance, world.make_caller(), reason=''
            ),
        )
        self.assertIs(State.CLOSED, made.get_state(self.instance))
        self.assertEqual([], made.list_hosts())

    def test_expired_meanwhile(self):
        made = self.make()

        def expire():
            made.clock.advance(world.LIFETIME)
            made.reconciliation.expire()

        self.change_during_ensure(made, expire)
        self.assertIs(State.EXPIRED, made.get_state(self.instance))
        self.assertFalse(made.find_host('web1.example.com').is_enabled)

    def test_suspended_meanwhile(self):
        made = self.make()

        def suspend():
            made.nova.change(self.instance, status='SOFT_DELETED')
            made.clock.advance(61)
            made.post(self.instance)

        self.change_during_ensure(made, suspend)
        self.assertIs(State.SUSPENDED, made.get_state(self.instance))
        self.assertIsNotNone(made.find(self.instance).host_id)
        made.nova.change(self.instance, status='ACTIVE')
        made.hint(self.instance, 'restore')
        made.work_on()
        self.assertIsNotNone(self.guest.redeem().certificate)

    def test_refused_with_a_host(self):
        """A rebuilt one that is refused takes its host with it."""
        made = self.make()
        made.work()
        made.clock.advance(100)
        made.nova.begin_rebuild(self.instance, hostname='a b')
        made.hint(self.instance, 'rebuild')
        made.work_on()
        self.assertIs(State.REFUSED, made.get_state(self.instance))
        self.assertEqual([], made.list_hosts())
        self.assertIsNotNone(made.enroll().certificate)
        # And closes without work that was done already.
        made.nova.delete(self.instance)
        made.hint(self.instance)
        made.work_on()
        self.assertIs(State.CLOSED, made.get_state(self.instance))
        self.assertEqual(1, len(made.list_hosts()))

    def test_removal_that_comes_too_late(self):
        """A dead removal that is revived does not remove the new host."""
        made = self.make(attempts=1)
        made.work()
        made.identity.hook = _fail(exceptions.IdentityUnavailable(), 'remove')
        made.clock.advance(100)
        made.nova.begin_rebuild(self.instance, hostname='join')
        made.hint(self.instance, 'rebuild')
        made.work_on()
        self.assertIs(
            RowState.DEAD, self.get_row(Operation.IDENTITY_REMOVE).state
        )
        made.identity.hook = lambda method: None
        made.clock.advance(100)
        made.nova.begin_rebuild(self.instance, hostname='web1')
        made.hint(self.instance, 'rebuild')
        made.work_on()
        self.assertIs(State.OFFERED, made.get_state(self.instance))
        made.operations.retry(self.instance, world.make_caller())
        made.work_on()
        self.assertEqual(
            made.find(self.instance).host_id,
            made.find_host('web1.example.com').id,
        )


class NameClaimTestCase(Case):
    def make(self):
        made = self.make_world()
        self.world = made
        holder = made.enroll()
        made.nova.delete(holder.instance)
        self.instance = made.start()
        made.post(self.instance)
        return made, holder

    def test_taken_in_between(self):
        """A third one takes the name first: the waiting one is refused."""
        made, _ = self.make()
        find = names.find_holder
        self.addCleanup(setattr, names, 'find_holder', find)

        def late(tx, canonical):
            found = find(tx, canonical)
            if found is None:
                names.find_holder = find
                third = made.start('web1')
                self.third = third
                made.database.write(
                    lambda tx: _insert_copy(
                        tx, made.find(self.instance), third
                    )
                )
            return found

        names.find_holder = late
        made.work_on()
        self.assertIs(State.REFUSED, made.get_state(self.instance))
        self.assertEqual(['web1.example.com'], made.list_names(self.third))

    def test_waits_with_patience(self):
        """Work of the former holder is dead: it asks less and less often."""
        made, holder = self.make()
        for row in made.list_rows(holder.instance):
            self.change_row(row, state=RowState.DEAD.value)
        waits = []
        for _ in range(60):
            self.assertEqual(1, made.work())
            due_at = self.get_row(Operation.NAME_CLAIM).due_at
            waits.append((due_at - made.clock()).total_seconds())
            made.clock.now = due_at
        self.assertLessEqual(waits[0], 1)
        self.assertEqual(sorted(waits[20:]), waits[20:])
        self.assertLessEqual(waits[-1], 300)
        self.assertEqual(0, self.get_row(Operation.NAME_CLAIM).attempts)
        # Until an operator sees to it.
        made.operations.retry(holder.instance, world.make_caller())
        made.work_on()
        self.assertIs(State.OFFERED, made.get_state(self.instance))

    def test_holds_it_already(self):
        made, _ = self.make()
        made.work_on()
        row = self.get_row(Operation.NAME_CLAIM)
        pending = made.find(self.instance)
        made.database.write(
            lambda tx: (
                enrollments.change(
                    tx,
                    pending,
                    made.clock(),
                    state=State.PENDING,
                    identity_confirmed=None,
                ),
                outbox_rows.put(
                    tx, pending, Operation.NAME_CLAIM, made.clock()
                ),
            )
        )
        made.work()
        self.assertIs(RowState.DONE, self.get_row(row.operation).state)
        self.assertEqual(['web1.example.com'], made.list_names(self.instance))


def _insert_copy(tx, enrollment, instance):
    values = {
        name: getattr(enrollment, name)
        for name in enrollment.__dataclass_fields__
    }
    values['instance'] = instance
    enrollments.insert(tx, models.Enrollment(**values))
    names.insert(tx, [enrollment.hostname], instance)


class AuthorityTestCase(Case):
    def test_authority_is_away(self):
        """Revoked in the books at once, told to the CA when it is back."""
        made = self.make_world()
        guest = made.enroll()
        made.ca.hook = _fail(exceptions.CAUnavailable(), 'revoke')
        made.operations.revoke(guest.instance, world.make_caller())
        made.work()
        self.assertRaises(exceptions.CertificateRevoked, guest.renew)
        self.assertEqual([], made.ca.list_revoked())
        made.ca.hook = lambda method: None
        made.work_on()
        self.assertEqual(
            [world.get_serial(guest.certificate)], made.ca.list_revoked()
        )

    def test_never_signed(self):
        """A claim whose certificate was never signed is revoked, too."""
        made = self.make_world()
        guest = world.Guest(made, made.post(made.start()))
        made.ca.hook = _fail(exceptions.CAUnavailable(), 'issue')
        guest.redeem()
        made.ca.hook = lambda method: None
        self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        made.work()
        self.assertEqual(1, len(made.ca.list_revoked()))

    def test_certificate_that_is_gone(self):
        """Purged before the CA was told: there is nothing to tell."""
        made = self.make_world()
        guest = made.enroll()
        made.ca.hook = _fail(exceptions.CAUnavailable(), 'revoke')
        made.operations.revoke(guest.instance, world.make_caller())
        made.work()
        made.database.write(
            lambda tx: outbox.certificates.purge(
                tx, made.clock() + world.days(99)
            )
        )
        made.work_on()
        self.assertEqual([], made.list_ready())

    def test_ca_without_crl(self):
        """A CA that publishes by itself needs no help."""
        made = self.make_world()
        guest = made.enroll()

        class Plain:
            def revoke(self, *args):
                pass

        made.outbox._ca = Plain()
        made.operations.revoke(guest.instance, world.make_caller())
        made.work()
        self.assertEqual([], made.list_ready())


class DisableTestCase(Case):
    def test_without_a_host(self):
        """Expired before there was a host: nothing to disable."""
        made = self.make()
        made.nova.is_away = True
        made.clock.advance(world.LIFETIME)
        made.reconciliation.expire()
        done = []
        made.identity.hook = done.append
        made.work_on()
        self.assertEqual([], made.list_ready())
        self.assertEqual([], done)

    def test_of_an_older_generation(self):
        """A newer generation disabled the host itself."""
        made = self.make()
        made.work()
        made.clock.advance(world.LIFETIME)
        made.reconciliation.expire()
        made.operations.reissue(self.instance, world.make_caller())
        done = []
        made.identity.hook = done.append
        made.work()
        self.assertEqual(['disable', 'ensure'], done)
        self.assertTrue(made.find_host('web1.example.com').is_enabled)
