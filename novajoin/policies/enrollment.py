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
"""Rules for enrollments."""

from typing import Final

from oslo_policy import policy

from novajoin.policies import base

LIST: Final = 'join:enrollment:list'
SHOW: Final = 'join:enrollment:show'
REVOKE: Final = 'join:enrollment:revoke'
RETRY: Final = 'join:enrollment:retry'
REISSUE: Final = 'join:enrollment:reissue'
RELEASE: Final = 'join:enrollment:release'

_ACTIONS = (
    (
        REVOKE,
        'revoke',
        'Revoke the certificates of an enrollment. The instance keeps its '
        'name and stays without a certificate until it is reissued.',
    ),
    (
        RETRY,
        'retry',
        'Put failed work for an enrollment back into the queue.',
    ),
    (
        REISSUE,
        'reissue',
        'Open a new generation: revoke what there is and let the instance '
        'redeem a new credential.',
    ),
    (
        RELEASE,
        'release',
        'Take the identity away from an instance, whatever nova says about '
        'it.',
    ),
)


def list_rules() -> list[policy.RuleDefault]:
    """Return the rules of this resource."""
    rules: list[policy.RuleDefault] = [
        policy.DocumentedRuleDefault(
            name=LIST,
            check_str=base.ADMIN_OR_PROJECT_READER,
            description=(
                'List enrollments. Who passes only for the own project sees '
                'those of the own project.'
            ),
            operations=[{'path': '/v1/enrollments', 'method': 'GET'}],
            scope_types=base.SCOPE_TYPES,
        ),
        policy.DocumentedRuleDefault(
            name=SHOW,
            check_str=base.ADMIN_OR_PROJECT_READER,
            description=(
                'Show an enrollment. To everybody else it does not exist.'
            ),
            operations=[
                {'path': '/v1/enrollments/{instance}', 'method': 'GET'}
            ],
            scope_types=base.SCOPE_TYPES,
        ),
    ]
    for name, action, description in _ACTIONS:
        rules.append(
            policy.DocumentedRuleDefault(
                name=name,
                check_str=base.ADMIN,
                description=description,
                operations=[
                    {
                        'path': '/v1/enrollments/{instance}/%s' % action,
                        'method': 'POST',
                    }
                ],
                scope_types=base.SCOPE_TYPES,
            )
        )
    return rules
