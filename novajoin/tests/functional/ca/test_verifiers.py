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
"""What verifiers other than OpenSSL make of the certificates.

A constraint protects nobody whose library does not look at it, or stumbles
over how it is written.
"""

import ipaddress
import pathlib
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import serialization
import testscenarios

from novajoin.ca import constraints
from novajoin.keys import authorities
from novajoin.tests import base
from novajoin.tests.contract import ca as contract
from novajoin.tests.unit.ca import requests
from novajoin.tests.unit.ca import rogue
from novajoin.tests.unit.ca import stores

CASES = rogue.CASES
SOURCE = pathlib.Path(__file__).with_name('Verify.java')


def run(*command):
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def write(path, *certificates):
    """Write certificates as PEM, and return the path."""
    path.write_bytes(
        b''.join(
            x509.load_der_x509_certificate(der).public_bytes(
                serialization.Encoding.PEM
            )
            for der in certificates
        )
    )
    return path


def write_crls(path, crls):
    """Write CRLs as PEM, and return the path."""
    path.write_bytes(
        b''.join(
            x509.load_der_x509_crl(der).public_bytes(
                serialization.Encoding.PEM
            )
            for der in crls
        )
    )
    return path


def verify_with_openssl(path, root, issuer, leaf, *crls):
    options = ['-crl_check_all'] if crls else []
    return contract.verify(root, [issuer], leaf, *options, crls=crls)


def verify_with_gnutls(path, root, issuer, leaf, *crls):
    options = []
    if crls:
        options += ['--load-crl', write_crls(path / 'crls.pem', crls)]
    return run(
        *('certtool', '--verify'),
        *('--load-ca-certificate', write(path / 'root.pem', root)),
        *('--infile', write(path / 'chain.pem', leaf, issuer)),
        *options,
    )


def verify_with_nss(path, root, issuer, leaf, *crls):
    database = 'sql:%s' % path
    run('certutil', '-N', '-d', database, '--empty-password')
    for name, trust, der in (
        ('root', 'CT,C,C', root),
        ('issuer', ',,', issuer),
        ('leaf', ',,', leaf),
    ):
        added = run(
            *('certutil', '-A', '-d', database, '-n', name, '-t', trust),
            *('-a', '-i', write(path / (name + '.pem'), der)),
        )
        if added.returncode:
            raise AssertionError(added.stderr)
    for number, der in enumerate(crls):
        crl = path / ('%d.crl' % number)
        crl.write_bytes(der)
        added = run('crlutil', '-I', '-d', database, '-i', crl)
        if added.returncode:
            raise AssertionError(added.stderr)
    return run('certutil', '-V', '-d', database, '-n', 'leaf', '-u', 'V')


def one_by_one(verify):
    """Return a function that verifies many chains with one for each."""

    def verify_all(path, chains):
        faults = []
        for number, chain in enumerate(chains):
            directory = path / str(number)
            directory.mkdir()
            result = verify(directory, *chain)
            output = result.stdout + result.stderr
            faults.append(output.strip() if result.returncode else None)
        return faults

    return verify_all


def verify_with_java(path, chains):
    """Verify many chains with one run of the JDK."""
    arguments = []
    for number, (root, issuer, leaf, *crls) in enumerate(chains):
        arguments += [
            write(path / ('root%d.pem' % number), root),
            write(path / ('chain%d.pem' % number), leaf, issuer),
            write_crls(path / ('crls%d.pem' % number), crls),
        ]
    result = run('java', SOURCE, *arguments)
    if result.returncode:
        raise AssertionError(result.stderr)
    return [
        None if line == 'valid' else line
        for line in result.stdout.splitlines()
    ]


VERIFIERS = [
    (name, {'verify_all': staticmethod(function)})
    for name, function in (
        ('GnuTLS', one_by_one(verify_with_gnutls)),
        ('NSS', one_by_one(verify_with_nss)),
        ('Java', verify_with_java),
    )
]


