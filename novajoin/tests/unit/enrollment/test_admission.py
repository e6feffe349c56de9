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
"""Transitions 1, 2 and 8 as nova meets them: the answer to a post."""

import functools
import threading
import time

from novajoin import exceptions
from novajoin import models
from novajoin.enrollment import naming
from novajoin.keys import repository
from novajoin.tests.unit.enrollment import world

State = models.State


class NotAskedTestCase(world.TestCase):
    def test_not_asked(self):
        """NJ8: neither metadata nor image ask: {} and nothing is done."""
        made = self.make_world(properties={'image': {'os': 'x'}})
        with self.assert_nothing_written(made):
            self.assertEqual(
                {}, made.post(world.make_uuid(), metadata={}, image='image')
            )
            self.assertEqual({}, made.post(world.make_uuid(), metadata={}))
        self.assertEqual([], made.nova.questions)

    def test_asked_by_image(self):
        """NJ8: the image's property asks as the metadata does."""
        made = self.make_world(properties={'image': {'ipa_enroll': 'TRUE'}})
        instance = made.start()
        answer = made.post(instance, metadata={}, image='image')
        self.assertEqual('web1.example.com', answer['hostname'])
        self.assertEqual('image', made.find(instance).image)

    def test_unknown_image(self):
        """DESIGN rule 7: glance is away: 503, never {}."""
        made = self.make_world(
            properties={'image': exceptions.ImageUnavailable()}
        )
        with self.assert_nothing_written(made):
            self.assertRaises(
                exceptions.ImageUnavailable,
                made.post,
                world.make_uuid(),
                metadata={},
                image='image',
            )


class FirstPostTestCase(world.TestCase):
    def test_answer(self):
        """NJ2: the first post makes row, name, work, and a whole answer."""
        made = self.make_world()
        instance = made.start()
        guest = world.Guest(made, made.post(instance))
        row = made.find(instance)
        self.assertEqual({'hostname', 'bootstrap'}, guest.answer.keys())
        self.assertEqual('web1.example.com', guest.answer['hostname'])
        self.assertRegex(guest.token, '^njt1_[a-z2-7]{58}$')
        self.assertEqual((1, 1), (row.epoch, row.generation))
        self.assertEqual(world.PROJECT, row.project)
        self.assertEqual(['web1.example.com'], made.list_names(instance))
        self.assertEqual(State.OFFERED, row.state)
        self.assertEqual(instance, made.find_host('web1.example.com').instance)
        self.assertEqual(
            ['enrollment.pending', 'enrollment.offered'],
            made.list_kinds(instance),
        )
        self.assertEqual(
            [models.RowState.DONE] * 2,
            [work.state for work in made.list_rows(instance)],
        )

    def test_token_is_in_no_database(self):
        """Rule 2: only the digest of a token is stored."""
        made = self.make_world()
        guest = world.Guest(made, made.post(made.start()))
        made.database.close()
        stored = b''.join(
            path.read_bytes()
            for path in made.directory.glob('novajoin.sqlite*')
        )
        self.assertIn(guest.instance.encode(), stored)
        self.assertNotIn(guest.token.encode(), stored)
        self.assertNotIn(guest.token[5:40].encode(), stored)

    def test_metadata_is_kept(self):
        """NJ11: what the host's record needs is kept, nothing else."""
        made = self.make_world(host_classes=('db', 'web'))
        instance = made.start()
        metadata = {
            'ipa_enroll': 'true',
            'ipa_hostclass': 'web',
            'ipa_host_location': 'rack 1',
            'password': 'x',
        }
        made.post(instance, metadata=metadata)
        self.assertEqual(
            {'ipa_hostclass': 'web', 'ipa_host_location': 'rack 1'},
            made.find(instance).metadata,
        )

    def test_host_class(self):
        """NJ11: within what the project may; by default nothing."""
        made = self.make_world(host_classes=('db', 'web'))
        metadata = {'ipa_enroll': 'true', 'ipa_hostclass': 'admin\n'}
        instance = made.start()
        with self.assert_nothing_written(made):
            refused = self.assertRaises(
                exceptions.IdentityRefused,
                made.post,
                instance,
                metadata=metadata,
            )
            self.assertTrue(refused.message.isprintable())
            self.assertRaises(
                exceptions.IdentityRefused,
                made.post,
                instance,
                project=world.OTHER_PROJECT,
                metadata={'ipa_enroll': 'true', 'ipa_hostclass': 'web'},
            )
        metadata['ipa_hostclass'] = ''
        made.post(instance, metadata=metadata)
        made = self.make_world(host_classes=('*',))
        made.post(
            made.start(),
            metadata={'ipa_enroll': 'true', 'ipa_hostclass': 'any'},
        )

    def test_os_version(self):
        """NJ11: the image's distribution and version go to the host."""
        made = self.make_world(
            takes_otp=True,
            properties={'image': {'os_distro': 'debian', 'os_version': '13'}},
        )
        asked = []
        ensure = made.identity.ensure

        def spy(request):
            asked.append(request)
            return ensure(request)

        made.identity.ensure = spy
        instance = made.start()
        answer = made.post(instance, image='image')
        self.assertEqual('debian 13', asked[0].os_version)
        self.assertEqual(answer['ipaotp'], asked[0].otp.reveal())
        self.assertRegex(answer['ipaotp'], '^nji1[a-z2-7]{32}$')

    def test_invalid_hostname(self):
        """NJ7: a hostname that cannot be: 400, and nothing is written."""
        made = self.make_world()
        instance = made.start()
        with self.assert_nothing_written(made):
            for hostname in ('a b', '', 'join', 'x.join', 'a.b.c', 'a\0b'):
                self.assertRaises(
                    exceptions.InvalidHostname, made.post, instance, hostname
                )

    def test_no_key(self):
        """IDENTITY 3: no key, no answer: 503 and nothing is written."""
        made = self.make_world()
        made.generations._keys = repository.Repository(
            self.make_directory() / 'none'
        )
        with self.assert_nothing_written(made):
            self.assertRaises(
                exceptions.KeyUnavailable, made.post, made.start()
            )

    def test_key_of_the_row_is_missing(self):
        """IDENTITY 3: a worker without the row's key uses no other."""
        made = self.make_world()
        instance = made.start()
        made.post(instance)
        made.offers._keys = repository.Repository(
            self.make_directory() / 'other'
        )
        made.offers._keys.setup(repository.CREDENTIAL)
        self.assertRaises(exceptions.KeyUnavailable, made.post, instance)

    def test_rotation_changes_no_credential(self):
        """IDENTITY 3: key and salt are fixed when the generation opens."""
        made = self.make_world()
        instance = made.start()
        before = made.post(instance)
        made.keys.rotate(repository.CREDENTIAL)
        self.assertEqual(before, made.post(instance))
        other = made.start('web2')
        made.post(other, 'web2')
        self.assertNotEqual(
            made.find(instance).key_id, made.find(other).key_id
        )


