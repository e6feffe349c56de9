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
"""Rules for nova's post."""

from typing import Final

from oslo_policy import policy

from novajoin.policies import base

CREATE: Final = 'join:create'


def list_rules() -> list[policy.RuleDefault]:
    """Return the rules of this resource."""
    return [
        policy.DocumentedRuleDefault(
            name=CREATE,
            check_str='rule:vendordata_user',
            description=(
                'Post an instance, as nova does for dynamic vendordata. The '
                'answer holds the credential of the instance: nobody but '
                'nova should have this.'
            ),
            operations=[{'path': '/v1/', 'method': 'POST'}],
            scope_types=base.SCOPE_TYPES,
        ),
    ]
