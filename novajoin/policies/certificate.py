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
"""Rules for certificates."""

from typing import Final

from oslo_policy import policy

from novajoin.policies import base

LIST: Final = 'join:certificate:list'
SHOW: Final = 'join:certificate:show'
REVOKE: Final = 'join:certificate:revoke'


def list_rules() -> list[policy.RuleDefault]:
    """Return the rules of this resource."""
    return [
        policy.DocumentedRuleDefault(
            name=LIST,
            check_str=base.ADMIN_OR_PROJECT_READER,
            description=(
                'List certificates. Who passes only for the own project sees '
                'those of the own project.'
            ),
            operations=[{'path': '/v1/certificates', 'method': 'GET'}],
            scope_types=base.SCOPE_TYPES,
        ),
        policy.DocumentedRuleDefault(
            name=SHOW,
            check_str=base.ADMIN_OR_PROJECT_READER,
            description=(
                'Show a certificate. To everybody else it does not exist.'
            ),
            operations=[
                {'path': '/v1/certificates/{serial}', 'method': 'GET'}
            ],
            scope_types=base.SCOPE_TYPES,
        ),
        policy.DocumentedRuleDefault(
            name=REVOKE,
            check_str=base.ADMIN,
            description='Revoke one certificate.',
            operations=[
                {
                    'path': '/v1/certificates/{serial}/revoke',
                    'method': 'POST',
                }
            ],
            scope_types=base.SCOPE_TYPES,
        ),
    ]
