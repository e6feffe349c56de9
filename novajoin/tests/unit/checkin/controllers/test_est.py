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
"""EST over the application: each row of the table of IDENTITY section 5."""

import base64
import logging

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
import fixtures
import testscenarios

from novajoin import exceptions
from novajoin import models
from novajoin.checkin import app
from novajoin.checkin import peer
from novajoin.checkin import services
from novajoin.tests.unit.checkin import fakes
from novajoin.tests.unit.checkin import hostile
from novajoin.tests.unit.checkin import pki

PKCS7 = 'application/pkcs7-mime; smime-type=certs-only'


def read_certificates(answer):
    """Return the certificates of an answer as a set of DER."""
    return {
        certificate.public_bytes(fakes.pki.serialization.Encoding.DER)
        for certificate in pkcs7.load_der_pkcs7_certificates(
            base64.b64decode(answer.body)
        )
    }


class TestCaCertificates(fakes.AppTestCase):
    def test_root_and_both_intermediates_for_anyone(self):
        """IDENTITY 5: cacerts is open."""
        answer = self.ask(fakes.EST + 'cacerts')
        self.assertEqual(200, answer.status_int)
        self.assertEqual(PKCS7, answer.headers['Content-Type'])
        self.assertEqual('base64', answer.headers['Content-Transfer-Encoding'])
        chain = self.pki.chain
        self.assertEqual(
            {chain.root.der, chain.service.der, chain.instance.der},
            read_certificates(answer),
        )
        self.assert_untouched()

    def test_head_has_no_body(self):
        answer = self.ask(fakes.EST + 'cacerts', 'HEAD')
        self.assertEqual((200, b''), (answer.status_int, answer.body))

    def test_any_accept_header_is_fine(self):
        for accept in ('text/html', 'application/json', '', 'x', '*/*;q=0'):
            answer = self.ask(
                fakes.EST + 'cacerts', headers={'Accept': accept}
            )
            self.assertEqual(200, answer.status_int, accept)


class TestCsrAttributes(fakes.AppTestCase):
    def test_needs_the_token_and_consumes_nothing(self):
        self.redemption.get_template.return_value = fakes.TEMPLATE
        answer = self.ask(
            fakes.EST + 'csrattrs',
            headers={'Authorization': fakes.make_basic()},
        )
        self.assertEqual(200, answer.status_int)
        self.assertEqual(
            'application/csrattrs', answer.headers['Content-Type']
        )
        self.redemption.authenticate.assert_called_once_with(
            fakes.INSTANCE, fakes.TOKEN
        )
        self.redemption.redeem.assert_not_called()

    def test_without_token(self):
        answer = self.ask(fakes.EST + 'csrattrs')
        self.assert_error(answer, 401, 'unauthorized')
        self.assert_untouched()

    def test_refused_by_the_domain(self):
        self.redemption.authenticate.side_effect = exceptions.Closed
        answer = self.ask(
            fakes.EST + 'csrattrs',
            headers={'Authorization': fakes.make_basic()},
        )
        self.assert_error(answer, 410, 'closed')


