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
"""Enrolling: from the vendordata to the certificate on the disk."""

import base64
import hashlib
import json
import os
import shutil
import stat

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
import testscenarios

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est


class TestEnroll(testscenarios.WithScenarios, harness.GuestTestCase):
    """The whole way, in every shell and with both TLS clients."""

    scenarios = harness.tls_scenarios()
    has_curl: bool

    def setUp(self) -> None:
        super().setUp()
        if not self.has_curl:
            (self.toolbox / 'curl').unlink()

    def test_enroll(self) -> None:
        """A key of its own, a checked certificate, the receipt (NJ13)."""
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        done = self.enroll()
        digest = hashlib.sha256(harness.canonical(self.payload)).hexdigest()
        # EM7: both ends print the digest of the payload.
        self.assertIn(digest, done.stdout)

        request = self.peer.asked(est.CSR_PATH)[0]
        self.assertEqual('application/pkcs10', request.headers['content-type'])
        self.check_csr(request.csr())
        key = serialization.load_pem_private_key(self.current('key.pem'), None)
        self.assertIsInstance(key, ec.EllipticCurvePrivateKey)
        self.assertEqual(
            self.peer.issued[request.public_key()],
            x509.load_pem_x509_certificate(self.current('cert.pem')),
        )
        self.assertEqual(
            self.current('cert.pem') + self.current('chain.pem'),
            self.current('fullchain.pem'),
        )
        self.assertEqual(
            [self.authority.instance.certificate],
            x509.load_pem_x509_certificates(self.current('chain.pem')),
        )
        self.assertEqual(
            self.authority.root.certificate,
            x509.load_pem_x509_certificate(self.current('ca.pem')),
        )
        [receipt] = self.peer.asked(est.RECEIPT_PATH)
        self.assertEqual(
            {'seq': 1, 'sha256': digest}, json.loads(receipt.body)
        )
        self.assertIsNotNone(receipt.certificate)
        self.check_modes()

    def check_csr(self, csr: x509.CertificateSigningRequest) -> None:
        """EM11: exactly what the payload says, and nothing else."""
        self.assertTrue(csr.is_signature_valid)
        self.assertEqual('CN=web-1.example.test', csr.subject.rfc4514_string())
        [extension] = csr.extensions
        self.assertEqual(
            [
                x509.DNSName('web-1.example.test'),
                x509.DNSName('www.example.test'),
                x509.UniformResourceIdentifier(f'urn:uuid:{self.uuid}'),
            ],
            list(extension.value),
        )
        self.assertEqual(1, len(csr.attributes))

    def check_modes(self) -> None:
        modes = {
            str(path.relative_to(self.state)): stat.S_IMODE(
                path.lstat().st_mode
            )
            for path in (self.state, *self.state.rglob('*'))
            if not path.is_symlink()
        }
        pair = f'{self.uuid}/1'
        self.assertEqual(
            {
                '.': 0o755,
                'clock': 0o644,
                'spent': 0o644,
                self.uuid: 0o755,
                f'{self.uuid}/seq': 0o644,
                f'{self.uuid}/receipt': 0o644,
                pair: 0o755,
                f'{pair}/key.pem': 0o600,
                f'{pair}/cert.pem': 0o644,
                f'{pair}/chain.pem': 0o644,
                f'{pair}/fullchain.pem': 0o644,
                f'{pair}/ca.pem': 0o644,
                f'{pair}/meta': 0o644,
                f'{pair}/request': 0o600,
            },
            modes,
        )

    def test_again(self) -> None:
        """A second run does nothing and says so in one line."""
        self.enroll()
        before = self.current('key.pem')
        asked = len(self.peer.requests)
        done = self.enroll()
        self.assertEqual(1, done.stdout.count('\n'))
        self.assertIn('nothing to do', done.stdout)
        self.assertEqual(before, self.current('key.pem'))
        self.assertEqual(asked, len(self.peer.requests))

    def test_renew(self) -> None:
        """A new key, by mutual TLS with the old one; the link moves once."""
        self.enroll()
        first = self.current('cert.pem')
        done = self.run_client('renew', '--force')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        [request] = self.peer.asked(est.RENEW_PATH)
        self.assertEqual(
            x509.load_pem_x509_certificate(first),
            x509.load_der_x509_certificate(request.certificate or b''),
        )
        self.assertNotIn('authorization', request.headers)
        self.check_csr(request.csr())
        self.assertNotEqual(
            self.peer.asked(est.CSR_PATH)[0].public_key(), request.public_key()
        )
        self.assertEqual(
            self.peer.issued[request.public_key()],
            x509.load_pem_x509_certificate(self.current('cert.pem')),
        )
        self.assertEqual(
            {'2', 'looked', 'receipt', 'seq'},
            {p.name for p in (self.state / self.uuid).iterdir()},
        )
        # The payload is the same, so the receipt is not owed again.
        self.assertEqual(1, len(self.peer.asked(est.RECEIPT_PATH)))

    def test_chunks(self) -> None:
        def chunked(request: est.Request) -> est.Answer:
            answer = self.peer.enroll(request)
            answer.chunked = True
            return answer

        self.peer.answers[est.CSR_PATH].append(chunked)
        self.enroll()

    def test_cut_answer(self) -> None:
        """Half an answer is none: it is fetched again, with the same key."""

        def cut(request: est.Request) -> est.Answer:
            answer = self.peer.enroll(request)
            answer.cut = True
            return answer

        self.peer.answers[est.CSR_PATH].append(cut)
        self.enroll()
        first, second = self.peer.asked(est.CSR_PATH)
        self.assertEqual(first.body, second.body)

    def test_server_of_another_ca(self) -> None:
        """EM12: one CA is trusted, whatever the system's store holds.

        The other CA really is in the store: the same programs, asked
        without the options of the client, accept its server.
        """
        public = est.Authority('public')
        store = self.folder / 'store.pem'
        store.write_bytes(
            public.root.certificate.public_bytes(serialization.Encoding.PEM)
        )
        for tool in ('curl', 'openssl'):
            if (self.toolbox / tool).exists():
                real = os.path.realpath(self.toolbox / tool)
                self.write_tool(
                    tool,
                    f'SSL_CERT_FILE={store} SSL_CERT_DIR={self.folder}'
                    f' CURL_CA_BUNDLE={store} exec {real} "$@"',
                )
        peer = self.start_peer(authority=public)
        if self.has_curl:
            check = ['-sS', '-d', 'x', '-o', 'out', f'{peer.url}/hello']
            done = self.run_program([str(self.toolbox / 'curl'), *check])
        else:
            where = peer.url.removeprefix('https://')
            options = ['-connect', where, '-verify_return_error', '-brief']
            done = self.run_program(
                [str(self.toolbox / 'openssl'), 's_client', *options]
            )
        self.assertEqual(0, done.returncode, done.stderr)
        peer.requests.clear()
        self.write_drive(
            self.make_payload(checkin=[{'url': peer.url, 'priority': 1}])
        )
        done = self.run_client('enroll')
        self.assertRefused(7, 'nothing was sent', done)
        self.assertEqual([], peer.requests)
        self.assertFalse((self.state / 'current').exists())

    def test_server_of_another_name(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = est.issue(
            'other',
            key.public_key(),
            self.authority.service,
            names=[x509.DNSName('other.example.test')],
        )
        for seq, host in enumerate(('127.0.0.1', 'localhost')):
            peer = self.start_peer(
                holder=est.Holder(
                    certificate, key, [self.authority.service.certificate]
                )
            )
            url = f'https://{host}:{peer.port}'
            self.write_drive(
                self.make_payload(
                    seq=seq, checkin=[{'url': url, 'priority': 1}]
                )
            )
            self.assertRefused(7, 'another name', self.run_client('enroll'))
            self.assertEqual([], peer.requests)

    def test_failover(self) -> None:
        """EM13: by priority; dead, wrong and busy ones are passed over."""
        busy = self.start_peer()
        busy.answers[est.CSR_PATH].append(est.refusal(503, 'busy'))
        stranger = self.start_peer(authority=est.Authority('public'))
        self.write_drive(
            self.make_payload(
                checkin=[
                    {'url': self.peer.url + '/', 'priority': 40},
                    {'url': 'https://127.0.0.1:1', 'priority': 5},
                    {'url': busy.url, 'priority': 30},
                    {'url': stranger.url, 'priority': 10},
                ]
            )
        )
        self.enroll()
        self.assertEqual([], stranger.requests)
        self.assertEqual(1, len(busy.asked(est.CSR_PATH)))
        self.assertEqual(1, len(self.peer.asked(est.CSR_PATH)))
        self.assertFalse(self.slept.exists())

    def test_address_forms(self) -> None:
        """EM13: names, IPv4, IPv6, a path before the well-known one."""
        other = self.start_peer(address='::1')
        for url in (
            f'https://localhost:{self.peer.port}',
            f'https://[::1]:{other.port}',
            f'https://127.0.0.1:{self.peer.port}/',
        ):
            self.write_drive(
                self.make_payload(checkin=[{'url': url, 'priority': 0}])
            )
            self.enroll()
            shutil.rmtree(self.state)
            self.peer.reissue(self.uuid, self.token)

    def test_zone(self) -> None:
        """EM13: a link-local address with its zone reaches the program."""
        self.write_drive(
            self.make_payload(
                checkin=[{'url': 'https://[fe80::1%25lo]:9', 'priority': 0}]
            )
        )
        tool = 'curl' if self.has_curl else 'openssl'
        real = os.path.realpath(self.toolbox / tool)
        # Nothing leaves this machine: a connection is only written down.
        connects = '*' if self.has_curl else 's_client'
        self.write_tool(
            tool,
            f'case $1 in {connects}) echo "$@" >>argv; exit 7 ;; esac\n'
            f'exec {real} "$@"',
        )
        done = self.run_client('enroll', '--timeout', '0')
        self.assertRefused(6, 'fe80::1%25lo', done)
        self.assertIn(
            'https://[fe80::1%25lo]:9/.well-known/est/simpleenroll'
            if self.has_curl
            else '-connect [fe80::1%lo]:9 ',
            (self.folder / 'argv').read_text(),
        )

    def test_metadata_service(self) -> None:
        """NJ6: the other way in."""
        metadata = est.Metadata(self.drive)
        self.addCleanup(metadata.stop)
        # Without curl: what there is, then nc alone.
        tools = [['curl']] if self.has_curl else [['wget', 'nc'], ['nc']]
        for some in tools:
            found = [
                tool for tool in some if self.has_curl or self.link_tool(tool)
            ]
            if not found:
                continue
            done = self.run_client(
                'enroll', '--metadata-url', metadata.url, source=False
            )
            self.assertEqual((0, ''), (done.returncode, done.stderr), found)
            self.assertEqual(
                ['vendor_data2.json', 'meta_data.json'], metadata.paths
            )
            metadata.paths.clear()
            for tool in found:
                (self.toolbox / tool).unlink()
            self.peer.reissue(self.uuid, self.token)
            shutil.rmtree(self.state)
        # Told which programs would do, once there is none of them.
        done = self.run_client(
            'probe', '--metadata-url', metadata.url, '--verbose', source=False
        )
        self.assertEqual(4, done.returncode)
        self.assertIn('neither curl nor wget nor nc', done.stdout)

    def test_not_asked(self) -> None:
        """NJ8: no join, an empty one, an old one: nothing happens."""
        for join in ({}, None, [], 'x', {'hostname': 'a', 'ipaotp': 'x'}):
            self.write_drive(join=join or {})
            done = self.run_client('enroll')
            self.assertEqual((3, ''), (done.returncode, done.stderr))
            self.assertIn('not asked to enroll', done.stdout)
            self.assertEqual(3, self.run_client('probe').returncode)
        self.assertEqual([], self.peer.requests)
        self.assertNothingKept()


class TestAnswers(harness.GuestTestCase):
    """Every row of the EST answer table of the check-in service."""

    def test_refusals(self) -> None:
        """A refusal is final, is told with its reason, and keeps the key."""
        for status, reason, advice in (
            (400, 'csr_malformed', 'update them'),
            (400, 'csr_signature', 'update them'),
            (400, 'csr_mismatch.dns', 'update them'),
            (400, 'csr_key', 'update them'),
            (400, 'key_reused', 'update them'),
            (401, 'unauthorized', '"reissue"'),
            (403, 'token_expired', '"reissue"'),
            (403, 'identity_refused', 'tells why'),
            (403, 'contested', 'another machine'),
            (403, 'suspended', 'restore it'),
            (409, 'key_conflict', 'another machine'),
            (410, 'closed', 'gone'),
            (413, 'too_large', 'see the log'),
            (415, 'media_type', 'see the log'),
        ):
            self.peer.requests.clear()
            self.peer.answers[est.CSR_PATH].append(est.refusal(status, reason))
            done = self.run_client('enroll')
            self.assertRefused(8, f'{status} {reason}: words for', done)
            self.assertIn('(req-123)', done.stderr)
            self.assertIn(advice, done.stderr)
            self.assertEqual(1, len(self.peer.requests))
        self.assertFalse(self.slept.exists())
        self.enroll()
        self.assertEqual(1, len(self.peer.issued))

    def test_accepted(self) -> None:
        """202: the same request again after what the service says."""
        for pause in ('5', '7', 'nonsense', '-1', '1e9', '100000000000'):
            self.peer.answers[est.CSR_PATH].append(
                est.Answer(202, headers={'Retry-After': pause})
            )
        self.enroll('--timeout', '1000')
        self.assertEqual(
            ['5', '7', '5', '5', '5', '120'],
            self.slept.read_text().split(),
        )
        self.assertEqual(
            1, len({r.body for r in self.peer.asked(est.CSR_PATH)})
        )

    def test_accepted_for_too_long(self) -> None:
        self.peer.answers[est.CSR_PATH].extend(
            [est.Answer(202, headers={'Retry-After': '5'})] * 100
        )
        done = self.run_client('enroll', '--timeout', '12')
        self.assertRefused(6, 'still waiting', done)
        self.assertLess(len(self.peer.requests), 8)
        self.peer.answers.clear()
        key = self.peer.requests[0].public_key()
        self.enroll()
        self.assertEqual({key}, set(self.peer.issued))

    def test_passing_errors(self) -> None:
        """What may pass is tried again, no sooner than the service says."""
        self.peer.answers[est.CSR_PATH].extend(
            [
                est.refusal(503, 'unavailable', **{'Retry-After': '9'}),
                est.refusal(429, 'rate', **{'Retry-After': '20'}),
                est.refusal(500, 'internal'),
                est.refusal(404, 'not_found'),
                est.refusal(405, 'method'),
                est.Answer(302, headers={'Location': 'https://127.0.0.1:1/'}),
                est.Answer(201),
            ]
        )
        self.enroll('--timeout', '1000')
        slept = [int(s) for s in self.slept.read_text().split()]
        self.assertEqual(7, len(slept))
        self.assertEqual([9, 20], slept[:2])
        self.assertTrue(all(s <= 30 for s in slept))

    def test_nobody_there(self) -> None:
        self.write_drive(
            self.make_payload(
                checkin=[{'url': 'https://127.0.0.1:1', 'priority': 1}]
            )
        )
        done = self.run_client('enroll', '--timeout', '0')
        self.assertRefused(6, 'https://127.0.0.1:1', done)
        self.assertFalse(self.slept.exists())

    def test_hostile_text(self) -> None:
        """What a service says cannot drive a terminal or fill a log."""
        body = b'csr_key\x1b[2J;$(touch pwned)\n' + b'\x1b]0;x\x07`id`' * 9999
        self.peer.answers[est.CSR_PATH].append(
            est.Answer(403, body + b'\n\xff\x00\n')
        )
        done = self.run_client('enroll')
        self.assertRefused(8, '403 csr_key2Jtouchpwned', done)
        self.assertTrue(done.stderr[:-1].isprintable())
        self.assertLess(len(done.stderr), 800)
        self.assertFalse((self.folder / 'pwned').exists())

    def test_bad_answers(self) -> None:
        """A certificate that is not what was asked for is not used."""
        stranger = est.Authority('stranger')
        other_key = ec.generate_private_key(ec.SECP256R1())
        good_names = [
            x509.DNSName('web-1.example.test'),
            x509.DNSName('www.example.test'),
            x509.UniformResourceIdentifier(f'urn:uuid:{self.uuid}'),
        ]
        intermediate = self.authority.instance.certificate

        def signed(**changes: object) -> 'est.Callable[..., est.Answer]':
            def answer(request: est.Request) -> est.Answer:
                certificate = self.peer.sign(request.csr(), **changes)
                return est.certificates_only([certificate, intermediate])

            return answer

        def of_another_key(request: est.Request) -> est.Answer:
            certificate = est.issue(
                request.csr().subject,
                other_key.public_key(),
                self.authority.instance,
                names=good_names,
            )
            return est.certificates_only([certificate, intermediate])

        def with_root(request: est.Request) -> est.Answer:
            # A whole chain to a root that comes along is no better.
            certificate = self.peer.sign(
                request.csr(), issuer=stranger.instance
            )
            return est.certificates_only(
                [
                    certificate,
                    stranger.instance.certificate,
                    stranger.root.certificate,
                ]
            )

        def without_intermediate(request: est.Request) -> est.Answer:
            return est.certificates_only([self.peer.sign(request.csr())])

        type_ok = {'Content-Type': 'application/pkcs7-mime'}
        for answer, words in (
            (with_root, 'does not lead to the CA'),
            (without_intermediate, 'does not lead to the CA'),
            (of_another_key, 'for the key of this instance'),
            (signed(names=good_names[:2]), 'names something else'),
            (
                signed(names=[*good_names, x509.DNSName('*.example.test')]),
                'names something else',
            ),
            (
                signed(
                    names=[*good_names[1:], x509.RFC822Name('a@example.test')]
                ),
                'names something else',
            ),
            (
                signed(subject=x509.Name.from_rfc4514_string('CN=other.test')),
                'subject of the certificate is another',
            ),
            (est.Answer(200, b'aGVsbG8=', type_ok), 'not a PKCS#7'),
            (est.Answer(200, b'', type_ok), 'not a PKCS#7'),
            (est.Answer(200, b'\x00\xff$(id)', type_ok), 'not a PKCS#7'),
            (
                est.Answer(200, b'x', {'Content-Type': 'text/html'}),
                'not application/pkcs7-mime',
            ),
        ):
            self.peer.answers[est.CSR_PATH].append(answer)
            done = self.run_client('enroll')
            self.assertRefused(9, words, done)
            self.assertFalse((self.state / 'current').is_symlink())
        self.enroll()
        self.assertEqual(
            1, len({r.public_key() for r in self.peer.asked(est.CSR_PATH)})
        )

    def test_answer_without_line_ends(self) -> None:
        def flat(request: est.Request) -> est.Answer:
            answer = self.peer.enroll(request)
            answer.body = answer.body.replace(b'\n', b'')
            answer.headers = {'Content-Type': 'Application/PKCS7-MIME'}
            return answer

        self.peer.answers[est.CSR_PATH].append(flat)
        self.enroll()


class TestReceipts(harness.GuestTestCase):
    def test_owed(self) -> None:
        """It never stands in the way, and is sent until it is taken."""
        self.peer.answers[est.RECEIPT_PATH].append(est.refusal(503, 'busy'))
        done = self.run_client('enroll')
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn('the next run sends it again', done.stderr)
        self.assertIn('receipt=owed', self.run_client('status').stdout)
        self.enroll()
        self.assertIn('receipt=sent', self.run_client('status').stdout)
        self.assertEqual(
            1, len({r.body for r in self.peer.asked(est.RECEIPT_PATH)})
        )
        self.assertEqual(2, len(self.peer.asked(est.RECEIPT_PATH)))

    def test_another_digest(self) -> None:
        """409: somebody changed the payload on its way."""
        self.peer.answers[est.RECEIPT_PATH].append(
            est.refusal(409, 'receipt_conflict')
        )
        done = self.run_client('enroll')
        self.assertEqual(0, done.returncode)
        self.assertIn('find out who changed it', done.stderr)


class TestKeys(harness.GuestTestCase):
    def test_kinds(self) -> None:
        """The first kind that the payload allows and the client can make."""
        for kinds, size in (
            (['ec-p384', 'ml-dsa-65'], 384),
            (['rsa-3072'], 3072),
            (['rsa-3072', 'ec-p256'], 256),
        ):
            self.write_drive(self.make_payload(csr__keys=kinds))
            self.enroll()
            key = serialization.load_pem_private_key(
                self.current('key.pem'), None
            )
            self.assertEqual(size, key.key_size)
            shutil.rmtree(self.state)
            self.peer.reissue(self.uuid, self.token)

    def test_addresses(self) -> None:
        """EM11: IP names, however the certificate spells them."""
        self.write_drive(
            self.make_payload(csr__ip=['192.0.2.7', '2001:db8:0:0::7'])
        )
        self.enroll()
        self.assertIn(
            'name=IP:2001:DB8:0:0:0:0:0:7\n', self.run_client('status').stdout
        )

    def test_ca_in_order(self) -> None:
        """The payload holds the CA as base64 of its DER, on one line."""
        ca = base64.b64decode(self.payload['ca'])
        self.enroll()
        self.assertEqual(
            ca,
            x509.load_pem_x509_certificate(
                self.current('ca.pem')
            ).public_bytes(serialization.Encoding.DER),
        )
