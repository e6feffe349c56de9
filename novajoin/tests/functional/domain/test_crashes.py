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
"""``kill -9`` at every commit point: nothing lost, nothing doubled."""

import datetime
import itertools
import signal

from novajoin import exceptions
from novajoin import models
from novajoin.tests.functional.domain import processes
from novajoin.tests.unit.enrollment import invariants
from novajoin.tests.unit.enrollment import world

State = models.State

#: More transactions than any scenario has; the loop ends before.
_MANY = 60


class CrashTestCase(processes.TestCase):
    """A process acts, and dies; then another one finds what it left.

    A lease of the dead runs out, the outbox is worked, the client repeats
    its request as clients do, and all must be as if nothing had happened.
    """

    def make(self):
        directory = self.make_directory() / 'shared'
        made = processes.make_world(directory)
        made.ca.get_chain()
        return made

    def crash_everywhere(self, scenario, prepare, recover):
        """Run a scenario once for each point at which it can die.

        :param prepare: takes a world; returns what the process is given
        :param recover: takes a world, made after the crash, and the same
        """
        points = itertools.product(range(1, _MANY), ('before', 'after'))
        for number, when in points:
            made = self.make()
            spec = prepare(made)
            spec.setdefault('servers', list(made.nova.servers.values()))
            spec['now'] = made.clock()
            made.close()
            exit_code = self.run_process(
                made.directory, spec, scenario, number, when
            )
            if exit_code == 0:
                self.assertGreater(number, 1)
                return
            self.assertEqual(-signal.SIGKILL, exit_code)
            self.check(made.directory, spec, recover, (number, when))
        self.fail('the scenario has no end')

    def run_process(self, directory, *args):
        process = processes.context.Process(
            target=processes.crash, args=(str(directory), *args), daemon=True
        )
        process.start()
        process.join(processes.TIMEOUT)
        return process.exitcode

    def check(self, directory, spec, recover, point):
        made = processes.make_world(
            directory,
            spec['servers'],
            spec.get('rebuilds', ()),
            spec['now'] + datetime.timedelta(seconds=1),
        )
        self.assertEqual(
            [], invariants.find_violations(made, is_quiet=False), point
        )
        # Sixty seconds are the lease of the dead.
        made.clock.advance(61)
        try:
            recover(made, spec)
        except Exception as exc:
            raise AssertionError('after a crash at %s' % (point,)) from exc
        made.work_on()
        self.assertEqual([], invariants.find_violations(made), point)
        made.close()
        if 'token' in spec:
            self.assertEqual(
                [], processes.find_leaks(directory, spec['token']), point
            )

    def offer(self, made):
        instance = made.start()
        return world.Guest(made, made.post(instance))

    def test_enroll(self):
        """Transitions 1 and 3."""

        def prepare(made):
            return {'instance': made.start()}

        def recover(made, spec):
            # The other five of nova's six posts, and then the guest.
            guest = world.Guest(made, made.post(spec['instance']))
            self.assertEqual(guest.answer, made.post(spec['instance']))
            made.work_on()
            self.assertEqual(guest.answer, made.post(spec['instance']))
            self.assertIsNotNone(guest.redeem().certificate)
            self.assertEqual(1, len(made.list_hosts()))

        self.crash_everywhere('post', prepare, recover)

    def test_enroll_and_no_more_posts(self):
        """The outbox alone brings it to an end, if nova does not ask again."""

        def prepare(made):
            return {'instance': made.start()}

        def recover(made, spec):
            made.work_on()
            row = made.find(spec['instance'])
            self.assertTrue(row is None or row.state is State.OFFERED)

        self.crash_everywhere('post', prepare, recover)

    def test_enroll_and_gone(self):
        """Deleted while the process was down."""

        def prepare(made):
            return {'instance': made.start()}

        def recover(made, spec):
            made.nova.delete(spec['instance'])
            made.hint(spec['instance'])
            made.work_on()
            self.assertEqual([], made.list_hosts())
            row = made.find(spec['instance'])
            self.assertTrue(row is None or row.state is State.CLOSED)

        self.crash_everywhere('post', prepare, recover)

    def test_enroll_and_expired(self):
        """Nobody comes before the token has expired."""

        def prepare(made):
            return {'instance': made.start()}

        def recover(made, spec):
            made.clock.advance(world.LIFETIME)
            made.reconciliation.expire()
            made.work_on()
            for host in made.list_hosts():
                self.assertFalse(host.is_enabled)
            made.nova.delete(spec['instance'])
            made.hint(spec['instance'])
            made.work_on()
            self.assertEqual([], made.list_hosts())

        self.crash_everywhere('post', prepare, recover)

    def prepare_guest(self, made, **kwargs):
        guest = self.offer(made)
        return guest, {
            'instance': guest.instance,
            'token': guest.token,
            'csr': guest.make_csr(),
            **kwargs,
        }

    def test_redeem(self):
        """Transitions 4 and 5: also between commit and reply."""

        def prepare(made):
            return self.prepare_guest(made)[1]

        def recover(made, spec):
            arguments = (spec['instance'], spec['token'], spec['csr'], 'req')
            outcome = made.redemption.redeem(*arguments)
            self.assertIsNotNone(outcome.certificate)
            self.assertEqual(outcome, made.redemption.redeem(*arguments))
            rows = made.list_certificates(spec['instance'])
            self.assertEqual([outcome.certificate], [r.der for r in rows])
            # Whatever was signed, it was for one serial.
            self.assertEqual({rows[0].serial}, set(made.ca.list_issued()))

        self.crash_everywhere('redeem', prepare, recover)

    def test_redeem_and_gone(self):
        """What was claimed or issued is revoked, whether it was sent."""

        def prepare(made):
            return self.prepare_guest(made)[1]

        def recover(made, spec):
            made.nova.delete(spec['instance'])
            made.hint(spec['instance'])
            made.work_on()
            self.assertRaises(
                exceptions.Closed,
                made.redemption.redeem,
                spec['instance'],
                spec['token'],
                spec['csr'],
                'req',
            )
            self.assertLessEqual(
                set(made.ca.list_issued()), set(made.ca.list_revoked())
            )

        self.crash_everywhere('redeem', prepare, recover)

    def test_dispute(self):
        """Transition 6: the second key, and the alarm."""

        def prepare(made):
            guest, spec = self.prepare_guest(made)
            guest.redeem()
            spec['csr'] = guest.make_csr(world.make_key())
            return spec

        def recover(made, spec):
            self.assertRaises(
                (exceptions.KeyConflict, exceptions.Contested),
                made.redemption.redeem,
                spec['instance'],
                spec['token'],
                spec['csr'],
                'req',
            )
            self.assertIs(State.CONTESTED, made.get_state(spec['instance']))
            made.work_on()
            self.assertEqual(1, len(made.ca.list_revoked()))

        self.crash_everywhere('dispute', prepare, recover)

    def test_unenroll(self):
        """Transitions 11 and 12."""

        def prepare(made):
            guest, spec = self.prepare_guest(made)
            guest.redeem()
            made.nova.delete(guest.instance)
            return spec

        def recover(made, spec):
            # The broker gives the notification again.
            made.hint(spec['instance'])
            made.work_on()
            self.assertIs(State.CLOSED, made.get_state(spec['instance']))
            self.assertEqual([], made.list_hosts())
            self.assertEqual(
                sorted(made.ca.list_issued()), made.ca.list_revoked()
            )
            newcomer = made.enroll()
            self.assertIsNotNone(newcomer.certificate)

        self.crash_everywhere('hint', prepare, recover)

    def test_unenroll_and_no_more_hints(self):
        """The notification was lost; once it was written it is enough."""

        def prepare(made):
            guest, spec = self.prepare_guest(made)
            guest.redeem()
            made.nova.delete(guest.instance)
            # So that the list is not empty: that would be the brake.
            made.start('other')
            return spec

        def recover(made, spec):
            made.work_on()
            made.reconciliation.sweep()
            made.work_on()
            self.assertIs(State.CLOSED, made.get_state(spec['instance']))
            self.assertEqual([], made.list_hosts())

        self.crash_everywhere('hint', prepare, recover)

    def test_renew(self):
        def prepare(made):
            guest, spec = self.prepare_guest(made)
            guest.redeem()
            spec['certificate'] = guest.certificate
            spec['csr'] = guest.make_csr(world.make_key())
            return spec

        def recover(made, spec):
            arguments = (spec['certificate'], spec['csr'], 'req')
            outcome = made.redemption.renew(*arguments)
            self.assertIsNotNone(outcome.certificate)
            self.assertEqual(outcome, made.redemption.renew(*arguments))
            self.assertEqual(2, len(made.list_certificates(spec['instance'])))
            self.assertIs(State.ENROLLED, made.get_state(spec['instance']))

        self.crash_everywhere('renew', prepare, recover)

    def test_rebuild(self):
        """Transition 8: one action, one epoch."""

        def prepare(made):
            guest, spec = self.prepare_guest(made)
            guest.redeem()
            made.nova.launch(guest.instance)
            made.clock.advance(100)
            made.nova.begin_rebuild(guest.instance)
            spec['rebuilds'] = list(made.nova.rebuilds.items())
            return spec

        def recover(made, spec):
            guest = world.Guest(made, made.post(spec['instance']))
            made.hint(spec['instance'], 'rebuild')
            made.work_on()
            self.assertEqual(2, made.find(spec['instance']).epoch)
            self.assertIsNotNone(guest.redeem().certificate)
            self.assertEqual(1, len(made.ca.list_revoked()))

        self.crash_everywhere('rebuild', prepare, recover)

    def test_reissue(self):
        """Transition 9."""

        def prepare(made):
            guest, spec = self.prepare_guest(made)
            guest.redeem()
            return spec

        def recover(made, spec):
            made.work_on()
            row = made.find(spec['instance'])
            if row.generation == 1:
                self.assertIs(State.ENROLLED, row.state)
                made.operations.reissue(
                    spec['instance'], world.make_caller(), expected=(1, 1)
                )
                made.work_on()
            guest = world.Guest(made, made.post(spec['instance']))
            self.assertEqual(2, guest.payload['instance']['generation'])
            self.assertIsNotNone(guest.redeem().certificate)

        self.crash_everywhere('reissue', prepare, recover)

    def test_expire(self):
        """Transition 7."""

        def prepare(made):
            spec = self.prepare_guest(made)[1]
            made.clock.advance(world.LIFETIME)
            return spec

        def recover(made, spec):
            made.reconciliation.expire()
            made.work_on()
            self.assertIs(State.EXPIRED, made.get_state(spec['instance']))
            self.assertFalse(made.list_hosts()[0].is_enabled)

        self.crash_everywhere('expire', prepare, recover)