class TestEnroll(fakes.AppTestCase):
    def test_issued(self):
        leaf = self.pki.issue_instance()
        self.redemption.redeem.return_value = fakes.Outcome(
            leaf.der, (self.pki.instance.der,)
        )
        csr = pki.make_csr()
        answer = self.enroll(base64.b64encode(csr))
        self.assertEqual(200, answer.status_int)
        self.assertEqual(PKCS7, answer.headers['Content-Type'])
        self.assertEqual('no-store', answer.headers['Cache-Control'])
        self.assertEqual(
            {leaf.der, self.pki.instance.der}, read_certificates(answer)
        )
        self.redemption.redeem.assert_called_once_with(
            fakes.INSTANCE,
            fakes.TOKEN,
            csr,
            answer.headers['X-Openstack-Request-Id'],
        )

    def test_the_same_again_gives_the_same_bytes(self):
        leaf = self.pki.issue_instance()
        self.redemption.redeem.return_value = fakes.Outcome(
            leaf.der, (self.pki.instance.der,)
        )
        self.assertEqual(self.enroll().body, self.enroll().body)

    def test_verdicts_outstanding(self):
        self.redemption.redeem.return_value = fakes.Outcome(None)
        answer = self.enroll()
        self.assertEqual((202, b''), (answer.status_int, answer.body))
        self.assertEqual('5', answer.headers['Retry-After'])

    def test_body_forms(self):
        """RFC 8951: white space is tolerated, the encoding header moot."""
        self.redemption.redeem.return_value = fakes.Outcome(None)
        csr = pki.make_csr()
        flat = base64.b64encode(csr)
        lines = base64.encodebytes(csr)
        for body in (
            flat,
            lines,
            lines.replace(b'\n', b'\r\n'),
            b'\r\n ' + flat + b'\t\n',
        ):
            for encoding in ('base64', 'binary', None):
                answer = self.enroll(
                    body, headers={'Content-Transfer-Encoding': encoding}
                )
                self.assertEqual(202, answer.status_int)
                self.assertEqual(csr, self.redemption.redeem.call_args[0][2])

    def test_bad_bodies(self):
        key = b'-----BEGIN PRIVATE KEY-----\nMEECAQAw\n'
        for body in hostile.list_bodies(pki.make_csr(), key):
            answer = self.enroll(body)
            self.assert_error(answer, 400, 'csr_malformed')
        self.redemption.redeem.assert_not_called()

    def test_pem_is_named(self):
        answer = self.enroll(b'-----BEGIN CERTIFICATE REQUEST-----\n')
        self.assertIn('PEM', answer.text)

    def test_a_wrong_token_is_told_before_a_bad_body(self):
        """IDENTITY 5: authenticate before parsing."""
        self.redemption.authenticate.side_effect = exceptions.Unauthorized
        self.assert_error(self.enroll(b'!'), 401, 'unauthorized')

    def test_garbled_credentials(self):
        for header in (
            None,
            'Basic ' + 'A' * 100_000,
            *hostile.list_authorizations(fakes.INSTANCE, fakes.TOKEN),
        ):
            answer = self.enroll(headers={'Authorization': header})
            self.assert_error(answer, 401, 'unauthorized')
            self.assertEqual(
                'Basic realm="novajoin-est"',
                answer.headers['WWW-Authenticate'],
            )
        self.assert_untouched()

    def test_challenge_has_no_length(self):
        """Bouncy Castle's client cannot drop a body of known length."""
        answer = self.enroll(headers={'Authorization': None})
        self.assertNotIn('Content-Length', answer.headers)
        self.assertTrue(answer.body)
        answer = self.enroll(headers={'Authorization': 'Basic x'})
        self.assertIn('Content-Length', answer.headers)

    def test_every_401_reads_the_same(self):
        """IDENTITY 5: unknown uuid and wrong token are not told apart."""
        self.redemption.redeem.side_effect = exceptions.Unauthorized(
            'there is no such instance'
        )
        texts = {
            '\n'.join(answer.text.split('\n')[:2])
            for answer in (
                self.enroll(),
                self.enroll(headers={'Authorization': None}),
            )
        }
        self.assertEqual(1, len(texts), texts)

    def test_scheme_is_case_insensitive(self):
        self.redemption.redeem.return_value = fakes.Outcome(None)
        header = fakes.make_basic().replace('Basic', 'bAsIc')
        answer = self.enroll(headers={'Authorization': header})
        self.assertEqual(202, answer.status_int)

    def test_media_types(self):
        for named in (None, *hostile.MEDIA_TYPES):
            answer = self.enroll(headers={'Content-Type': named})
            self.assert_error(answer, 415, 'unsupported_media_type')
        self.assert_untouched()
        self.redemption.redeem.return_value = fakes.Outcome(None)
        for named in (
            'application/pkcs10; charset=utf-8',
            'APPLICATION/PKCS10',
        ):
            answer = self.enroll(headers={'Content-Type': named})
            self.assertEqual(202, answer.status_int)

    def test_size(self):
        answer = self.enroll(b'A' * (16 * 1024 + 1))
        self.assert_error(answer, 413, 'body_too_large')
        self.assert_untouched()
        self.enroll(b'A' * (16 * 1024))
        self.redemption.redeem.assert_called_once()

    def test_broken_chunks(self):
        """What the server says of them may quote them."""
        log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))

        class Stream:
            def read(self, size=-1):
                raise ValueError('Invalid chunk size: secret')

        answer = self.ask(
            fakes.EST + 'simpleenroll',
            'POST',
            headers={
                'Authorization': fakes.make_basic(),
                'Content-Type': 'application/pkcs10',
            },
            environ={
                'CONTENT_LENGTH': '',
                'wsgi.input': Stream(),
                'wsgi.input_terminated': True,
            },
        )
        self.assert_error(answer, 400, 'bad_request')
        self.assertNotIn('secret', answer.text + log.output)
        self.redemption.redeem.assert_not_called()

    def test_client_certificate_is_no_token(self):
        answer = self.enroll(
            headers={'Authorization': None},
            peer=self.pki.issue_instance().der,
        )
        self.assert_error(answer, 401, 'unauthorized')
        self.assert_untouched()


class TestEnrollErrors(testscenarios.WithScenarios, fakes.AppTestCase):
    scenarios = [
        (reason, {'error': error, 'status': status, 'reason': reason})
        for error, status, reason in fakes.REDEMPTION_ERRORS
    ]

    def test_enroll(self):
        self.redemption.redeem.side_effect = self.error()
        answer = self.enroll()
        self.assert_error(answer, self.status, self.reason)
        has_pause = self.status in (429, 503)
        self.assertEqual(has_pause, 'Retry-After' in answer.headers)
        is_401 = self.status == 401
        self.assertEqual(is_401, 'WWW-Authenticate' in answer.headers)
        self.assertNotIn('a bug', answer.text)

    def test_reenroll(self):
        self.redemption.renew.side_effect = self.error()
        answer = self.ask(
            fakes.EST + 'simplereenroll',
            'POST',
            body=base64.b64encode(pki.make_csr()),
            headers={'Content-Type': 'application/pkcs10'},
            peer=self.pki.issue_instance().der,
        )
        self.assert_error(answer, self.status, self.reason)


