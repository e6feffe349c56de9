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
"""Who may do what: the default rules, one module for each resource."""

from oslo_policy import policy

from novajoin.policies import allow_list
from novajoin.policies import base
from novajoin.policies import certificate
from novajoin.policies import enrollment
from novajoin.policies import event
from novajoin.policies import join


def list_rules() -> list[policy.RuleDefault]:
    """Return all rules (the entry point ``oslo.policy.policies``)."""
    return [
        rule
        for module in (base, join, enrollment, certificate, event, allow_list)
        for rule in module.list_rules()
    ]
