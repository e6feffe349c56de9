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
"""EST against the running service, by openssl and curl.

Three processes on loopback with the embedded defaults: novajoin-server is
posted to as nova does, novajoin-notify signs the service's certificate and
works the outbox, novajoin-checkin is what is tested.
"""

import pathlib
import tempfile
import time

from novajoin.tests import base
from novajoin.tests.functional import service as novajoin_service
from novajoin.tests.functional.checkin import instance as instances


def wait_for(condition, seconds=30.0):
    """Return the first true value of a condition, or its last one."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.2)


class CheckinTestCase(base.TestCase):
    """Tests that share one running service."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.service = novajoin_service.Service(pathlib.Path(folder.name))
        cls.service.setUp()
        cls.addClassCleanup(cls.service.cleanUp)

    def make_instance(self, **changes):
        """Return an instance whose identity is confirmed."""
        uuid, status, answer = self.service.post(**changes)
        self.assertEqual(200, status, answer)
        self.service.wait_for_state(uuid, 'offered')
        return instances.Instance(self.service, self.make_directory(), answer)

    def make_enrolled(self):
        """Return an instance, its key, certificate and intermediate."""
        instance = self.make_instance()
        key = instance.make_key()
        answer = instance.enroll(instance.make_csr(key))
        self.assertEqual(200, answer.status, answer)
        leaf, issuer = instance.write_certificates(answer)
        return instance, key, leaf, issuer


