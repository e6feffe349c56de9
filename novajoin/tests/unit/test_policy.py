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

"""Policies."""

import os

from oslo_config import cfg
from oslo_policy import policy as oslo_policy

from novajoin import context
from novajoin import exceptions
from novajoin import policies
from novajoin import policy
from novajoin.policies import enrollment
from novajoin.policies import join
from novajoin.tests import base

PROJECT = 'ef44c3558c6a4f1282307e52bca1fa81'


class TestRules(base.TestCase):
    def test_names(self):
        """The names that WIRE and operators' files use."""
        names = {
            rule.name
            for rule in policies.list_rules()
            if isinstance(rule, oslo_policy.DocumentedRuleDefault)
        }
        self.assertEqual(
            {
                'join:create',
                'join:enrollment:list',
                'join:enrollment:show',
                'join:enrollment:revoke',
                'join:enrollment:retry',
                'join:enrollment:reissue',
                'join:enrollment:release',
                'join:certificate:list',
                'join:certificate:show',
                'join:certificate:revoke',
                'join:event:list',
                'join:allow_list:show',
            },
            names,
        )

    def test_every_rule_has_a_scope(self):
        for rule in policies.list_rules():
            self.assertEqual(['project'], rule.scope_types, rule.name)
            self.assertTrue(rule.description, rule.name)


class TestPolicy(base.TestCase):
    def make_policy(self, text=None):
        directory = self.make_directory()
        self.path = directory / 'policy.yaml'
        if text is not None:
            self.path.write_text(text)
        conf = cfg.ConfigOpts()
        conf(
            ['--config-dir', str(directory)],
            project='novajoin',
            default_config_files=[],
        )
        rules = policy.Policy(conf)
        conf.set_override('policy_file', str(self.path), group='oslo_policy')
        return policy.Policy(conf) if text is not None else rules

    def make_context(self, *roles, **kwargs):
        return context.RequestContext(
            roles=list(roles), **{'project_id': PROJECT, **kwargs}
        )

    def test_authorize(self):
        rules = self.make_policy()
        rules.authorize(self.make_context('admin'), enrollment.REVOKE, {})
        error = self.assertRaises(
            exceptions.Forbidden,
            rules.authorize,
            self.make_context('reader'),
            enrollment.REVOKE,
            {'project_id': PROJECT},
        )
        self.assertIn(enrollment.REVOKE, error.message)

    def test_scopes(self):
        rules = self.make_policy()
        for scope in ({'system_scope': 'all'}, {'domain_id': 'default'}):
            caller = self.make_context('admin', project_id=None, **scope)
            self.assertFalse(
                rules.is_allowed(caller, enrollment.LIST, {}), scope
            )

    def test_no_project_is_nobodys_project(self):
        rules = self.make_policy()
        caller = self.make_context('reader', project_id=None)
        self.assertFalse(rules.is_allowed(caller, enrollment.LIST, {}))

    def test_unregistered_rule(self):
        self.assertRaises(
            oslo_policy.PolicyNotRegistered,
            self.make_policy().is_allowed,
            self.make_context('admin'),
            'join:nothing',
            {},
        )

    def test_file(self):
        rules = self.make_policy('"join:create": "role:admin"\n')
        rules.load()
        self.assertTrue(
            rules.is_allowed(self.make_context('admin'), join.CREATE, {})
        )

    def test_changed_file(self):
        rules = self.make_policy('"join:create": "role:admin"\n')
        rules.load()
        caller = self.make_context('admin')
        self.assertTrue(rules.is_allowed(caller, join.CREATE, {}))
        self.path.write_text('"join:create": "!"\n')
        os.utime(self.path, (2**31, 2**31))
        rules._enforcer._next_look = 0
        self.assertFalse(rules.is_allowed(caller, join.CREATE, {}))

    def test_broken_file(self):
        for text in ('{', '"join:create": "rule:nothing"\n'):
            error = self.assertRaises(
                exceptions.ConfigurationError, self.make_policy(text).load
            )
            self.assertEqual('[oslo_policy] policy_file', error.option)


class TestEnforcer(base.TestCase):
    def test_for_the_tools(self):
        enforcer = policy.get_enforcer()
        enforcer.load_rules()
        self.assertEqual(
            {rule.name for rule in policies.list_rules()},
            set(enforcer.registered_rules),
        )


class TestContext(base.TestCase):
    def test_vendordata_user(self):
        nova = {
            'HTTP_X_USER_ID': 'id-1',
            'HTTP_X_USER_NAME': 'nova',
            'HTTP_X_USER_DOMAIN_ID': 'default',
        }
        for changes, user_ids, expected in (
            ({}, (), True),
            ({}, ('id-1', 'id-2'), True),
            ({}, ('id-2',), False),
            ({'HTTP_X_USER_DOMAIN_ID': 'other'}, (), False),
            ({'HTTP_X_USER_DOMAIN_ID': 'other'}, ('id-1',), True),
            ({'HTTP_X_USER_NAME': 'Nova'}, (), False),
            ({'HTTP_X_USER_NAME': 'x'}, ('id-1',), True),
            ({'HTTP_X_USER_ID': None}, (), False),
            ({'HTTP_X_USER_ID': ''}, ('',), False),
        ):
            self.assertEqual(
                expected,
                context.is_vendordata_user(
                    {**nova, **changes}, frozenset(user_ids)
                ),
                (changes, user_ids),
            )

    def test_caller(self):
        caller = context.RequestContext(
            user_id='u', project_id='p', request_id='req-1'
        ).get_caller()
        self.assertEqual(
            ('req-1', 'u', 'p'),
            (caller.request_id, caller.user, caller.project),
        )

    def test_names_are_not_for_rules(self):
        values = context.RequestContext(user_name='nova').to_policy_values()
        self.assertNotIn('nova', values.values())
