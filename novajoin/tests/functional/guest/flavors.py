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
"""The shells and awks that the functional tests insist on."""

#: Names as novajoin.tests.unit.guest.harness.flavors() has them.
NAMES = ('sh', 'dash', 'bash', 'busybox')


def scenarios() -> list[tuple[str, dict[str, str]]]:
    """A scenario for each, whether it is installed or not."""
    return [(name, {'flavor': name}) for name in NAMES]
