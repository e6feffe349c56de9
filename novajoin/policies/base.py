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
"""What the rules of all resources are made of."""

from typing import Final

from oslo_policy import policy

ADMIN: Final = 'rule:admin'
ADMIN_OR_PROJECT_READER: Final = 'rule:admin or rule:project_reader'

#: Tokens of a project only: novajoin has nothing that belongs to a domain,
#: and operators of a cloud act through a project as in the other services.
SCOPE_TYPES: Final = ['project']


def list_rules() -> list[policy.RuleDefault]:
    """Return the rules that the others are made of."""
    return [
        policy.RuleDefault(
            'admin',
            'role:admin',
            description='An operator of the cloud.',
            scope_types=SCOPE_TYPES,
        ),
        policy.RuleDefault(
            'project_reader',
            'role:reader and project_id:%(project_id)s',
            description='Somebody who may look at what is in a project.',
            scope_types=SCOPE_TYPES,
        ),
        policy.RuleDefault(
            'vendordata_user',
            'role:service and is_vendordata_user:True',
            description=(
                "Nova's own account for vendordata. Who that is, is set by "
                '``[api] vendordata_user_ids``; when that is empty, it is the '
                'user ``nova`` of the keystone domain whose id is '
                '``default``.'
            ),
            scope_types=SCOPE_TYPES,
        ),
    ]
