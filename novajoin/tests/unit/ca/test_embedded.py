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

import dataclasses
import datetime
import logging
import shutil

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import ed25519
import fixtures
import testscenarios

from novajoin import exceptions
from novajoin import models
from novajoin.ca import constraints
from novajoin.ca import hierarchy
from novajoin.ca import profiles
from novajoin.tests import base
from novajoin.tests.contract import ca as contract
from novajoin.tests.unit.ca import requests
from novajoin.tests.unit.ca import rogue
from novajoin.tests.unit.ca import stores

DAY = datetime.timedelta(days=1)
FQDN = 'web-1.example.com'


class EmbeddedTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = self.make_directory() / 'keys'
        self.crls = stores.MemoryCrls()
        self.clock = base.Clock(contract.get_now())

    def make(self, names=stores.CONSTRAINTS, **changes):
        return stores.make_ca(
            self.path, self.crls, names, clock=self.clock, **changes
        )

    def make_order(self, **changes):
        now = self.clock()
        order = {
            'serial': 4711,
            'common_name': FQDN,
            'dns': (FQDN,),
            'ip': (),
            'uri': (contract.URN,),
            'public_key': contract.get_spki(requests.get_key('SECP256R1')),
            'eku': ('clientAuth', 'serverAuth'),
            'not_before': now,
            'not_after': now + 30 * DAY,
        }
        return models.CertificateOrder(**order | changes)

    def load(self, der):
        return x509.load_der_x509_certificate(der)


class TestIssue(EmbeddedTestCase):
    def get_extensions(self, ca, **changes):
        certificate = self.load(ca.issue(self.make_order(**changes)).der)
        return certificate.extensions

    def test_extensions(self):
        """Nothing more and nothing less, critical where it has to be."""
        extensions = self.get_extensions(self.make())
        self.assertEqual(
            {
                (x509.BasicConstraints, True),
                (x509.KeyUsage, True),
                (x509.ExtendedKeyUsage, False),
                (x509.SubjectAlternativeName, False),
                (x509.SubjectKeyIdentifier, False),
                (x509.AuthorityKeyIdentifier, False),
            },
            {(type(e.value), e.critical) for e in extensions},
        )
        limits = extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertFalse(limits.value.ca)

    def test_key_identifiers(self):
        ca = self.make()
        issuer = self.load(ca.get_chain().instance.der)
        extensions = self.get_extensions(ca)
        self.assertEqual(
            issuer.extensions.get_extension_for_class(
                x509.SubjectKeyIdentifier
            ).value.digest,
            extensions.get_extension_for_class(
                x509.AuthorityKeyIdentifier
            ).value.key_identifier,
        )

    def test_pointers_are_those_of_the_settings(self):
        ca = self.make(
            crl_url='http://pki.example.com/',
            issuer_url='http://pki.example.com/ca.der',
        )
        extensions = self.get_extensions(ca)
        (point,) = extensions.get_extension_for_class(
            x509.CRLDistributionPoints
        ).value
        self.assertEqual(
            'http://pki.example.com/crl/%s.crl' % ca.get_chain().instance.id,
            point.full_name[0].value,
        )
        (access,) = extensions.get_extension_for_class(
            x509.AuthorityInformationAccess
        ).value
        self.assertEqual(
            'http://pki.example.com/ca.der', access.access_location.value
        )

    def test_addresses_where_they_are_turned_on(self):
        ca = self.make(ip_networks=['198.51.100.0/24', '2001:db8::/64'])
        order = self.make_order(ip=('198.51.100.7', '2001:db8::7'))
        issued = ca.issue(order)
        chain = ca.get_chain()
        for ip in order.ip:
            result = contract.verify(
                chain.root.der,
                [chain.instance.der],
                issued.der,
                '-verify_ip',
                ip,
            )
            self.assertEqual(0, result.returncode, result.stderr)
        for ip in ('192.0.2.1', '2001:db8:1::7'):
            self.assertRaises(
                exceptions.IdentityRefused,
                ca.issue,
                self.make_order(ip=(ip,)),
            )

    def test_expired_issuer(self):
        ca = self.make(intermediate_lifetime=2)
        ca.get_chain()
        self.clock.advance(3 * 86400)
        error = self.assertRaises(
            exceptions.CAUnavailable, ca.issue, self.make_order()
        )
        self.assertIn('keys rotate ca/instance', error.message)
        self.assertRaises(exceptions.CAUnavailable, ca.check)

    def test_without_the_key(self):
        """A process without the key starts, and says what it lacks."""
        ca = self.make()
        chain = ca.get_chain()
        (self.path / 'ca/instance' / chain.instance.id / 'key.pem').unlink()
        other = self.make()
        other.validate()
        self.assertEqual(chain, other.get_chain())
        for call in (
            other.check,
            lambda: other.issue(self.make_order()),
            lambda: other.publish_crl(self.clock()),
        ):
            error = self.assertRaises(exceptions.CAUnavailable, call)
            self.assertIn(chain.instance.id, error.message)

    def test_nothing_secret_is_shown_or_logged(self):
        log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        ca = self.make()
        ca.issue(self.make_order())
        ca.publish_crl(self.clock())
        ca.rotate(hierarchy.INSTANCE)
        texts = log.output + repr(ca) + repr(vars(ca)) + repr(ca.store)
        for key in self.path.rglob('key.pem'):
            for line in key.read_text().splitlines()[1:-1]:
                self.assertNotIn(line, texts)