class RepeatedPostTestCase(world.TestCase):
    """Transition 2: what a post is answered, by state."""

    def test_six_at_once(self):
        """NJ2: the six posts of one config drive get the same bytes."""
        made = self.make_world()
        instance = made.start()
        answers = self.at_once(*[functools.partial(made.post, instance)] * 6)
        self.assertEqual([answers[0]] * 6, answers)
        self.assertEqual(
            1, made.list_kinds(instance).count('enrollment.pending')
        )

    def test_six_at_once_in_two_processes(self):
        """Rule 2: on any worker; here two that share nothing but files."""
        directory = self.make_directory() / 'shared'
        one = self.make_world(directory)
        two = self.make_world(directory)
        instance = one.start()
        two.nova.servers = one.nova.servers
        answers = self.at_once(
            *[functools.partial(made.post, instance) for made in (one, two)]
            * 3
        )
        self.assertEqual([answers[0]] * 6, answers)

    def test_open(self):
        """Pending and offered: the same bytes, later too."""
        made = self.make_world(waiting=0)
        instance = made.start()
        before = made.post(instance)
        self.assertEqual(State.PENDING, made.get_state(instance))
        made.clock.advance(30)
        self.assertEqual(before, made.post(instance))
        made.work()
        self.assertEqual(State.OFFERED, made.get_state(instance))
        made.clock.advance(3000)
        with self.assert_nothing_written(made):
            self.assertEqual(before, made.post(instance))

    def test_enrolled(self):
        """Claimed and enrolled: no credential, a payload with a new seq."""
        made = self.make_world()
        guest = made.enroll()
        answer = world.Guest(made, made.post(guest.instance))
        self.assertNotIn('token', answer.payload)
        self.assertEqual(guest.payload['seq'] + 1, answer.payload['seq'])
        with self.assert_nothing_written(made):
            self.assertEqual(answer.answer, made.post(guest.instance))

    def test_claimed(self):
        made = self.make_world()
        guest = world.Guest(made, made.post(made.start()))
        made.ca.hook = _fail_at('issue', exceptions.CAUnavailable)
        self.assertIsNone(guest.redeem().certificate)
        self.assertEqual(State.CLAIMED, made.get_state(guest.instance))
        answer = world.Guest(made, made.post(guest.instance))
        self.assertNotIn('token', answer.payload)

    def test_expired(self):
        """An expired generation is never reopened by a post."""
        made = self.make_world()
        instance = made.start()
        made.post(instance)
        made.nova.launch(instance)
        made.clock.advance(world.LIFETIME)
        expected = {'hostname': 'web1.example.com', 'state': 'expired'}
        self.assertEqual(expected, made.post(instance))
        made.reconciliation.expire()
        self.assertEqual(State.EXPIRED, made.get_state(instance))
        self.assertEqual(expected, made.post(instance))
        self.assertEqual(1, made.find(instance).generation)

    def test_contested(self):
        made = self.make_world()
        guest = made.enroll()
        self.assertRaises(exceptions.KeyConflict, guest.clone().redeem)
        self.assertEqual(
            {'hostname': 'web1.example.com', 'state': 'contested'},
            made.post(guest.instance),
        )

    def test_suspended(self):
        made = self.make_world()
        guest = made.enroll()
        made.nova.change(guest.instance, status='SOFT_DELETED')
        self.assertEqual(
            {'hostname': 'web1.example.com', 'state': 'suspended'},
            made.post(guest.instance),
        )

    def test_refused(self):
        made = self.make_world()
        instance = made.start(project=world.OTHER_PROJECT)
        for _ in range(2):
            refused = self.assertRaises(
                exceptions.IdentityRefused, made.post, instance
            )
            self.assertIn('another project', refused.message)
        self.assertEqual([], made.list_names(instance))

    def test_closing_and_closed(self):
        """The uuid never enrolls again; nova need not be asked."""
        made = self.make_world()
        guest = made.enroll()
        made.operations.release(
            guest.instance, world.make_caller(), reason='test'
        )
        made.nova.is_away = True
        self.assertRaises(exceptions.Closed, made.post, guest.instance)
        made.work()
        self.assertEqual(State.CLOSED, made.get_state(guest.instance))
        with self.assert_nothing_written(made):
            self.assertRaises(exceptions.Closed, made.post, guest.instance)

    def test_foreign_project(self):
        """EM16: a foreign project's instance id changes nothing."""
        made = self.make_world()
        guest = made.enroll()
        with self.assert_nothing_written(made):
            refused = self.assertRaises(
                exceptions.IdentityRefused,
                made.post,
                guest.instance,
                project=world.OTHER_PROJECT,
            )
        self.assertNotIn(world.PROJECT, refused.message)

    def test_foreign_project_at_once(self):
        """Also when the row was made in the same moment."""
        made = self.make_world()
        instance = made.start()
        before = made.database.read

        def read(function):
            # The row is not there at the first look, and is at the insert.
            made.database.read = before
            world.Guest(made, made.post(instance))

        made.database.read = read
        self.assertRaises(
            exceptions.IdentityRefused,
            made.post,
            instance,
            project=world.OTHER_PROJECT,
        )
        self.assertEqual(world.PROJECT, made.find(instance).project)


