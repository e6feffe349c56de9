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
"""Rules for the audit log."""

from typing import Final

from oslo_policy import policy

from novajoin.policies import base

LIST: Final = 'join:event:list'


def list_rules() -> list[policy.RuleDefault]:
    """Return the rules of this resource."""
    return [
        policy.DocumentedRuleDefault(
            name=LIST,
            check_str=base.ADMIN_OR_PROJECT_READER,
            description=(
                'Read the audit log. Who passes only for the own project '
                'sees what concerns the own project.'
            ),
            operations=[{'path': '/v1/events', 'method': 'GET'}],
            scope_types=base.SCOPE_TYPES,
        ),
    ]