class TestRefusedOrders(testscenarios.WithScenarios, EmbeddedTestCase):
    """What must not be signed is not, whoever orders it."""

    scenarios = [
        (name, {'changes': changes})
        for name, changes in {
            "the check-in service's name": {
                'common_name': 'join.example.com',
                'dns': ('join.example.com',),
            },
            'a name below it': {'dns': (FQDN, 'a.join.example.com')},
            'a foreign name': {'dns': (FQDN, 'web.example.net')},
            'a wildcard': {'dns': (FQDN, '*.example.com')},
            'upper case': {'dns': (FQDN, 'WEB-1.example.com')},
            'not ASCII': {'dns': (FQDN, 'bücher.example.com')},
            'an address': {'ip': ('192.0.2.7',)},
            'an IPv6 address': {'ip': ('2001:db8::1',)},
            'a common name that is no DNS name of it': {
                'common_name': 'web-2.example.com'
            },
            'a long common name': {'common_name': 'a' * 65},
            'no common name': {'common_name': ''},
            'serial 0': {'serial': 0},
            'negative serial': {'serial': -1},
            'serial of 128 bits': {'serial': 1 << 127},
            'another usage': {'eku': ('clientAuth', 'codeSigning')},
            'no usage': {'eku': ()},
            'unknown usage': {'eku': ('x',)},
            'no key': {'public_key': b''},
            'a key of another type': {
                'public_key': contract.get_spki(requests.get_key('SECP521R1'))
            },
            'an Ed25519 key': {
                'public_key': contract.get_spki(
                    ed25519.Ed25519PrivateKey.generate()
                )
            },
            'a small RSA key': {
                'public_key': contract.get_spki(requests.get_key('rsa-2048'))
            },
        }.items()
    ]

    def test_refused(self):
        error = self.assertRaises(
            exceptions.IdentityRefused,
            self.make().issue,
            self.make_order(**self.changes),
        )
        self.assertTrue(error.message.isascii())

    def test_refused_before(self):
        """In the same words, and before a key is bound to a token."""
        ca = self.make()
        order = self.make_order(**self.changes)
        self.assertEqual(
            *(
                self.assertRaises(
                    exceptions.IdentityRefused, function, order
                ).message
                for function in (ca.check_order, ca.issue)
            )
        )


class TestNameConstraints(testscenarios.WithScenarios, EmbeddedTestCase):
    """IDENTITY 5: OpenSSL enforces what the intermediates say."""

    scenarios = [
        (
            '%s: %s' % (kind, name),
            {'kind': kind, 'names': names, 'fault': fault},
        )
        for kind, name, names, fault in rogue.CASES
    ]

    def test_verify(self):
        ca = self.make()
        chain = ca.get_chain()
        authority = ca._get_hierarchy().get_active(self.kind)
        leaf = rogue.sign(authority, self.names)
        result = contract.verify(chain.root.der, [authority.record.der], leaf)
        if self.fault is None:
            self.assertEqual(0, result.returncode, result.stderr)
        else:
            self.assertIn(self.fault, result.stderr)


