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
"""Any history of a small cloud: the invariants hold after each step.

Nova, the identity backend and the CA come and go, instances are made,
rebuilt, renamed, soft-deleted and deleted, tokens are redeemed by whoever
has them, operators do what they do, and the outbox is worked or not.
"""

import contextlib
import os
import pathlib
import tempfile

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from novajoin import exceptions
from novajoin import models
from novajoin.keys import repository
from novajoin.tests.unit.enrollment import invariants
from novajoin.tests.unit.enrollment import world

State = models.State

#: Set it to look longer than a unit test may.
_EXAMPLES = int(os.environ.get('NOVAJOIN_TEST_HISTORIES', '5'))

hosts = st.sampled_from(['web1', 'web2'])
projects = st.sampled_from([world.PROJECT, world.OTHER_PROJECT])
picks = st.integers(0, 5)


class History(stateful.RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.world = world.World(
            pathlib.Path(self.directory.name, 'world'), waiting=1
        )
        self.instances = []
        self.guests = []
        self.away = set()
        self.world.identity.hook = self.fail_if_away(
            'identity', exceptions.IdentityUnavailable
        )
        # A lost answer: the work was done, and nobody knows.
        self.world.identity.after = self.fail_if_away(
            'identity answer', exceptions.IdentityUnavailable
        )
        self.world.ca.hook = self.fail_if_away('ca', exceptions.CAUnavailable)

    def fail_if_away(self, what, error):
        def hook(method):
            if what in self.away and method != 'get_chain':
                raise error

        return hook

    def teardown(self):
        try:
            self.come_to_rest()
        finally:
            self.world.close()
            self.directory.cleanup()

    @contextlib.contextmanager
    def refused(self):
        """Whatever is refused is refused with a reason of its own."""
        try:
            yield
        except exceptions.NovajoinError as exc:
            assert exc.status != 500, exc

    def pick(self, things, number):
        return things[number % len(things)]

    # What nova and its users do.

    @stateful.precondition(lambda self: len(self.instances) < 6)
    @stateful.rule(host=hosts, project=projects)
    def start(self, host, project):
        instance = self.world.start(host, project)
        self.instances.append((instance, project))
        self.do_post(instance, project)

    def do_post(self, instance, project):
        server = self.world.nova.servers.get(instance)
        host = 'web1' if server is None else server.hostname
        with self.refused():
            answer = self.world.post(instance, host, project)
            if 'bootstrap' in answer:
                guest = world.Guest(self.world, answer)
                if guest.token is not None:
                    self.guests.append(guest)

    @stateful.precondition(lambda self: self.instances)
    @stateful.rule(number=picks)
    def post(self, number):
        self.do_post(*self.pick(self.instances, number))

    def change(self, number, **kwargs):
        instance, _ = self.pick(self.instances, number)
        if instance in self.world.nova.servers:
            self.world.nova.change(instance, **kwargs)
        return instance

    @stateful.precondition(lambda self: self.instances)
    @stateful.rule(number=picks)
    def launch(self, number):
        self.change(
            number,
            status='ACTIVE',
            task_state=None,
            launched_at=self.world.clock(),
        )

    @stateful.precondition(lambda self: self.instances)
    @stateful.rule(number=picks, host=hosts)
    def rebuild(self, number, host):
        instance, project = self.pick(self.instances, number)
        if instance in self.world.nova.servers:
            self.world.clock.advance(100)
            self.world.nova.begin_rebuild(instance, hostname=host)
            self.do_post(instance, project)

    @stateful.precondition(lambda self: self.instances)
    @stateful.rule(number=picks)
    def soft_delete(self, number):
        instance = self.change(number, status='SOFT_DELETED')
        self.world.hint(instance, 'soft_delete')

    @stateful.precondition(lambda self: self.instances)
    @stateful.rule(number=picks)
    def delete(self, number):
        instance, _ = self.pick(self.instances, number)
        self.world.nova.servers.pop(instance, None)

    @stateful.precondition(lambda self: self.instances)
    @stateful.rule(number=picks)
    def hint(self, number):
        self.world.hint(self.pick(self.instances, number)[0])

    # What guests do, and those who stole their tokens.

    @stateful.precondition(lambda self: self.guests)
    @stateful.rule(number=picks, is_thief=st.booleans())
    def redeem(self, number, is_thief):
        guest = self.pick(self.guests[::-1], number)
        if is_thief:
            guest = guest.clone()
        with self.refused():
            outcome = guest.redeem()
            if outcome.certificate is not None:
                self.check_live(outcome.certificate)

    @stateful.precondition(lambda self: self.guests)
    @stateful.rule(number=picks, is_kept=st.booleans())
    def renew(self, number, is_kept):
        guest = self.pick(self.guests[::-1], number)
        if guest.certificate is None:
            return
        key = world.make_key()
        with self.refused():
            outcome = guest.renew(key)
            if outcome.certificate is not None:
                self.check_live(outcome.certificate)
                if is_kept:
                    guest.certificate, guest.key = outcome.certificate, key

    @stateful.precondition(lambda self: self.guests)
    @stateful.rule(number=picks)
    def send_receipt(self, number):
        guest = self.pick(self.guests[::-1], number)
        if guest.certificate is not None:
            with self.refused():
                guest.send_receipt()

    def check_live(self, certificate):
        """What was sent just now is good: not revoked, and of this epoch."""
        serial = world.get_serial(certificate)
        row = self.world.operations.find_certificate(serial)
        enrollment = self.world.find(row.instance)
        assert row.revoked_at is None
        assert (row.epoch, row.generation) == (
            enrollment.epoch,
            enrollment.generation,
        )
        assert enrollment.state is State.ENROLLED, enrollment.state

    # What operators and workers do.

    @stateful.precondition(lambda self: self.instances)
    @stateful.rule(
        number=picks,
        what=st.sampled_from(['reissue', 'revoke', 'retry', 'release']),
    )
    def operate(self, number, what):
        instance, _ = self.pick(self.instances, number)
        more = {'reason': 'x'} if what == 'release' else {}
        with self.refused():
            getattr(self.world.operations, what)(
                instance, world.make_caller(), **more
            )

    @stateful.rule()
    def compromise(self):
        key_id = self.world.keys.get_primary(repository.CREDENTIAL).id
        self.world.keys.rotate(repository.CREDENTIAL)
        self.world.operations.compromise(key_id, 'req-x')

    @stateful.rule(limit=st.integers(1, 5))
    def work(self, limit):
        self.world.outbox.work(limit=limit)

    @stateful.rule()
    def work_all(self):
        self.world.work()

    @stateful.rule(seconds=st.sampled_from([1, 30, 61, 400, 3600]))
    def advance(self, seconds):
        self.world.clock.advance(seconds)

    @stateful.rule()
    def expire(self):
        self.world.reconciliation.expire()

    @stateful.rule()
    def sweep(self):
        with self.refused():
            self.world.reconciliation.sweep()

    @stateful.rule(
        what=st.sampled_from(['nova', 'identity', 'identity answer', 'ca'])
    )
    def come_and_go(self, what):
        self.away ^= {what}
        self.world.nova.is_away = 'nova' in self.away

    # What holds.

    @stateful.invariant()
    def nothing_is_wrong(self):
        found = invariants.find_violations(self.world, is_quiet=False)
        assert found == [], found

    def come_to_rest(self):
        """All is well again: everything is done, and nothing is left."""
        self.away.clear()
        self.world.nova.is_away = False
        for _ in range(2):
            self.world.clock.advance(world.LONG)
            for instance, _ in self.instances:
                self.world.hint(instance)
            self.world.work_on(20)
            self.world.reconciliation.expire()
            self.world.work_on(20)
        found = invariants.find_violations(self.world)
        assert found == [], found
        for row in self.world.list_enrollments():
            server = self.world.nova.servers.get(row.instance)
            if server is None:
                assert row.state is State.CLOSED, row
            elif row.is_living:
                assert (row.state is State.SUSPENDED) == (
                    server.status == 'SOFT_DELETED'
                ), row


HistoryTestCase = History.TestCase
HistoryTestCase.settings = hypothesis.settings(
    max_examples=_EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