class AskNovaTestCase(world.TestCase):
    """When a post looks at nova before it is answered."""

    def test_fresh_row_is_believed(self):
        """For ten seconds and no more; a rebuild may come after them."""
        made = self.make_world()
        instance = made.start()
        made.post(instance)
        made.nova.questions.clear()
        made.clock.advance(10)
        made.post(instance)
        self.assertEqual([], made.nova.questions)

    def test_old_row_is_not(self):
        """Rebuilds first: the server is then as it is after them."""
        made = self.make_world()
        instance = made.start()
        made.post(instance)
        made.nova.questions.clear()
        made.clock.advance(11)
        made.post(instance)
        self.assertEqual(
            [('find_rebuild', instance), ('find_server', instance)],
            made.nova.questions,
        )

    def test_silent(self):
        """IDENTITY 1: nova silent: 503, and nothing is written."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.is_away = True
        with self.assert_nothing_written(made):
            self.assertRaises(
                exceptions.ComputeUnavailable, made.post, guest.instance
            )

    def test_gone(self):
        """A post is a hint: nova says 404, so the identity ends."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.delete(guest.instance)
        self.assertRaises(exceptions.Closed, made.post, guest.instance)
        self.assertEqual(State.CLOSING, made.get_state(guest.instance))

    def test_one_flight(self):
        """One question for all posts of an instance at the same time."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.questions.clear()
        asked = threading.Event()
        go_on = threading.Event()

        def hook(method):
            asked.set()
            go_on.wait(20)

        made.nova.hook = hook
        results = []
        first = threading.Thread(
            target=lambda: results.append(made.post(guest.instance))
        )
        first.start()
        asked.wait(20)
        second = threading.Thread(
            target=lambda: results.append(made.post(guest.instance))
        )
        second.start()
        time.sleep(0.1)
        go_on.set()
        first.join(20)
        second.join(20)
        self.assertEqual(results[0], results[1])
        self.assertEqual(2, len(made.nova.questions))

    def test_flight_that_fails(self):
        """Those who wait for an outage are told of it, too."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.is_away = True
        gate = threading.Event()
        made.nova.hook = lambda method: gate.wait(0.2)
        results = self.at_once(
            *[functools.partial(made.post, guest.instance)] * 4
        )
        self.assertEqual(
            {exceptions.ComputeUnavailable}, {type(r) for r in results}
        )
        self.assertEqual({}, made.admission._flights)

    def test_flight_that_hangs(self):
        """Who waits for another's question waits within the budget."""
        made = self.make_world(budget=0.2)
        guest = made.enroll()
        asked = threading.Event()
        go_on = threading.Event()

        def hook(method):
            asked.set()
            go_on.wait(20)

        made.nova.hook = hook
        leader = threading.Thread(
            target=made.post, args=(guest.instance,), daemon=True
        )
        leader.start()
        asked.wait(20)
        self.assertRaises(
            exceptions.ComputeUnavailable, made.post, guest.instance
        )
        go_on.set()
        leader.join(20)