class TestEnroll(CheckinTestCase):
    def test_ca_certificates(self):
        """IDENTITY 5: root and both intermediates; EM12."""
        instance = self.make_instance()
        answer = instance.ask(instances.EST + 'cacerts')
        self.assertEqual(200, answer.status)
        self.assertEqual(
            'application/pkcs7-mime; smime-type=certs-only',
            answer.headers['content-type'],
        )
        paths = instance.write_certificates(answer, 'ca')
        texts = {path.read_text() for path in paths}
        self.assertEqual(3, len(texts))
        self.assertIn(instance.root.read_text(), texts)
        root = instance.ask('/ca.crt')
        self.assertEqual(instance.root.read_bytes(), root.body)

    def test_attributes(self):
        instance = self.make_instance()
        answer = instance.get_attributes()
        self.assertEqual(
            (200, 'application/csrattrs'),
            (answer.status, answer.headers['content-type']),
        )
        text = instances.run(
            'openssl',
            'asn1parse',
            '-inform',
            'DER',
            data=instances.run('openssl', 'base64', '-d', data=answer.body),
        ).decode()
        self.assertIn('Extension Request', text)
        self.assertIn('prime256v1', text)
        nobody = instance.ask(instances.EST + 'csrattrs')
        self.assertEqual((401, 'unauthorized'), (nobody.status, nobody.reason))

    def test_enroll(self):
        """EM11, EM16: the CSR of the payload is taken unmodified."""
        instance, key, leaf, issuer = self.make_enrolled()
        instance.verify(leaf, issuer)
        text = instances.show(leaf.read_text()).decode()
        self.assertIn('DNS:' + instance.name, text)
        self.assertIn('URI:urn:uuid:' + instance.uuid, text)
        self.assertEqual(
            instances.run('openssl', 'pkey', '-pubout', '-in', str(key)),
            instances.run(
                *('openssl', 'x509', '-noout', '-pubkey', '-in', str(leaf))
            ),
        )
        shown = self.service.get_enrollment(instance.uuid)
        self.assertEqual('enrolled', shown['state'])

    def test_the_same_key_again(self):
        """IDENTITY 5: byte by byte the same, for another CSR, too."""
        instance = self.make_instance()
        key = instance.make_key()
        answers = [
            instance.enroll(instance.make_csr(key)).body for _ in range(3)
        ]
        self.assertEqual(1, len(set(answers)))

    def test_another_key(self):
        """Refused, and within the window the enrollment is contested."""
        instance, first, leaf, _ = self.make_enrolled()
        csr = instance.make_csr(first)
        other = instance.make_csr(instance.make_key('other'))
        answer = instance.enroll(other)
        self.assertEqual((409, 'key_conflict'), (answer.status, answer.reason))
        for again in (csr, other):
            answer = instance.enroll(again)
            self.assertEqual(
                (403, 'contested'), (answer.status, answer.reason)
            )
        answer = instance.reenroll(csr, first, leaf)
        self.assertEqual(403, answer.status, answer)
        shown = self.service.get_enrollment(instance.uuid)
        self.assertEqual('contested', shown['state'])

    def test_wrong_credentials(self):
        """Unknown uuid and wrong token are not told apart."""
        instance = self.make_instance()
        csr = instance.make_csr(instance.make_key())
        other = self.make_instance()
        answers = [
            instance.enroll(csr, user='00000000-0000-4000-8000-000000000000'),
            instance.enroll(csr, token=other.token),
            instance.enroll(csr, user=other.uuid),
            instance.enroll(csr, token=instance.token[:-1] + '2'),
            instance.enroll(csr, token='x'),
            instance.enroll(csr, user='x'),
        ]
        for answer in answers:
            self.assertEqual(401, answer.status)
            self.assertEqual('no-store', answer.headers['cache-control'])
            self.assertEqual(
                'Basic realm="novajoin-est"',
                answer.headers['www-authenticate'],
            )
        self.assertEqual(
            1, len({tuple(a.body.split(b'\n')[:2]) for a in answers})
        )
        self.assertEqual(200, instance.enroll(csr).status)

    def test_other_requests(self):
        """EM16: refused with its own reason; the token is not consumed."""
        instance = self.make_instance()
        key = instance.make_key()
        dns = [instance.name]
        for changes in (
            {'cn': 'other.test.example.com'},
            {'dns': [*dns, 'other.test.example.com']},
            {'dns': ['*.test.example.com']},
            {'dns': [instance.name.upper()]},
            {'dns': [instance.name + '.']},
            {'uri': []},
            {'uri': ['urn:uuid:00000000-0000-4000-8000-000000000000']},
        ):
            answer = instance.enroll(instance.make_csr(key, **changes))
            self.assertEqual(400, answer.status, changes)
            self.assertRegex(answer.reason, r'^csr_mismatch\.', changes)
        answer = instance.enroll(b'\x30\x80' * 100)
        self.assertEqual(
            (400, 'csr_malformed'), (answer.status, answer.reason)
        )
        self.assertEqual(200, instance.enroll(instance.make_csr(key)).status)

    def test_key_of_another_instance(self):
        _, key, _, _ = self.make_enrolled()
        other = self.make_instance()
        answer = other.enroll(other.make_csr(key))
        self.assertEqual((400, 'key_reused'), (answer.status, answer.reason))
        csr = other.make_csr(other.make_key())
        self.assertEqual(200, other.enroll(csr).status)


