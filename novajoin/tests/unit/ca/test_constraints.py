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

import ipaddress

import testscenarios

from novajoin import exceptions
from novajoin.ca import constraints
from novajoin.tests import base

NETWORKS = (
    ipaddress.ip_network('198.51.100.0/24'),
    ipaddress.ip_network('2001:db8::/64'),
)


def make(zones, checkin):
    return constraints.Constraints(frozenset(zones), frozenset(checkin))


GOOD = make(
    {'example.com', 'cloud.example.org'}, {'join.example.com', '192.0.2.1'}
)


class TestInstance(base.TestCase):
    """IDENTITY 5: zones permitted, the check-in subtree excluded."""

    def test_names(self):
        bounds = constraints.make_instance_bounds(GOOD, ())
        for name in ('example.com', 'a.example.com', 'b.cloud.example.org'):
            self.assertTrue(bounds.permits_dns(name), name)
        for name in (
            'join.example.com',
            'a.join.example.com',
            'example.org',
            'badexample.com',
            'example.com.evil.org',
            'com',
            '',
        ):
            self.assertFalse(bounds.permits_dns(name), name)

    def test_no_addresses_by_default(self):
        bounds = constraints.make_instance_bounds(GOOD, ())
        for text in ('192.0.2.1', '10.0.0.1', '::1', '2001:db8::1'):
            self.assertFalse(bounds.permits_ip(ipaddress.ip_address(text)))

    def test_addresses_of_some_networks(self):
        names = make({'example.com'}, {'join.example.com', '198.51.100.9'})
        bounds = constraints.make_instance_bounds(names, NETWORKS)
        for text in ('198.51.100.1', '2001:db8::1'):
            self.assertTrue(bounds.permits_ip(ipaddress.ip_address(text)))
        for text in ('198.51.100.9', '192.0.2.1', '2001:db8:1::1'):
            self.assertFalse(bounds.permits_ip(ipaddress.ip_address(text)))

    def test_check_accepts_what_was_made_for_it(self):
        for networks in ((), NETWORKS):
            bounds = constraints.make_instance_bounds(GOOD, networks)
            constraints.check_instance(bounds, GOOD)
        # A zone less, or a zone below a permitted one, does no harm.
        for zones in ({'example.com'}, {'lab.example.com'}):
            constraints.check_instance(bounds, make(zones, GOOD.checkin))

    def test_without_constraints_the_service_can_be_impersonated(self):
        error = self.assertRaises(
            exceptions.ConfigurationError,
            constraints.check_instance,
            constraints.Bounds(),
            GOOD,
        )
        self.assertEqual('[checkin] urls', error.option)
        self.assertIn('join.example.com, 192.0.2.1', error.message)


class TestCheckInstance(testscenarios.WithScenarios, base.TestCase):
    scenarios = [
        (name, {'names': names, 'option': option, 'text': text})
        for name, names, option, text in (
            (
                'new zone',
                make({'example.com', 'example.net'}, GOOD.checkin),
                '[naming] domain',
                'rotate ca/instance',
            ),
            (
                'zone above a permitted one',
                make({'org'}, GOOD.checkin),
                '[naming] domain',
                'rotate ca/instance',
            ),
            (
                'no zone',
                make((), GOOD.checkin),
                '[naming] domain',
                'no zone',
            ),
            (
                'new check-in name in a zone',
                make(GOOD.zones, {'join2.example.com'}),
                '[checkin] urls',
                'rotate ca/instance',
            ),
            (
                'check-in name above the excluded one',
                make({'cloud.example.org'}, {'example.com'}),
                '[checkin] urls',
                'rotate ca/instance',
            ),
            (
                'zone below the check-in name',
                make({'a.join.example.com'}, GOOD.checkin),
                '[checkin] urls',
                'name of its own',
            ),
            (
                'zone that is the check-in name',
                make({'example.com'}, {'Example.COM.'}),
                '[checkin] urls',
                'name of its own',
            ),
        )
    ]

    def test_check(self):
        bounds = constraints.make_instance_bounds(GOOD, ())
        error = self.assertRaises(
            exceptions.ConfigurationError,
            constraints.check_instance,
            bounds,
            self.names,
        )
        self.assertEqual(self.option, error.option)
        self.assertIn(self.text, error.message)


class TestService(base.TestCase):
    def test_names(self):
        bounds = constraints.make_service_bounds(GOOD)
        self.assertTrue(bounds.permits_dns('join.example.com'))
        self.assertFalse(bounds.permits_dns('a.example.com'))
        self.assertTrue(bounds.permits_ip(ipaddress.ip_address('192.0.2.1')))
        for text in ('192.0.2.2', '::1'):
            self.assertFalse(bounds.permits_ip(ipaddress.ip_address(text)))

    def test_names_only(self):
        bounds = constraints.make_service_bounds(make((), {'j.example.com'}))
        self.assertFalse(bounds.permits_ip(ipaddress.ip_address('192.0.2.1')))

    def test_addresses_only(self):
        bounds = constraints.make_service_bounds(make((), {'[::1]'}))
        self.assertTrue(bounds.permits_ip(ipaddress.ip_address('::1')))
        self.assertFalse(bounds.permits_dns('localhost'))

    def test_check(self):
        bounds = constraints.make_service_bounds(GOOD)
        constraints.check_service(bounds, GOOD)
        for checkin in ({'join2.example.com'}, {'192.0.2.2'}):
            error = self.assertRaises(
                exceptions.ConfigurationError,
                constraints.check_service,
                bounds,
                make(GOOD.zones, checkin),
            )
            self.assertEqual('[checkin] urls', error.option)
            self.assertIn('rotate ca/service', error.message)