class BudgetTestCase(world.TestCase):
    """Rule 7: nova gets a whole answer in time, whatever hangs."""

    def test_backend_hangs(self):
        """The answer comes, the verdict later; the slot is in use."""
        made = self.make_world(waiting=1, budget=0.2)
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        made.identity.hook = lambda method: go_on.wait(20)
        instance = made.start()
        guest = world.Guest(made, made.post(instance))
        self.assertIsNotNone(guest.token)
        self.assertEqual(State.PENDING, made.get_state(instance))
        self.assertIsNone(guest.redeem().certificate)
        # The only slot is taken: the next one does not wait at all, and
        # its work is due for whoever works the outbox.
        made.admission._wait = None
        other = made.start('web2')
        self.assertIsNotNone(world.Guest(made, made.post(other, 'web2')).token)
        self.assertEqual(
            [None, None], [row.lease_owner for row in made.list_rows(other)]
        )
        go_on.set()
        made.admission._pool.shutdown(wait=True)
        self.assertEqual(State.OFFERED, made.get_state(instance))
        self.assertIsNotNone(guest.redeem().certificate)

    def test_slot_is_given_back(self):
        made = self.make_world(waiting=1)
        for number in range(3):
            name = 'web%d' % number
            instance = made.start(name)
            made.post(instance, name)
            self.assertEqual(State.OFFERED, made.get_state(instance))

    def test_slot_is_given_back_after_an_error(self):
        made = self.make_world(waiting=1)
        write = made.database.write

        def fail(function):
            raise exceptions.DatabaseUnavailable

        made.database.write = fail
        instance = made.start()
        self.assertRaises(exceptions.DatabaseUnavailable, made.post, instance)
        made.database.write = write
        made.post(instance)
        self.assertEqual(State.OFFERED, made.get_state(instance))

    def test_backend_is_away(self):
        """The answer is whole; the outbox goes on trying."""
        made = self.make_world()
        made.identity.hook = _fail_at('ensure', exceptions.IdentityUnavailable)
        instance = made.start()
        guest = world.Guest(made, made.post(instance))
        self.assertIsNone(guest.redeem().certificate)
        made.identity.hook = lambda method: None
        made.work_on()
        self.assertIsNotNone(guest.redeem().certificate)

    def test_nova_is_away(self):
        """The verdict waits, the answer does not; redemption does."""
        made = self.make_world()
        made.nova.is_away = True
        instance = made.start()
        guest = world.Guest(made, made.post(instance))
        self.assertIsNone(guest.redeem().certificate)
        self.assertEqual([], made.list_hosts())
        made.nova.is_away = False
        made.work_on()
        self.assertIsNotNone(guest.redeem().certificate)

    def test_refusal_is_told(self):
        """It waits for the verdict, so that a refusal is told."""
        made = self.make_world()
        instance = made.start('other')
        refused = self.assertRaises(
            exceptions.IdentityRefused, made.post, instance, 'web1'
        )
        self.assertIn('another hostname', refused.message)
        self.assertEqual([], made.list_hosts())

    def test_work_breaks(self):
        """Trouble in the work itself costs the verdict, not the answer."""
        made = self.make_world()
        made.outbox.work_leased = lambda enrollment, lease: 1 / 0
        instance = made.start()
        self.assertIn('bootstrap', made.post(instance))
        self.assertEqual(State.PENDING, made.get_state(instance))
        # The lease runs out, and somebody else does it.
        self.assertEqual(0, made.work())
        made.clock.advance(61)
        made.work()
        self.assertEqual(State.OFFERED, made.get_state(instance))


