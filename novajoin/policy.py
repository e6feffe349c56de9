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
"""Ask oslo.policy."""

from collections.abc import Mapping
import time
from typing import Any
from typing import Final

from oslo_config import cfg
from oslo_policy import policy

from novajoin import context as novajoin_context
from novajoin import exceptions
from novajoin import policies

#: How long a changed policy file may go unnoticed, in seconds.
_LOOK_EVERY: Final = 2.0


class _Enforcer(policy.Enforcer):
    """An enforcer that looks for changed files now and then.

    oslo.policy looks at each decision, which is a dozen system calls for
    each post of nova.
    """

    _next_look = 0.0

    def load_rules(self, force_reload: bool = False) -> None:
        now = time.monotonic()
        if force_reload or now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            super().load_rules(force_reload)


def get_enforcer() -> policy.Enforcer:
    """Return an enforcer for oslo.policy's command line tools.

    The entry point ``oslo.policy.enforcer``; ``oslopolicy-list-redundant``
    and ``oslopolicy-policy-generator`` ask for it.
    """
    conf = cfg.ConfigOpts()
    conf([], project='novajoin', prog='join')
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(policies.list_rules())
    return enforcer


class Policy:
    """The rules of this process.

    :param conf: where ``[oslo_policy]`` is read from
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._enforcer = _Enforcer(conf)
        self._enforcer.register_defaults(policies.list_rules())

    def load(self) -> None:
        """Read the policy files now.

        :raises ConfigurationError: a file cannot be read, or names a rule
            that does not exist
        """
        try:
            self._enforcer.load_rules(force_reload=True)
            self._enforcer.check_rules(raise_on_violation=True)
        except (OSError, ValueError, policy.InvalidDefinitionError) as error:
            raise exceptions.ConfigurationError(
                '[oslo_policy] policy_file', str(error)
            ) from error

    def is_allowed(
        self,
        context: novajoin_context.RequestContext,
        rule: str,
        target: Mapping[str, Any],
    ) -> bool:
        """Tell whether the caller may.

        :param rule: name of a rule of :mod:`novajoin.policies`
        :param target: what it is about; ``project_id``, or nothing for
            something that belongs to no project or to all. Never with a
            value of None, which would equal the project of a token without
            one.
        """
        try:
            return bool(
                self._enforcer.authorize(
                    rule, dict(target), context, do_raise=False
                )
            )
        except policy.InvalidScope:
            return False

    def authorize(
        self,
        context: novajoin_context.RequestContext,
        rule: str,
        target: Mapping[str, Any],
    ) -> None:
        """Refuse the caller unless a rule lets him.

        :raises Forbidden: it does not
        """
        if not self.is_allowed(context, rule, target):
            raise exceptions.Forbidden(
                'The policy %s does not allow this.' % rule
            )
