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
"""What many processes do at once must come to one end, on any database."""

import collections

from novajoin import models
from novajoin.tests.functional.domain import processes
from novajoin.tests.unit.enrollment import invariants
from novajoin.tests.unit.enrollment import world

PROCESSES = 4


class Races:
    """A mixin; the class beside it is a ``processes.TestCase``."""

    def get_url(self):
        """Return the URL of an empty database; None for a SQLite file."""

    def setUp(self):
        super().setUp()
        self.url = self.get_url()
        self.directory = self.make_directory() / 'shared'
        self.world = processes.make_world(self.directory, url=self.url)
        self.addCleanup(self.world.close)
        instance = self.world.start()
        self.guest = world.Guest(self.world, self.world.post(instance))

    def race(self, csrs):
        """Redeem with every CSR in four processes at once."""
        barrier = processes.context.Barrier(PROCESSES)
        results = processes.context.Queue()
        started = [
            processes.context.Process(
                target=processes.redeem,
                args=(
                    str(self.directory),
                    self.url,
                    self.guest.instance,
                    self.guest.token,
                    csrs[number::PROCESSES],
                    barrier,
                    results,
                ),
                daemon=True,
            )
            for number in range(PROCESSES)
        ]
        for process in started:
            process.start()
        outcomes = [
            outcome
            for _ in started
            for outcome in results.get(timeout=processes.TIMEOUT)
        ]
        for process in started:
            process.join(processes.TIMEOUT)
            self.assertEqual(0, process.exitcode)
        self.assertEqual(len(csrs), len(outcomes))
        return outcomes

    def test_400_keys(self):
        """Rule 3: one key claims, one certificate at most, contested."""
        csrs = [self.guest.make_csr(world.make_key()) for _ in range(400)]
        outcomes = self.race(csrs)
        counts = collections.Counter(reason for reason, _ in outcomes)
        self.assertLessEqual(counts.pop('issued', 0), 1)
        self.assertGreaterEqual(counts['key_conflict'], 1)
        self.assertLessEqual(
            set(counts), {'key_conflict', 'contested'}, counts
        )
        self.assertLessEqual(len(self.world.ca.list_issued()), 1)
        self.assertIs(
            models.State.CONTESTED, self.world.get_state(self.guest.instance)
        )
        self.world.work_on()
        rows = self.world.list_certificates(self.guest.instance)
        self.assertEqual(1, len(rows))
        self.assertIsNotNone(rows[0].revoked_at)
        self.assertEqual([rows[0].serial], self.world.ca.list_revoked())
        self.assertEqual(
            1,
            self.world.list_kinds(self.guest.instance).count(
                'enrollment.contested'
            ),
        )
        self.assertEqual([], invariants.find_violations(self.world))
        self.assertEqual(
            [], processes.find_leaks(self.directory, self.guest.token)
        )

    def test_200_with_one_key(self):
        """Rule 3: one certificate, sent 200 times, byte for byte."""
        csr = self.guest.make_csr()
        outcomes = self.race([csr] * 200)
        self.assertEqual({'issued'}, {reason for reason, _ in outcomes})
        certificates = {certificate for _, certificate in outcomes}
        rows = self.world.list_certificates(self.guest.instance)
        self.assertEqual(certificates, {row.der for row in rows})
        self.assertEqual(1, len(certificates))
        self.assertEqual(
            1,
            self.world.list_kinds(self.guest.instance).count(
                'certificate.issued'
            ),
        )
        self.assertEqual([], invariants.find_violations(self.world))
        self.assertEqual(
            [], processes.find_leaks(self.directory, self.guest.token)
        )