class NameTestCase(world.TestCase):
    """Two instances want one name."""

    def test_living_holder(self):
        """Rule 1: the second is refused; the first is untouched."""
        made = self.make_world()
        guest = made.enroll()
        before = made.find(guest.instance)
        other = made.start(project=world.OTHER_PROJECT)
        refused = self.assertRaises(
            exceptions.IdentityRefused,
            made.post,
            other,
            project=world.OTHER_PROJECT,
        )
        self.assertIn('web1.example.com is taken', refused.message)
        self.assertNotIn(guest.instance, refused.message)
        self.assertEqual(before, made.find(guest.instance))
        self.assertEqual(
            guest.instance, made.find_host('web1.example.com').instance
        )
        self.assertEqual(State.REFUSED, made.get_state(other))

    def test_delete_of_the_second(self):
        """Deleting who never got the name touches nothing of the first."""
        made = self.make_world()
        guest = made.enroll()
        other = made.start(project=world.OTHER_PROJECT)
        self.assertRaises(
            exceptions.IdentityRefused,
            made.post,
            other,
            project=world.OTHER_PROJECT,
        )
        before = made.find(guest.instance)
        made.nova.delete(other)
        made.hint(other)
        made.work()
        self.assertEqual(State.CLOSED, made.get_state(other))
        self.assertEqual(before, made.find(guest.instance))
        self.assertIsNotNone(made.find_host('web1.example.com'))
        self.assertIsNotNone(guest.renew().certificate)

    def test_holder_in_doubt(self):
        """Nova does not say whether the holder lives: 503, no verdict."""
        made = self.make_world()
        made.enroll()
        other = made.start()
        made.nova.is_away = True
        with self.assert_nothing_written(made):
            self.assertRaises(exceptions.ComputeUnavailable, made.post, other)

    def test_holder_is_gone(self):
        """The holder closes; the newcomer waits with its credential out."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.delete(guest.instance)
        other = made.start()
        newcomer = world.Guest(made, made.post(other))
        self.assertEqual(State.CLOSING, made.get_state(guest.instance))
        self.assertEqual(State.PENDING, made.get_state(other))
        # Not redeemable before the holder's certificate is revoked and its
        # host is gone.
        made.identity.hook = _fail_at('remove', exceptions.IdentityUnavailable)
        made.work()
        self.assertIsNone(newcomer.redeem().certificate)
        self.assertEqual([], made.list_names(other))
        self.assertEqual(
            [world.get_serial(guest.certificate)], made.ca.list_revoked()
        )
        made.identity.hook = lambda method: None
        made.work_on()
        self.assertEqual(State.CLOSED, made.get_state(guest.instance))
        self.assertEqual(['web1.example.com'], made.list_names(other))
        self.assertIsNotNone(newcomer.redeem().certificate)
        self.assertEqual(other, made.find_host('web1.example.com').instance)

    def test_two_newcomers(self):
        """First in, first out: the second is refused."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.delete(guest.instance)
        first, second = made.start(), made.start()
        made.post(first)
        late = world.Guest(made, made.post(second))
        made.work_on()
        self.assertEqual(State.OFFERED, made.get_state(first))
        self.assertEqual(State.REFUSED, made.get_state(second))
        self.assertRaises(exceptions.IdentityRefused, late.redeem)

    def test_at_once(self):
        """Of two that come together one has it, the other is refused."""
        made = self.make_world()
        instances = [made.start(), made.start(project=world.OTHER_PROJECT)]
        projects = [world.PROJECT, world.OTHER_PROJECT]
        results = self.at_once(
            *[
                functools.partial(made.post, instance, 'web1', project)
                for instance, project in zip(instances, projects, strict=True)
            ]
        )
        self.assertEqual(
            ['IdentityRefused', 'dict'],
            sorted(type(result).__name__ for result in results),
        )
        self.assertEqual(
            {State.OFFERED, State.REFUSED},
            {made.get_state(instance) for instance in instances},
        )

    def test_blind(self):
        """Without a nova the holder is believed to live."""
        made = self.make_world(is_blind=True)
        made.enroll()
        self.assertRaises(exceptions.IdentityRefused, made.post, made.start())

    def test_name_changes_hands(self):
        """A name that is free at every look and taken at every try."""
        made = self.make_world()
        made.enroll()
        made.admission._find_holder = lambda hostname: None
        other = made.start()
        self.assertRaises(exceptions.DatabaseUnavailable, made.post, other)
        self.assertIsNone(made.find(other))
        self.assertTrue(made.admission._slots.acquire(blocking=False))

    def test_holder_closes_in_between(self):
        """Free again when it is looked at: the next try has it."""
        made = self.make_world()
        guest = made.enroll()
        find = made.admission._find_holder

        def late(hostname):
            made.nova.delete(guest.instance)
            made.hint(guest.instance)
            made.work()
            return find(hostname)

        made.admission._find_holder = late
        newcomer = made.start()
        made.post(newcomer)
        self.assertEqual(State.OFFERED, made.get_state(newcomer))

    def test_newcomer_was_made_in_between(self):
        """Another of the six posts was faster: its row is read."""
        made = self.make_world()
        guest = made.enroll()
        made.nova.delete(guest.instance)
        newcomer = made.start()
        find = made.admission._find_holder
        answers = []

        def late(hostname):
            made.admission._find_holder = find
            answers.append(made.post(newcomer))
            return find(hostname)

        made.admission._find_holder = late
        answers.append(made.post(newcomer))
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(
            1, made.list_kinds(newcomer).count('enrollment.waiting')
        )

    def test_rename_of_a_living_one(self):
        """A rename takes effect at the next epoch, not in the posts."""
        made = self.make_world()
        first = made.enroll('web1')
        second = made.enroll('web2', world.OTHER_PROJECT)
        made.nova.change(second.instance, hostname='web1')
        answer = made.post(second.instance, 'web1', world.OTHER_PROJECT)
        self.assertEqual('web2.example.com', answer['hostname'])
        self.assertEqual(
            first.instance, made.find_host('web1.example.com').instance
        )