class TestNameConstraints(testscenarios.WithScenarios, base.TestCase):
    """IDENTITY 5: an instance cannot become the check-in service."""

    scenarios = VERIFIERS

    def test_all(self):
        path = self.make_directory()
        ca = stores.make_ca(path / 'keys')
        root = ca.get_chain().root.der
        chains = []
        for kind, _, texts, _ in CASES:
            authority = ca._get_hierarchy().get_active(kind)
            leaf = rogue.sign(authority, texts)
            chains.append((root, authority.record.der, leaf))
        faults = self.verify_all(path, chains)
        self.assertEqual(
            {(kind, name): fault is None for kind, name, _, fault in CASES},
            {
                (kind, name): fault is None
                for (kind, name, _, _), fault in zip(
                    CASES, faults, strict=True
                )
            },
            faults,
        )


class TestCertificates(testscenarios.WithScenarios, base.TestCase):
    """What we issue is accepted, however the check-in service is named."""

    scenarios = VERIFIERS

    def make_chains(self, path, checkin):
        """Return the chains of a service and of an instance."""
        ca = stores.make_ca(
            path,
            names=constraints.Constraints(frozenset({'example.com'}), checkin),
        )
        chain = ca.get_chain()
        addresses, dns = ca.store.constraints.split_checkin()
        names = [requests.dns(name) for name in sorted(dns)]
        names += [
            requests.ip(ipaddress.ip_address(address).packed)
            for address in addresses
        ]
        request = requests.make(
            subject=[],
            attributes=[requests.extension_request(requests.san(*names))],
        )
        service = ca.issue_service(request, checkin, contract.get_now())
        instance = ca.issue(contract.CABackendContract().make_order())
        return [
            (chain.root.der, chain.service.der, service.der),
            (chain.root.der, chain.instance.der, instance.der),
        ]

    def test_accepted(self):
        path = self.make_directory()
        chains = []
        for number, checkin in enumerate(
            (
                {'join.example.com'},
                {'join.example.com', '127.0.0.1'},
                {'127.0.0.1', '::1'},
                {'localhost'},
            )
        ):
            chains += self.make_chains(
                path / ('keys%d' % number), frozenset(checkin)
            )
        self.assertEqual([None] * 8, self.verify_all(path, chains))


class TestCrls(testscenarios.WithScenarios, base.TestCase):
    """What is published is enough to see every revocation there is."""

    scenarios = [
        (
            'OpenSSL',
            {'verify_all': staticmethod(one_by_one(verify_with_openssl))},
        ),
        *VERIFIERS,
    ]

    def setUp(self):
        super().setUp()
        self.path = self.make_directory()
        self.crls = stores.MemoryCrls()
        self.ca = stores.make_ca(
            self.path / 'keys',
            self.crls,
            crl_url='http://127.0.0.1:1/',
        )
        self.chain = self.ca.get_chain()
        request = requests.make(
            subject=[],
            attributes=[
                requests.extension_request(
                    requests.san(requests.dns('join.example.com'))
                )
            ],
        )
        self.service = self.ca.issue_service(
            request, stores.CONSTRAINTS.checkin, contract.get_now()
        )
        self.instance = self.ca.issue(
            contract.CABackendContract().make_order()
        )

    def verify(self):
        """Publish, and tell of service and instance what is wrong."""
        # NSS takes a CRL in place of an older one only.
        self.ca.publish_crl(contract.get_now(), force=True)
        self.ca.publish_other_crls(contract.get_now(), force=True)
        directory = self.path / str(len(list(self.path.iterdir())))
        directory.mkdir()
        chains = [
            (
                self.chain.root.der,
                issuer.der,
                issued.der,
                self.ca.find_crl(self.chain.root.id).der,
                self.ca.find_crl(issuer.id).der,
            )
            for issuer, issued in (
                (self.chain.service, self.service),
                (self.chain.instance, self.instance),
            )
        ]
        return self.verify_all(directory, chains)

    def test_nothing_is_revoked(self):
        self.assertEqual([None, None], self.verify())

    def test_certificates(self):
        for issued in (self.service, self.instance):
            self.crls.revoke(issued, 'keyCompromise', contract.get_now())
        for fault in self.verify():
            self.assertIn('revoked', str(fault).lower())

    def test_intermediates(self):
        """Put there as ``novajoin-manage keys compromise`` does it."""
        self.ca.compromise(authorities.SERVICE, self.chain.service.id)
        service, instance = self.verify()
        self.assertIn('revoked', str(service).lower())
        self.assertIsNone(instance)
        self.ca.compromise(authorities.INSTANCE, self.chain.instance.id)
        for fault in self.verify():
            self.assertIn('revoked', str(fault).lower())
