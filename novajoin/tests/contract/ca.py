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
"""What every CA backend keeps to.

A driver's own package tests it like this::

    class TestMyCA(ca.CABackendContract, base.TestCase):
        zone = 'example.com'

        def make_backend(self):
            return my_driver.MyCA(settings, store)

Certificates are judged by the ``openssl`` command, not by the library that
made them.
"""

import concurrent.futures
import datetime
import hashlib
import ipaddress
import pathlib
import secrets
import subprocess
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import rsa

from novajoin import exceptions
from novajoin import models
from novajoin.ca import base

UUID = '0b7e0d3c-5a57-4ea8-8ac5-8d5a3f1cf0a1'
URN = 'urn:uuid:' + UUID

#: Verify as strictly as OpenSSL can.
STRICT = ('-x509_strict', '-check_ss_sig')


def get_spki(key):
    """Return the DER SubjectPublicKeyInfo of a private key."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )


def get_now():
    """Return the present, to the second: openssl looks at the real clock."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def verify(
    root, untrusted, leaf, *options, crls=(), at=None
) -> subprocess.CompletedProcess:
    """Run ``openssl verify`` with one trusted root and nothing else.

    :param root: DER
    :param untrusted: list of DER
    :param leaf: DER
    :param crls: list of DER
    :param at: when to verify; now when left out
    """
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        command = ['openssl', 'verify', *STRICT, *options]
        command += ['-no-CApath', '-no-CAstore']
        command += ['-CAfile', _write_pem(path / 'root', [root])]
        if untrusted:
            command += ['-untrusted', _write_pem(path / 'sub', untrusted)]
        if crls:
            text = b''.join(
                x509.load_der_x509_crl(crl).public_bytes(
                    serialization.Encoding.PEM
                )
                for crl in crls
            )
            (path / 'crls').write_bytes(text)
            command += ['-crl_check', '-CRLfile', str(path / 'crls')]
        if at is not None:
            command += ['-attime', str(int(at.timestamp()))]
        command.append(_write_pem(path / 'leaf', [leaf]))
        return subprocess.run(
            command, capture_output=True, text=True, check=False
        )


def _write_pem(path, certificates) -> str:
    path.write_bytes(
        b''.join(
            x509.load_der_x509_certificate(der).public_bytes(
                serialization.Encoding.PEM
            )
            for der in certificates
        )
    )
    return str(path)