class TestChain(EmbeddedTestCase):
    def test_an_instance_is_no_ca(self):
        """OpenSSL refuses what an instance signs."""
        ca = self.make()
        chain = ca.get_chain()
        key = requests.get_key('SECP256R1')
        instance = self.load(ca.issue(self.make_order()).der)
        now = contract.get_now()
        rogue = (
            x509.CertificateBuilder()
            .issuer_name(instance.subject)
            .subject_name(
                x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'x')])
            )
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + DAY)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(FQDN)]), False
            )
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER)
        )
        result = contract.verify(
            chain.root.der,
            [
                chain.instance.der,
                instance.public_bytes(serialization.Encoding.DER),
            ],
            rogue,
        )
        self.assertNotEqual(0, result.returncode)
        self.assertIn('invalid CA certificate', result.stderr)

    def test_an_instance_passes_for_no_check_in_service(self):
        """EM12: not even with the root pinned."""
        ca = self.make()
        chain = ca.get_chain()
        issued = ca.issue(self.make_order())
        result = contract.verify(
            chain.root.der,
            [chain.instance.der],
            issued.der,
            '-verify_hostname',
            'join.example.com',
        )
        self.assertIn('hostname mismatch', result.stderr)

    def test_the_whole_life_of_the_cas(self):
        """Also after 2049, where dates are written in another way."""
        self.clock.now = contract.get_now()
        ca = self.make(root_lifetime=18250, intermediate_lifetime=7300)
        issued = ca.issue(
            self.make_order(not_after=self.clock() + 20000 * DAY)
        )
        chain = ca.get_chain()
        result = contract.verify(
            chain.root.der,
            [chain.instance.der],
            issued.der,
            at=self.clock() + 7299 * DAY,
        )
        self.assertEqual(0, result.returncode, result.stderr)

    def test_a_rotated_intermediate(self):
        """What the former one issued still verifies, with its own CRL."""
        ca = self.make()
        old = ca.issue(self.make_order())
        old_chain = ca.get_chain()
        first = ca.publish_crl(self.clock())
        ca.rotate(hierarchy.INSTANCE)
        new = ca.issue(self.make_order(serial=4712))
        chain = ca.get_chain()
        self.assertEqual(old_chain.root, chain.root)
        self.assertNotEqual(old.issuer, new.issuer)
        self.assertEqual((old_chain.instance,), chain.others)
        self.crls.revoke(old, 'superseded', self.clock())
        published = ca.publish_crl(self.clock())
        self.assertEqual(new.issuer, published.issuer)
        second = ca.find_crl(old.issuer)
        self.assertEqual(first.number + 1, second.number)
        untrusted = [chain.instance.der, old_chain.instance.der]
        result = contract.verify(
            chain.root.der,
            untrusted,
            new.der,
            crls=[published.der, second.der],
        )
        self.assertEqual(0, result.returncode, result.stderr)
        result = contract.verify(chain.root.der, untrusted, old.der)
        self.assertEqual(0, result.returncode, result.stderr)
        result = contract.verify(
            chain.root.der,
            untrusted,
            old.der,
            crls=[published.der, second.der],
        )
        self.assertIn('certificate revoked', result.stderr)