class SubdomainTestCase(world.TestCase):
    """NJ7: project_subdomain."""

    def make(self):
        made = self.make_world(
            naming_settings=naming.Settings(
                'example.com', project_subdomain=True
            )
        )
        names = {
            world.PROJECT: 'Admin',
            world.OTHER_PROJECT: 'admin',
            '3' * 32: 'lab',
        }
        made.naming._find_project_name = names.get
        return made

    def test_subdomain(self):
        made = self.make()
        answer = made.post(made.start('test'), 'test')
        self.assertEqual('test.admin.example.com', answer['hostname'])
        again = made.post(made.start('test2'), 'test2')
        self.assertEqual('test2.admin.example.com', again['hostname'])

    def test_collision(self):
        """Two projects that lead to one label: the second is refused."""
        made = self.make()
        made.post(made.start('test'), 'test')
        instance = made.start('other', world.OTHER_PROJECT)
        with self.assert_nothing_written(made):
            error = self.assertRaises(
                exceptions.InvalidHostname,
                made.post,
                instance,
                'other',
                world.OTHER_PROJECT,
            )
        self.assertIn('belongs to another project', error.message)

    def test_collision_at_once(self):
        made = self.make()
        results = self.at_once(
            *[
                functools.partial(
                    made.post, made.start('test', project), 'test', project
                )
                for project in (world.PROJECT, world.OTHER_PROJECT)
            ]
        )
        self.assertEqual(
            ['InvalidHostname', 'dict'],
            sorted(type(result).__name__ for result in results),
        )

    def test_unknown_project(self):
        made = self.make()
        self.assertRaises(
            exceptions.InvalidHostname,
            made.post,
            made.start('test', '9' * 32),
            'test',
            '9' * 32,
        )