class CABackendContract:
    """Mix this into a test case and say how the backend is made.

    :cvar zone: a DNS zone that the backend may certify
    :cvar foreign_zone: one that it may not, or None where it has no bounds
    """

    zone = 'example.com'
    foreign_zone = 'example.net'

    def make_backend(self) -> base.CABackend:
        """Return a backend; each call as in another process."""
        raise NotImplementedError

    def revoke_in_database(self, certificate, reason) -> None:
        """Write into the backend's store that a certificate is revoked.

        :param certificate: models.IssuedCertificate
        """

    def make_order(self, label='web-1', key=None, **changes):
        fqdn = '%s.%s' % (label, self.zone)
        now = get_now()
        order = {
            'serial': secrets.randbits(127) or 1,
            'common_name': fqdn,
            'dns': (fqdn,),
            'ip': (),
            'uri': (URN,),
            'public_key': get_spki(
                key or ec.generate_private_key(ec.SECP256R1())
            ),
            'eku': ('clientAuth', 'serverAuth'),
            'not_before': now - datetime.timedelta(minutes=5),
            'not_after': now + datetime.timedelta(days=30),
        }
        return models.CertificateOrder(**order | changes)

    def assertVerifies(self, backend, der, *options, **keywords):
        chain = backend.get_chain()
        result = verify(
            chain.root.der, [chain.instance.der], der, *options, **keywords
        )
        self.assertEqual(0, result.returncode, result.stderr)

    # Start and health.

    def test_validate_and_check(self):
        backend = self.make_backend()
        backend.validate()
        backend.get_chain()
        backend.check()

    # The chain.

    def test_chain(self):
        """IDENTITY 5: a root, a service and an instance intermediate."""
        chain = self.make_backend().get_chain()
        records = (chain.root, chain.service, chain.instance)
        self.assertEqual(3, len({record.id for record in records}))
        root = x509.load_der_x509_certificate(chain.root.der)
        for record in records:
            certificate = x509.load_der_x509_certificate(record.der)
            spki = certificate.public_key().public_bytes(
                serialization.Encoding.DER,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            )
            self.assertEqual(hashlib.sha256(spki).hexdigest()[:16], record.id)
            certificate.verify_directly_issued_by(root)
            constraints = certificate.extensions.get_extension_for_class(
                x509.BasicConstraints
            )
            self.assertTrue(constraints.critical)
            self.assertTrue(constraints.value.ca)

    def test_chain_is_the_same_everywhere(self):
        first = self.make_backend()
        chain = first.get_chain()
        self.assertEqual(chain, first.get_chain())
        self.assertEqual(chain, self.make_backend().get_chain())

    # Issuing.

    def test_the_usages_that_it_announces_are_issued(self):
        """What the payload tells instances to ask for."""
        backend = self.make_backend()
        usages = backend.get_extended_key_usages()
        self.assertNotEqual((), usages)
        issued = backend.issue(self.make_order(eku=usages))
        value = (
            x509.load_der_x509_certificate(issued.der)
            .extensions.get_extension_for_class(x509.ExtendedKeyUsage)
            .value
        )
        self.assertEqual(len(usages), len(list(value)))

    def test_issue(self):
        """EM16: the certificate is written from the record."""
        backend = self.make_backend()
        order = self.make_order()
        issued = backend.issue(order)
        certificate = x509.load_der_x509_certificate(issued.der)
        self.assertEqual(backend.get_chain().instance.id, issued.issuer)
        self.assertEqual(certificate.serial_number, issued.serial)
        self.assertEqual(certificate.not_valid_before_utc, issued.not_before)
        self.assertEqual(certificate.not_valid_after_utc, issued.not_after)
        self.assertLessEqual(issued.not_after, order.not_after)
        self.assertEqual(
            order.public_key,
            certificate.public_key().public_bytes(
                serialization.Encoding.DER,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            ),
        )
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
        self.assertEqual(
            {x509.DNSName(order.dns[0]), x509.UniformResourceIdentifier(URN)},
            set(names),
        )
        common_names = certificate.subject.get_attributes_for_oid(
            x509.NameOID.COMMON_NAME
        )
        self.assertEqual(
            [order.common_name], [name.value for name in common_names]
        )
        for purpose in ('sslclient', 'sslserver'):
            self.assertVerifies(backend, issued.der, '-purpose', purpose)
        self.assertVerifies(
            backend, issued.der, '-verify_hostname', order.dns[0]
        )

    def test_issue_by_usage(self):
        backend = self.make_backend()
        chain = backend.get_chain()
        issued = backend.issue(self.make_order(eku=('clientAuth',)))
        self.assertVerifies(backend, issued.der, '-purpose', 'sslclient')
        result = verify(
            chain.root.der,
            [chain.instance.der],
            issued.der,
            '-purpose',
            'sslserver',
        )
        self.assertNotEqual(0, result.returncode)

    def test_issue_for_each_type_of_key(self):
        backend = self.make_backend()
        for key, encipherment in (
            (ec.generate_private_key(ec.SECP256R1()), False),
            (ec.generate_private_key(ec.SECP384R1()), False),
            (rsa.generate_private_key(65537, 3072), True),
        ):
            issued = backend.issue(self.make_order(key=key))
            usage = x509.load_der_x509_certificate(
                issued.der
            ).extensions.get_extension_for_class(x509.KeyUsage)
            self.assertTrue(usage.critical)
            self.assertTrue(usage.value.digital_signature)
            self.assertEqual(encipherment, usage.value.key_encipherment)
            self.assertFalse(usage.value.key_cert_sign)
            self.assertVerifies(backend, issued.der)

    def test_issue_for_a_long_name(self):
        """The uuid is the common name where the FQDN does not fit."""
        backend = self.make_backend()
        fqdn = '%s.%s' % ('a' * 60, self.zone)
        issued = backend.issue(self.make_order(common_name=UUID, dns=(fqdn,)))
        self.assertVerifies(backend, issued.der, '-verify_hostname', fqdn)

    def test_issue_again(self):
        """The same order may come again after a crash."""
        backend = self.make_backend()
        order = self.make_order()
        first = backend.issue(order)
        again = self.make_backend().issue(order)
        self.assertEqual(first.serial, again.serial)
        self.assertEqual(first.issuer, again.issuer)

    def test_issue_by_several_threads(self):
        backend = self.make_backend()
        orders = [self.make_order('web-%d' % n) for n in range(24)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            issued = list(pool.map(backend.issue, orders))
        self.assertEqual(24, len({entry.serial for entry in issued}))
        for order, entry in zip(orders, issued, strict=True):
            certificate = x509.load_der_x509_certificate(entry.der)
            self.assertEqual(
                'CN=' + order.common_name,
                certificate.subject.rfc4514_string(),
            )

    def test_nothing_outlives_its_issuer(self):
        backend = self.make_backend()
        issuer = x509.load_der_x509_certificate(
            backend.get_chain().instance.der
        )
        issued = backend.issue(
            self.make_order(
                not_before=get_now() - datetime.timedelta(days=36500),
                not_after=get_now() + datetime.timedelta(days=36500),
            )
        )
        self.assertLessEqual(issued.not_after, issuer.not_valid_after_utc)
        self.assertGreaterEqual(issued.not_before, issuer.not_valid_before_utc)
        self.assertVerifies(backend, issued.der)

    def test_names_outside_the_bounds_are_refused(self):
        if self.foreign_zone is None:
            return
        backend = self.make_backend()
        good = 'web-1.' + self.zone
        for dns in (
            ('web-1.' + self.foreign_zone,),
            (good, 'web-1.' + self.foreign_zone),
            (self.foreign_zone,),
        ):
            self.assertRaises(
                exceptions.IdentityRefused,
                backend.issue,
                self.make_order(common_name=UUID, dns=dns),
            )

    def test_an_order_is_checked_before(self):
        """What can check an order agrees with itself, without a key."""
        backend = self.make_backend()
        if not isinstance(backend, base.OrderChecker):
            return
        backend.check_order(self.make_order())
        if self.foreign_zone is None:
            return
        foreign = 'web-1.' + self.foreign_zone
        self.assertRaises(
            exceptions.IdentityRefused,
            backend.check_order,
            self.make_order(common_name=foreign, dns=(foreign,)),
        )

    # Revoking.

    def test_revoke_is_idempotent(self):
        backend = self.make_backend()
        issued = backend.issue(self.make_order())
        for serial in ('%x' % issued.serial, '%x' % issued.serial, 'abc123'):
            backend.revoke(
                issued.issuer,
                serial,
                models.RevocationReason.SUPERSEDED,
                get_now(),
            )

    def test_revoked_certificates_are_on_the_crl(self):
        """NJ: what is revoked fails ``openssl verify -crl_check``."""
        backend = self.make_backend()
        if not isinstance(backend, base.CrlPublisher):
            return
        good = backend.issue(self.make_order('good'))
        bad = backend.issue(self.make_order('bad'))
        first = backend.publish_crl(get_now())
        self.assertEqual(first, backend.find_crl(good.issuer))
        self.assertIsNone(backend.publish_crl(get_now()))
        self.assertVerifies(backend, bad.der, crls=[first.der])
        reason = models.RevocationReason.KEY_COMPROMISE
        self.revoke_in_database(bad, reason)
        backend.revoke(bad.issuer, '%x' % bad.serial, reason, get_now())
        second = self.make_backend().publish_crl(get_now())
        self.assertGreater(second.number, first.number)
        self.assertEqual(second, backend.find_crl(good.issuer))
        self.assertVerifies(backend, good.der, crls=[second.der])
        chain = backend.get_chain()
        result = verify(
            chain.root.der, [chain.instance.der], bad.der, crls=[second.der]
        )
        self.assertIn('certificate revoked', result.stderr)

    def test_every_ca_has_a_crl(self):
        """What is published is enough for ``openssl -crl_check_all``."""
        backend = self.make_backend()
        if not isinstance(backend, base.CrlPublisher):
            return
        chain = backend.get_chain()
        leaves = [(chain.instance, backend.issue(self.make_order()))]
        if isinstance(backend, base.ServiceIssuer):
            request = self.make_service_request(
                [x509.DNSName('join.example.com')]
            )
            leaves.append(
                (
                    chain.service,
                    backend.issue_service(
                        request, self.service_names, get_now()
                    ),
                )
            )
        backend.publish_crl(get_now())
        backend.publish_other_crls(get_now())
        self.assertEqual([], backend.publish_other_crls(get_now()))
        self.assertEqual([], backend.list_crl_faults(get_now()))
        for issuer, issued in leaves:
            result = verify(
                chain.root.der,
                [issuer.der],
                issued.der,
                '-crl_check_all',
                crls=[
                    backend.find_crl(record.id).der
                    for record in (chain.root, issuer)
                ],
            )
            self.assertEqual(0, result.returncode, result.stderr)
        (first,) = [
            crl.number
            for crl in backend.publish_other_crls(get_now(), force=True)
            if crl.issuer == chain.root.id
        ]
        self.assertEqual(first, backend.find_crl(chain.root.id).number)

    def test_crl_of_an_unknown_ca(self):
        backend = self.make_backend()
        if isinstance(backend, base.CrlPublisher):
            self.assertIsNone(backend.find_crl('0' * 16))

    # The check-in service's own certificates.

    #: What the check-in URLs name.
    service_names = frozenset({'join.example.com', '192.0.2.1'})

    def make_service_request(self, names, subject=()):
        key = ec.generate_private_key(ec.SECP256R1())
        return (
            x509.CertificateSigningRequestBuilder()
            .subject_name(
                x509.Name(
                    [
                        x509.NameAttribute(x509.NameOID.COMMON_NAME, text)
                        for text in subject
                    ]
                )
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER)
        )

    def test_issue_service(self):
        """IDENTITY 5: from an intermediate of its own, for servers only."""
        backend = self.make_backend()
        if not isinstance(backend, base.ServiceIssuer):
            return
        request = self.make_service_request(
            [
                x509.DNSName('join.example.com'),
                x509.IPAddress(ipaddress.ip_address('192.0.2.1')),
            ],
            ['join.example.com'],
        )
        issued = backend.issue_service(request, self.service_names, get_now())
        chain = backend.get_chain()
        der = issued.der
        certificate = x509.load_der_x509_certificate(der)
        self.assertEqual(chain.service.id, issued.issuer)
        self.assertEqual(certificate.serial_number, issued.serial)
        self.assertEqual(certificate.not_valid_before_utc, issued.not_before)
        self.assertEqual(certificate.not_valid_after_utc, issued.not_after)
        for options in (
            ('-verify_hostname', 'join.example.com'),
            ('-verify_ip', '192.0.2.1'),
        ):
            result = verify(
                chain.root.der,
                [chain.service.der],
                der,
                '-purpose',
                'sslserver',
                *options,
            )
            self.assertEqual(0, result.returncode, result.stderr)
        result = verify(
            chain.root.der, [chain.service.der], der, '-purpose', 'sslclient'
        )
        self.assertNotEqual(0, result.returncode)

    def test_issue_service_refuses_other_names(self):
        backend = self.make_backend()
        if not isinstance(backend, base.ServiceIssuer):
            return
        for names in (
            [x509.DNSName('web-1.' + self.zone)],
            [
                x509.DNSName('join.example.com'),
                x509.DNSName('web-1.' + self.zone),
            ],
            [x509.IPAddress(ipaddress.ip_address('192.0.2.2'))],
        ):
            self.assertRaises(
                exceptions.CsrError,
                backend.issue_service,
                self.make_service_request(names),
                self.service_names,
                get_now(),
            )
        self.assertRaises(
            exceptions.CsrError,
            backend.issue_service,
            b'not a request',
            self.service_names,
            get_now(),
        )
