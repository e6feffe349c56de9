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
"""The unit tests of the guest client once more, with nothing left out.

There they run with what a machine has; here every shell and every awk has to
be there, each with both TLS clients, and `kill -9` comes before every program
that changes anything.
"""

import testscenarios

from novajoin.tests.functional.guest import flavors
from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import test_clock
from novajoin.tests.unit.guest import test_crash
from novajoin.tests.unit.guest import test_enroll
from novajoin.tests.unit.guest import test_json
from novajoin.tests.unit.guest import test_leaks
from novajoin.tests.unit.guest import test_lifecycle
from novajoin.tests.unit.guest import test_part
from novajoin.tests.unit.guest import test_spent

ALL = testscenarios.multiply_scenarios(
    flavors.scenarios(),
    [('curl', {'has_curl': True}), ('s_client', {'has_curl': False})],
)


#: The unit tests have `sh`, which is dash where that is the default.
OTHERS = [
    scenario
    for scenario in flavors.scenarios()
    if scenario[0] in ('bash', 'busybox')
]


class TestFlatten(test_json.TestFlatten):
    scenarios = flavors.scenarios()


class TestEnroll(test_enroll.TestEnroll):
    scenarios = ALL


class TestLeaks(test_leaks.TestLeaks):
    scenarios = ALL


class TestPart(test_part.TestPart):
    scenarios = flavors.scenarios()


class TestKill(testscenarios.WithScenarios, test_crash.TestKill):
    scenarios = [('dash', {'flavor': 'dash'})]
    steps = ('chmod', 'curl', 'ln', 'mkdir', 'mv', 'openssl', 'rm', 'sync')


class TestClock(testscenarios.WithScenarios, test_clock.TestClock):
    scenarios = OTHERS


class TestLock(testscenarios.WithScenarios, test_crash.TestLock):
    scenarios = OTHERS


class TestRenew(testscenarios.WithScenarios, test_lifecycle.TestRenew):
    scenarios = OTHERS


class TestOrder(testscenarios.WithScenarios, test_lifecycle.TestOrder):
    scenarios = OTHERS


class TestCopies(testscenarios.WithScenarios, test_lifecycle.TestCopies):
    scenarios = OTHERS


class TestDamage(testscenarios.WithScenarios, test_lifecycle.TestDamage):
    scenarios = OTHERS


class TestStates(testscenarios.WithScenarios, test_lifecycle.TestStates):
    scenarios = OTHERS


class TestSpent(testscenarios.WithScenarios, test_spent.TestSpent):
    scenarios = OTHERS


class TestSources(testscenarios.WithScenarios, test_spent.TestSources):
    scenarios = OTHERS


class TestMachine(harness.MachineTestCase):
    def test_flavors(self) -> None:
        """A shell that is not installed would be a test that is not run."""
        self.assertEqual(set(flavors.NAMES), set(harness.flavors()))