class TestIssueService(EmbeddedTestCase):
    NAMES = frozenset({'join.example.com', '192.0.2.1'})

    def make_request(self, *names, key=None):
        return requests.make(
            subject=[],
            attributes=[requests.extension_request(requests.san(*names))],
            key=key,
        )

    def issue(self, ca, *names, allowed=NAMES):
        return self.load(
            ca.issue_service(
                self.make_request(*names), allowed, self.clock()
            ).der
        )

    def test_content(self):
        ca = self.make(crl_url='http://pki.example.com')
        certificate = self.issue(ca, requests.dns('join.example.com'))
        self.assertEqual(
            'CN=join.example.com', certificate.subject.rfc4514_string()
        )
        self.assertEqual(
            self.clock() + 30 * DAY, certificate.not_valid_after_utc
        )
        self.assertLess(certificate.not_valid_before_utc, self.clock())
        usages = certificate.extensions.get_extension_for_class(
            x509.ExtendedKeyUsage
        ).value
        self.assertEqual(
            list(profiles.get_extended_key_usages(['serverAuth'])),
            list(usages),
        )
        (point,) = certificate.extensions.get_extension_for_class(
            x509.CRLDistributionPoints
        ).value
        self.assertEqual(
            'http://pki.example.com/crl/%s.crl' % ca.get_chain().service.id,
            point.full_name[0].value,
        )

    def test_an_address_only(self):
        """Any common name would be held to the constraints by GnuTLS."""
        names = constraints.Constraints(
            frozenset({'example.com'}), frozenset({'127.0.0.1'})
        )
        ca = self.make(names)
        der = ca.issue_service(
            self.make_request(requests.ip(b'\x7f\0\0\1')),
            frozenset({'127.0.0.1'}),
            self.clock(),
        ).der
        chain = ca.get_chain()
        result = contract.verify(
            chain.root.der,
            [chain.service.der],
            der,
            '-purpose',
            'sslserver',
            '-verify_ip',
            '127.0.0.1',
        )
        self.assertEqual(0, result.returncode, result.stderr)
        certificate = self.load(der)
        self.assertEqual(0, len(list(certificate.subject)))
        self.assertTrue(
            certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).critical
        )

    def test_a_long_name(self):
        name = 'a' * 60 + '.example.com'
        names = constraints.Constraints(
            frozenset({'example.com'}), frozenset({name})
        )
        certificate = self.issue(
            self.make(names), requests.dns(name), allowed={name}
        )
        self.assertEqual('', certificate.subject.rfc4514_string())

    def test_lifetime_is_a_setting_and_ends_with_the_issuer(self):
        ca = self.make(service_certificate_lifetime=7200)
        certificate = self.issue(ca, requests.dns('join.example.com'))
        self.assertEqual(
            self.clock() + datetime.timedelta(hours=2),
            certificate.not_valid_after_utc,
        )
        shutil.rmtree(self.path)
        ca = self.make(intermediate_lifetime=2)
        certificate = self.issue(ca, requests.dns('join.example.com'))
        self.assertEqual(
            self.clock() + 2 * DAY, certificate.not_valid_after_utc
        )
        self.clock.advance(2 * 86400)
        self.assertRaises(
            exceptions.CAUnavailable,
            self.issue,
            ca,
            requests.dns('join.example.com'),
        )

    def test_beyond_the_intermediate(self):
        self.assertRaises(
            exceptions.IdentityRefused,
            self.issue,
            self.make(),
            requests.dns('join2.example.com'),
            allowed=frozenset({'join2.example.com'}),
        )

    def test_without_the_key(self):
        ca = self.make()
        chain = ca.get_chain()
        (self.path / 'ca/service' / chain.service.id / 'key.pem').unlink()
        ca = self.make()
        self.assertRaises(
            exceptions.CAUnavailable,
            self.issue,
            ca,
            requests.dns('join.example.com'),
        )
        ca.issue(self.make_order())


class TestValidate(testscenarios.WithScenarios, EmbeddedTestCase):
    scenarios = [
        (option, {'option': option, 'changes': changes})
        for option, changes in (
            (
                '[ca_embedded] extended_key_usages',
                {'extended_key_usages': ['clientAuth', 'x']},
            ),
            (
                '[ca_embedded] extended_key_usages',
                {'extended_key_usages': []},
            ),
            (
                '[ca_embedded] extended_key_usages',
                {'extended_key_usages': ['serverAuth']},
            ),
            ('[ca_embedded] ip_networks', {'ip_networks': ['192.0.2.1/24']}),
            (
                '[naming] domain',
                {'names': dataclasses.replace(
                    stores.CONSTRAINTS, zones=frozenset()
                )},
            ),
        )
    ]  # fmt: skip

    def test_validate(self):
        error = self.assertRaises(
            exceptions.ConfigurationError, self.make(**self.changes).validate
        )
        self.assertEqual(self.option, error.option)
        self.assertFalse(self.path.exists())


class TestValidateExisting(EmbeddedTestCase):
    def test_a_new_zone_needs_a_new_intermediate(self):
        self.make().get_chain()
        names = dataclasses.replace(
            stores.CONSTRAINTS, zones=frozenset({'example.net'})
        )
        ca = self.make(names)
        error = self.assertRaises(exceptions.ConfigurationError, ca.validate)
        self.assertIn('novajoin-manage keys rotate ca/instance', str(error))
        ca.rotate(hierarchy.INSTANCE)
        self.make(names).validate()

    def test_a_new_usage_needs_a_new_intermediate(self):
        self.make(extended_key_usages=['clientAuth']).get_chain()
        usages = ['clientAuth', 'serverAuth']
        ca = self.make(extended_key_usages=usages)
        error = self.assertRaises(exceptions.ConfigurationError, ca.validate)
        self.assertEqual('[ca_embedded] extended_key_usages', error.option)
        self.assertEqual(('clientAuth',), ca.get_extended_key_usages())
        ca.rotate(hierarchy.INSTANCE)
        self.make(extended_key_usages=usages).validate()
        self.assertEqual(tuple(usages), ca.get_extended_key_usages())

    def test_an_ecdsa_key_of_each_curve_is_its_own(self):
        for curve in (ec.SECP256R1(), ec.SECP384R1()):
            key = ec.generate_private_key(curve)
            issued = self.make().issue(
                self.make_order(public_key=contract.get_spki(key))
            )
            self.assertEqual(
                key.public_key(), self.load(issued.der).public_key()
            )