class TestReenroll(fakes.AppTestCase):
    def reenroll(self, peer, body=None, **kwargs):
        headers = {'Content-Type': 'application/pkcs10'}
        headers.update(kwargs.pop('headers', {}))
        return self.ask(
            fakes.EST + 'simplereenroll',
            'POST',
            body=base64.b64encode(body or pki.make_csr()),
            headers=headers,
            peer=peer,
            **kwargs,
        )

    def test_issued(self):
        pair = self.pki.issue_instance()
        leaf = self.pki.issue_instance()
        csr = pki.make_csr()
        self.redemption.renew.return_value = fakes.Outcome(
            leaf.der, (self.pki.instance.der,)
        )
        answer = self.reenroll(pair.der, csr)
        self.assertEqual(200, answer.status_int)
        self.assertIn(leaf.der, read_certificates(answer))
        self.redemption.renew.assert_called_once_with(
            pair.der, csr, answer.headers['X-Openstack-Request-Id']
        )

    def test_without_certificate(self):
        self.assert_error(self.reenroll(None), 401, 'unauthorized')
        self.assert_untouched()

    def test_a_token_is_no_certificate(self):
        answer = self.reenroll(
            None, headers={'Authorization': fakes.make_basic()}
        )
        self.assert_error(answer, 401, 'unauthorized')
        self.assert_untouched()

    def test_certificate_headers_are_ignored(self):
        """IDENTITY 5: the TLS socket alone says who it is."""
        pem = self.pki.issue_instance().pem.decode().replace('\n', '%0A')
        answer = self.reenroll(
            None,
            headers={
                'X-Client-Cert': pem,
                'X-SSL-Client-Cert': pem,
                'SSL-Client-Cert': pem,
                'X-Forwarded-Client-Cert': 'Cert="%s"' % pem,
                'Client-Cert': ':%s:' % pem,
            },
            environ={
                'SSL_CLIENT_CERT': pem,
                'SSL_CLIENT_VERIFY': 'SUCCESS',
                'gunicorn.socket': object(),
            },
        )
        self.assert_error(answer, 401, 'unauthorized')
        self.assert_untouched()

    def test_foreign_certificates(self):
        foreign = pki.Pki()
        for pair in (
            foreign.issue_instance(),
            self.pki.issue_own(),
            self.pki.issue_instance(usages=[pki.SERVER]),
            self.pki.issue_instance(usages=[]),
            self.pki.instance,
            self.pki.root,
            pki.issue('x', self.pki.service, usages=[pki.CLIENT]),
            pki.issue('x', self.pki.instance, usages=[pki.CLIENT], is_ca=True),
        ):
            self.assert_error(
                self.reenroll(pair.der), 403, 'certificate_revoked'
            )
        self.assert_error(self.reenroll(b'x'), 403, 'certificate_revoked')
        self.assert_untouched()

    def test_certificate_of_a_retiring_intermediate(self):
        other = pki.Pki()
        chain = models.Chain(
            self.pki.chain.root,
            self.pki.chain.service,
            other.chain.instance,
            (self.pki.chain.instance,),
        )
        for issuer in (self.pki, other):
            peer.check(issuer.issue_instance().der, chain)

    def test_same_name_other_key(self):
        """The issuer's signature counts, not its name."""
        fake = pki.issue('instance', is_ca=True)
        pair = pki.issue('x', fake, usages=[pki.CLIENT])
        self.assert_error(self.reenroll(pair.der), 403, 'certificate_revoked')

    def test_bad_body(self):
        der = self.pki.issue_instance().der
        self.assert_error(
            self.ask(
                fakes.EST + 'simplereenroll',
                'POST',
                body=b'!',
                headers={'Content-Type': 'application/pkcs10'},
                peer=der,
            ),
            400,
            'csr_malformed',
        )
        self.assert_untouched()


class TestChain(fakes.AppTestCase):
    def test_chain_away(self):
        def fail() -> models.Chain:
            raise exceptions.CAUnavailable()

        self.app = app.build(
            services.Services(self.redemption, fail, self.crls.get),
            fakes.Settings(),
        )
        for answer in (
            self.ask(fakes.EST + 'cacerts'),
            self.ask('/ca.crt'),
        ):
            self.assert_error(answer, 503, 'ca_unavailable')


class TestWellFormed(fakes.AppTestCase):
    def test_openssl_can_read_it(self):
        """The answer is a PKCS#7 of certificates and nothing else."""
        answer = self.ask(fakes.EST + 'cacerts')
        found = pkcs7.load_der_pkcs7_certificates(
            base64.b64decode(answer.body)
        )
        self.assertEqual(3, len(found))
        self.assertIsInstance(found[0], x509.Certificate)
        self.assertTrue(
            all(len(line) <= 64 for line in answer.body.split(b'\n'))
        )