class RebuildTestCase(world.TestCase):
    """Transition 8: a rebuild starts an epoch."""

    def test_old_credential_is_dead(self):
        """The new disk gets a new token; the old certificate is revoked."""
        made = self.make_world()
        old = made.enroll()
        made.clock.advance(100)
        made.nova.begin_rebuild(old.instance)
        new = world.Guest(made, made.post(old.instance))
        row = made.find(old.instance)
        self.assertEqual((2, 1), (row.epoch, row.generation))
        self.assertEqual(2, new.payload['instance']['epoch'])
        self.assertNotEqual(old.token, new.token)
        self.assertRaises(exceptions.Unauthorized, old.redeem)
        self.assertRaises(exceptions.CertificateRevoked, old.renew)
        made.work()
        self.assertEqual(
            [world.get_serial(old.certificate)], made.ca.list_revoked()
        )
        self.assertIsNotNone(new.redeem().certificate)
        self.assertIsNotNone(new.renew().certificate)
        self.assertEqual(1, len(made.list_hosts()))

    def test_order(self):
        """Revoke, host_disable, then the new OTP, in this order."""
        made = self.make_world(takes_otp=True)
        guest = made.enroll()
        done = []
        made.identity.hook = done.append
        made.ca.hook = done.append
        made.clock.advance(100)
        made.nova.begin_rebuild(guest.instance)
        made.hint(guest.instance, 'rebuild')
        made.work()
        self.assertEqual(['revoke', 'publish_crl', 'disable', 'ensure'], done)
        self.assertTrue(made.find_host('web1.example.com').is_enabled)

    def test_six_posts(self):
        """All six posts of the rebuilt config drive: the same bytes."""
        made = self.make_world()
        guest = made.enroll()
        made.clock.advance(100)
        made.nova.begin_rebuild(guest.instance)
        answers = self.at_once(
            *[functools.partial(made.post, guest.instance)] * 6
        )
        self.assertEqual([answers[0]] * 6, answers)
        self.assertEqual(2, made.find(guest.instance).epoch)

    def test_notification_and_post(self):
        """One action starts one epoch, whoever tells of it first."""
        made = self.make_world()
        guest = made.enroll()
        made.clock.advance(100)
        made.nova.begin_rebuild(guest.instance)
        made.hint(guest.instance, 'rebuild')
        made.work()
        answer = made.post(guest.instance)
        made.hint(guest.instance, 'rebuild')
        made.work()
        self.assertEqual(answer, made.post(guest.instance))
        self.assertEqual(2, made.find(guest.instance).epoch)

    def test_old_guest_gets_nothing(self):
        """The old guest can still read metadata while nova rebuilds."""
        made = self.make_world()
        guest = made.enroll()
        made.clock.advance(100)
        made.nova.begin_rebuild(guest.instance, task_state='rebuilding')
        expected = {'hostname': 'web1.example.com', 'state': 'pending'}
        self.assertEqual(expected, made.post(guest.instance))
        made.work()
        expected['state'] = 'offered'
        self.assertEqual(expected, made.post(guest.instance))
        # Active, but launched before the rebuild began.
        made.nova.change(guest.instance, status='ACTIVE', task_state=None)
        self.assertEqual(expected, made.post(guest.instance))
        made.clock.advance(20)
        made.nova.launch(guest.instance)
        self.assertIsNotNone(
            world.Guest(made, made.post(guest.instance)).token
        )

    def test_second_rebuild(self):
        made = self.make_world()
        guest = made.enroll()
        tokens = {guest.token}
        for epoch in (2, 3):
            made.clock.advance(100)
            made.nova.begin_rebuild(guest.instance)
            new = world.Guest(made, made.post(guest.instance))
            self.assertEqual(epoch, new.payload['instance']['epoch'])
            tokens.add(new.token)
            made.work()
        self.assertEqual(3, len(tokens))
        self.assertIsNotNone(new.redeem().certificate)

    def test_key_of_the_old_epoch(self):
        """IDENTITY 5: one key belongs to one epoch for ever."""
        made = self.make_world()
        old = made.enroll()
        made.clock.advance(100)
        made.nova.begin_rebuild(old.instance)
        new = world.Guest(made, made.post(old.instance))
        made.work()
        new.key = old.key
        self.assertRaises(exceptions.KeyReused, new.redeem)
        self.assertEqual(State.OFFERED, made.get_state(new.instance))
        new.key = world.make_key()
        self.assertIsNotNone(new.redeem().certificate)

    def test_refused_is_rebuilt(self):
        """A refused one that is rebuilt asks for its name again."""
        made = self.make_world()
        holder = made.enroll()
        instance = made.start()
        self.assertRaises(exceptions.IdentityRefused, made.post, instance)
        made.nova.delete(holder.instance)
        made.hint(holder.instance)
        made.work()
        made.clock.advance(100)
        made.nova.begin_rebuild(instance)
        guest = world.Guest(made, made.post(instance))
        made.work()
        self.assertIsNotNone(guest.redeem().certificate)
        self.assertEqual(['web1.example.com'], made.list_names(instance))

    def test_waiting_is_rebuilt(self):
        """Who waits for a name, and is rebuilt, goes on to wait for it."""
        made = self.make_world()
        holder = made.enroll()
        made.nova.delete(holder.instance)
        instance = made.start()
        made.post(instance)
        made.clock.advance(100)
        made.nova.begin_rebuild(instance)
        guest = world.Guest(made, made.post(instance))
        self.assertEqual([], made.list_names(instance))
        made.work_on()
        self.assertEqual(['web1.example.com'], made.list_names(instance))
        self.assertIsNotNone(guest.redeem().certificate)

    def test_rename(self):
        """A rename takes effect at the next epoch; the old host goes."""
        made = self.make_world()
        guest = made.enroll('web1')
        made.clock.advance(100)
        made.nova.begin_rebuild(guest.instance, hostname='web2')
        new = world.Guest(made, made.post(guest.instance, 'web2'))
        self.assertEqual('web2.example.com', new.answer['hostname'])
        self.assertEqual(['web2.example.com'], new.payload['csr']['dns'])
        made.work()
        self.assertIsNotNone(new.redeem().certificate)
        self.assertEqual(['web2.example.com'], made.list_names(guest.instance))
        self.assertEqual(
            ['web2.example.com'], [h.hostname for h in made.list_hosts()]
        )
        # The former name is free for others.
        self.assertIsNotNone(made.enroll('web1').certificate)

    def test_rename_to_a_taken_name(self):
        """Two projects, one name, by rename: the first is untouched."""
        made = self.make_world()
        first = made.enroll('web1')
        second = made.enroll('web2', world.OTHER_PROJECT)
        before = made.find(first.instance)
        made.clock.advance(100)
        made.nova.begin_rebuild(second.instance, hostname='web1')
        made.post(second.instance, 'web1', world.OTHER_PROJECT)
        made.work()
        self.assertEqual(State.REFUSED, made.get_state(second.instance))
        self.assertEqual(before, made.find(first.instance))
        self.assertEqual(
            [first.instance], [h.instance for h in made.list_hosts()]
        )
        self.assertIsNotNone(first.renew().certificate)
        self.assertEqual([], made.list_names(second.instance))

    def test_rename_to_no_name(self):
        """A name that cannot be: refused, with nova's name as the reason."""
        made = self.make_world()
        guest = made.enroll('web1')
        made.clock.advance(100)
        made.nova.begin_rebuild(guest.instance, hostname='join')
        made.hint(guest.instance, 'rebuild')
        made.work()
        row = made.find(guest.instance)
        self.assertEqual(State.REFUSED, row.state)
        self.assertIn('reserved', row.refusal)
        self.assertEqual([], made.list_hosts())

    def test_rebuilt_before_the_verdict(self):
        """A rebuild between post and verdict is a new epoch, too."""
        made = self.make_world(waiting=0)
        instance = made.start()
        old = world.Guest(made, made.post(instance))
        made.clock.advance(30)
        made.nova.begin_rebuild(instance)
        made.work()
        self.assertEqual(2, made.find(instance).epoch)
        self.assertRaises(exceptions.Unauthorized, old.redeem)
        made.work()
        new = world.Guest(made, made.post(instance))
        self.assertIsNotNone(new.redeem().certificate)

    def test_rebuilt_before_the_enrollment(self):
        """A rebuild that led to the enrollment is none of its own."""
        made = self.make_world()
        instance = made.start()
        made.nova.begin_rebuild(instance)
        made.clock.advance(3)
        guest = world.Guest(made, made.post(instance))
        made.clock.advance(100)
        self.assertEqual(guest.answer, made.post(instance))
        self.assertEqual(1, made.find(instance).epoch)

    def test_nova_clock_is_ahead(self):
        """Likewise where nova's clock is some seconds ahead of ours."""
        made = self.make_world()
        instance = made.start()
        made.clock.advance(3)
        made.nova.begin_rebuild(instance)
        made.clock.advance(-3)
        guest = world.Guest(made, made.post(instance))
        made.clock.advance(100)
        self.assertEqual(guest.answer, made.post(instance))