class TestCertified(CheckinTestCase):
    """What an instance does with its certificate."""

    def test_reenroll(self):
        """IDENTITY 5: renewal needs the newest serial."""
        instance, key, leaf, issuer = self.make_enrolled()
        new_key = instance.make_key('new')
        csr = instance.make_csr(new_key)
        answer = instance.reenroll(csr, key, leaf)
        self.assertEqual(200, answer.status, answer)
        new_leaf, _ = instance.write_certificates(answer, 'new')
        instance.verify(new_leaf, issuer)
        self.assertNotEqual(
            instances.get_serial(leaf), instances.get_serial(new_leaf)
        )
        # The answer was lost: the stale serial gets the same successor.
        again = instance.reenroll(csr, key, leaf)
        self.assertEqual(answer.body, again.body)
        # The successor is used; from now on the old one is a clone's.
        receipt = instance.send_receipt(1, instance.sha256, new_key, new_leaf)
        self.assertEqual(204, receipt.status, receipt)
        stale = instance.reenroll(csr, key, leaf)
        self.assertEqual((403, 'contested'), (stale.status, stale.reason))

    def test_receipt(self):
        instance, key, leaf, _ = self.make_enrolled()
        seq = instance.payload['seq']
        for _ in range(2):
            answer = instance.send_receipt(seq, instance.sha256, key, leaf)
            self.assertEqual((204, b''), (answer.status, answer.body))
        answer = instance.send_receipt(seq, 'ab' * 32, key, leaf)
        self.assertEqual(
            (409, 'receipt_conflict'), (answer.status, answer.reason)
        )

    def test_without_or_with_a_foreign_certificate(self):
        instance, key, _, _ = self.make_enrolled()
        csr = instance.make_csr(key)
        answer = instance.post_csr('simplereenroll', csr)
        self.assertEqual((401, 'unauthorized'), (answer.status, answer.reason))
        own = instance.directory / 'self.pem'
        instances.run(
            *('openssl', 'req', '-x509', '-new', '-key', str(key)),
            *('-subj', '/CN=' + instance.name, '-out', str(own)),
        )
        answer = instance.reenroll(csr, key, own)
        self.assertEqual(0, answer.status, answer)
        self.assertIn('alert', answer.error.lower())

    def test_certificate_of_the_service(self):
        """The service intermediate's certificates are no instances'."""
        instance, key, _, _ = self.make_enrolled()
        own = self.service.state_path / 'checkin' / 'certificate.pem'
        self.assertEqual(0o600, own.stat().st_mode & 0o777)
        answer = instance.reenroll(instance.make_csr(key), own, own)
        self.assertEqual(0, answer.status, answer)

    def test_revoked(self):
        """The certificate is on the CRL, and good for nothing."""
        instance, key, leaf, issuer = self.make_enrolled()
        serial = instances.get_serial(leaf)
        status, answer = self.service.call(
            'POST', '/v1/certificates/%s/revoke' % serial
        )
        self.assertEqual(200, status, answer)
        csr = instance.make_csr(key)
        for refused in (
            instance.reenroll(csr, key, leaf),
            instance.send_receipt(1, instance.sha256, key, leaf),
        ):
            self.assertEqual(
                (403, 'certificate_revoked'), (refused.status, refused.reason)
            )
        ca = instances.find_id(issuer)
        crl = instance.directory / 'crl.der'

        def is_listed():
            got = instance.ask('/crl/%s.crl' % ca)
            if got.status != 200:
                return False
            crl.write_bytes(got.body)
            text = instances.run(
                *('openssl', 'crl', '-inform', 'DER', '-noout', '-text'),
                *('-CAfile', str(issuer), '-in', str(crl)),
            ).decode()
            return serial in text.lower()

        self.assertTrue(wait_for(is_listed, 60))


class TestSurface(CheckinTestCase):
    def test_health_and_nothing_else(self):
        instance = self.make_instance()
        self.assertEqual(200, instance.ask('/healthcheck').status)
        for path in ('/', '/v1/', '/v1/enrollments', '/crl/x.crl'):
            answer = instance.ask(path)
            self.assertEqual(
                (404, 'not_found'), (answer.status, answer.reason)
            )

    def test_large_body(self):
        instance = self.make_instance()
        answer = instance.enroll(b'\0' * 10_000_000)
        self.assertEqual(
            (413, 'body_too_large'), (answer.status, answer.reason)
        )

    def test_tls(self):
        """TLS 1.2 and newer; no tickets (IDENTITY 5)."""
        instance = self.make_instance()
        address = 'localhost:%d' % self.service.checkin_port
        for version in ('-tls1_2', '-tls1_3'):
            text = instances.run(
                *('openssl', 's_client', '-connect', address, version),
                *('-CAfile', str(instance.root), '-verify_return_error'),
                *('-servername', 'localhost', '-ign_eof'),
                data=b'GET /ca.crt HTTP/1.1\r\nHost: x\r\n'
                b'Connection: close\r\n\r\n',
            ).decode(errors='replace')
            self.assertIn('200 OK', text)
            self.assertNotIn('session ticket', text.lower())
            self.assertNotIn('Resumption PSK: 0', text)
        self.assertRaises(
            AssertionError,
            instances.run,
            *('openssl', 's_client', '-connect', address, '-tls1_1'),
            *('-cipher', 'ALL:@SECLEVEL=0'),
            data=b'',
        )