class DeliveryTestCase(world.TestCase):
    """token_delivery = configdrive: never to a running guest."""

    def make(self, **kwargs):
        made = self.make_world(token_delivery='configdrive')
        instance = made.start(**kwargs)
        return made, instance

    def test_spawning_with_a_drive(self):
        made, instance = self.make(has_config_drive=True)
        answers = self.at_once(*[functools.partial(made.post, instance)] * 3)
        self.assertEqual([answers[0]] * 3, answers)
        self.assertIsNotNone(world.Guest(made, answers[0]).token)

    def test_running(self):
        made, instance = self.make(has_config_drive=True)
        made.nova.launch(instance)
        self.assertEqual(
            {'hostname': 'web1.example.com', 'state': 'offered'},
            made.post(instance),
        )

    def test_no_drive(self):
        made, instance = self.make()
        self.assertNotIn('bootstrap', made.post(instance))

    def test_gone(self):
        made, instance = self.make(has_config_drive=True)
        made.post(instance)
        made.nova.delete(instance)
        self.assertRaises(exceptions.Closed, made.post, instance)

    def test_rebuild(self):
        made, instance = self.make(has_config_drive=True)
        made.post(instance)
        made.clock.advance(100)
        made.nova.begin_rebuild(instance)
        guest = world.Guest(made, made.post(instance))
        self.assertEqual(2, guest.payload['instance']['epoch'])

    def test_blind(self):
        """Without a nova nobody can tell: the credential is given."""
        made = self.make_world(token_delivery='configdrive', is_blind=True)
        self.assertIsNotNone(world.Guest(made, made.post(made.start())).token)


class BlindTestCase(world.TestCase):
    """The embedded defaults: no nova to ask."""

    def test_believed(self):
        made = self.make_world(is_blind=True)
        guest = made.enroll()
        made.clock.advance(1000)
        self.assertNotIn(
            'token', world.Guest(made, made.post(guest.instance)).payload
        )


def _fail_at(method, error):
    def hook(called):
        if called == method:
            raise error

    return hook
