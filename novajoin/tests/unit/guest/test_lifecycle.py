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
"""The life after the first certificate: renewals, clones, rebuilds."""

import datetime
import shutil
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est


class LifecycleTestCase(harness.GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = self.folder / 'clock'
        self.environment['NOVAJOIN_DATE_COMMAND'] = str(
            self.toolbox / 'clock-tool'
        )
        self.write_tool('clock-tool', f'cat {self.clock}')
        self.set_clock(est.now())

    def set_clock(self, when: datetime.datetime) -> None:
        self.clock.write_text(f'{int(when.timestamp())}\n')

    def status(self) -> dict[str, str]:
        return dict(
            line.split('=', 1)
            for line in self.run_client('status').stdout.splitlines()
        )

    def key(self) -> bytes:
        """The public key in use, as a request carries it."""
        return (
            serialization.load_pem_private_key(self.current('key.pem'), None)
            .public_key()
            .public_bytes(
                serialization.Encoding.DER,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            )
        )

    def new_generation(self, **changes: object) -> None:
        """What the cloud shows after a `reissue` or a rebuild."""
        self.token = 'njt1_' + '765432zy' * 7 + 'ab'
        self.peer.reissue(self.uuid, self.token)
        self.write_drive(self.make_payload(token=self.token, **changes))

    def without_token(self, seq: int = 2) -> None:
        """What the cloud shows once the token was redeemed."""
        self.write_drive(self.make_payload(token=None, seq=seq))


class TestRenew(LifecycleTestCase):
    def test_due(self) -> None:
        """At two thirds of the life, at the latest at three quarters."""
        self.peer.life = datetime.timedelta(hours=36)
        self.enroll()
        certificate = x509.load_pem_x509_certificate(self.current('cert.pem'))
        start = certificate.not_valid_before_utc
        before = self.key()
        for hours in (1, 12, 23.9):
            self.set_clock(start + datetime.timedelta(hours=hours))
            done = self.run_client('renew')
            self.assertEqual((0, ''), (done.returncode, done.stderr))
            self.assertIn('nothing to do', done.stdout)
        self.assertEqual(before, self.key())
        self.set_clock(start + datetime.timedelta(hours=27))
        done = self.run_client('renew')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertNotEqual(before, self.key())
        self.assertEqual(1, len(self.peer.asked(est.RENEW_PATH)))

    def test_draw(self) -> None:
        """The moment differs from certificate to certificate."""
        moments = set()
        for _ in range(3):
            self.peer.reissue(self.uuid, self.token)
            shutil.rmtree(self.state, ignore_errors=True)
            self.enroll()
            status = self.status()
            start, end = int(status['not_before']), int(status['not_after'])
            share = (int(status['renewal']) - start) / (end - start)
            self.assertTrue(2 / 3 - 0.01 <= share <= 3 / 4, share)
            moments.add(round(share, 9))
        self.assertEqual(3, len(moments))

    def test_without_the_cloud(self) -> None:
        """No metadata at that hour: the names of the enrollment stand."""
        self.enroll()
        shutil.rmtree(self.drive / 'openstack')
        done = self.run_client('renew', '--force')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        [enrolled], [renewed] = (
            self.peer.asked(path)[0].csr().extensions
            for path in (est.CSR_PATH, est.RENEW_PATH)
        )
        self.assertEqual(enrolled.value, renewed.value)

    def test_names_that_came_later(self) -> None:
        """A newer payload gives the names of the next certificate."""
        self.enroll()
        names = ['api.example.test', 'web-1.example.test']
        self.write_drive(self.make_payload(token=None, seq=2, csr__dns=names))
        done = self.run_client('renew', '--force')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn('DNS:api.example.test', self.run_client('status').stdout)

    def test_no_call_to_nova(self) -> None:
        """While nothing is due, novajoin is not asked through nova."""
        self.enroll()
        metadata = est.Metadata(self.drive)
        self.addCleanup(metadata.stop)
        done = self.run_client(
            'renew', '--metadata-url', metadata.url, source=False
        )
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(['meta_data.json'], metadata.paths)

    def test_look_once_a_day(self) -> None:
        """A `reissue` is found by the timer, without much asking."""
        self.peer.life = datetime.timedelta(days=30)
        self.enroll()
        before = self.key()
        metadata = est.Metadata(self.drive)
        self.addCleanup(metadata.stop)
        options = ('--metadata-url', metadata.url)
        for hours, asks in ((23, 0), (25, 1), (26, 0), (48, 0), (50, 1)):
            self.set_clock(est.now() + datetime.timedelta(hours=hours))
            metadata.paths.clear()
            done = self.run_client('renew', *options, source=False)
            self.assertEqual((0, ''), (done.returncode, done.stderr))
            self.assertEqual(asks, metadata.paths.count('vendor_data2.json'))
        self.assertEqual(before, self.key())
        self.new_generation(seq=2, instance__generation=2)
        self.set_clock(est.now() + datetime.timedelta(hours=75))
        done = self.run_client('renew', *options, source=False)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertNotEqual(before, self.key())
        self.assertEqual('2', self.status()['generation'])

    def test_bad_payload(self) -> None:
        """A payload that is refused does not stand in a renewal's way."""
        self.write_drive(self.make_payload(seq=7))
        self.enroll()
        for payload in (
            self.make_payload(seq=6),
            self.make_payload(seq=8, csr__dns=['$(touch pwned)']),
        ):
            before = self.key()
            self.write_drive(payload)
            done = self.run_client('renew', '--force')
            self.assertEqual(0, done.returncode, done.stderr)
            self.assertIn('is refused: ', done.stderr)
            self.assertIn('renewed: ', done.stdout)
            self.assertNotEqual(before, self.key())

    def test_clone_without_meta_data(self) -> None:
        """The payload alone tells as well that this is a copy."""
        self.enroll()
        before = self.key()
        self.uuid = str(uuid.uuid4())
        self.peer.reissue(self.uuid, self.token)
        self.write_drive(self.make_payload())
        (self.drive / 'openstack/latest/meta_data.json').unlink()
        done = self.run_client('renew', '--force')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertNotEqual(before, self.key())
        self.assertEqual(self.uuid, self.status()['instance'])

    def test_same_key_after_no_answer(self) -> None:
        """The key of a renewal that got no answer is used again."""
        self.enroll()
        before = self.key()
        self.peer.answers[est.RENEW_PATH].extend(
            [est.Answer(202), est.refusal(503, 'busy')]
        )
        done = self.run_client('renew', '--force', '--timeout', '5')
        self.assertRefused(6, '503, busy', done)
        self.assertEqual(before, self.key())
        done = self.run_client('renew', '--force')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        keys = {r.public_key() for r in self.peer.asked(est.RENEW_PATH)}
        self.assertEqual({self.key()}, keys)

    def test_refused(self) -> None:
        self.enroll()
        before = self.key()
        for reason in ('contested', 'certificate_revoked'):
            self.peer.answers[est.RENEW_PATH].append(est.refusal(403, reason))
            done = self.run_client('renew', '--force')
            self.assertRefused(8, f'403 {reason}', done)
        self.assertEqual(before, self.key())

    def test_not_enrolled(self) -> None:
        """The timer finishes what the boot could not."""
        done = self.run_client('renew')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn('enrolled: ', done.stdout)
        self.write_drive(join={})
        self.run_client('wipe')
        self.assertEqual(3, self.run_client('renew').returncode)

    def test_expired(self) -> None:
        """Past its end a certificate renews nothing; a new token does."""
        self.enroll()
        before = self.key()
        self.set_clock(est.now() + datetime.timedelta(days=3))
        self.without_token()
        done = self.run_client('renew')
        self.assertRefused(12, "ask the operator for a 'reissue'", done)
        self.assertEqual(14, self.run_client('status').returncode)
        self.new_generation(seq=3, instance__generation=2)
        self.peer.life = datetime.timedelta(days=30)
        done = self.run_client('renew')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertNotEqual(before, self.key())


class TestHook(LifecycleTestCase):
    def test_each_certificate(self) -> None:
        """Once for each certificate, and again until it succeeds."""
        self.write_tool(
            'hook',
            'read serial <"$1/meta"\n'
            'echo "${serial##* } ${SSL_CERT_FILE-unset}" >>hooked\n'
            '[ -s fine ]',
        )
        calls = self.folder / 'hooked'
        options = ('--hook', str(self.toolbox / 'hook'))
        done = self.run_client('enroll', *options)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn('hook ended with exit code 1; the next', done.stderr)
        (self.folder / 'fine').write_text('x')
        for command in ('enroll', 'renew', 'enroll'):
            done = self.run_client(command, *options)
            self.assertEqual((0, ''), (done.returncode, done.stderr))
        first = self.status()['serial']
        for _ in range(2):
            self.run_client('renew', '--force', *options)
            self.run_client('renew', *options)
        lines = calls.read_text().splitlines()
        self.assertEqual([f'{first} unset'] * 2, lines[:2])
        self.assertEqual(4, len(lines))
        self.assertEqual(3, len(set(lines)))
        self.assertEqual(f'{self.status()["serial"]} unset', lines[-1])


class TestOrder(LifecycleTestCase):
    def test_older_payload(self) -> None:
        """EM9: a lower seq for the same uuid is refused."""
        self.write_drive(self.make_payload(seq=7))
        self.enroll()
        self.run_client('renew', '--force')
        before = self.key()
        self.write_drive(self.make_payload(seq=6))
        done = self.run_client()
        self.assertRefused(5, 'its seq is 6 and 7 was seen', done)
        self.write_drive(self.make_payload(seq=7, params={}))
        done = self.run_client()
        self.assertRefused(5, 'its content is another', done)
        self.assertEqual(before, self.key())

    def test_older_drive(self) -> None:
        """The drive of the first day, and a newer payload since."""
        self.without_token(seq=9)
        metadata = est.Metadata(self.drive)
        self.addCleanup(metadata.stop)
        self.write_drive(self.make_payload(seq=9))
        self.run_client('enroll', '--metadata-url', metadata.url, source=False)
        self.write_drive(self.make_payload(seq=1))
        self.assertRefused(5, 'its seq is 1 and 9', self.run_client())
        # Looked for everywhere, the old drive is only passed over.
        self.show_sources(self.drive, None)
        done = self.run_client('enroll', '--timeout', '0', source=False)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn('nothing to do', done.stdout)

    def test_reissue(self) -> None:
        """A new generation means a new key, beside the old one's end."""
        self.enroll()
        before = self.key()
        self.new_generation(seq=2, instance__generation=2)
        done = self.enroll()
        self.assertIn('enrolled: ', done.stdout)
        self.assertNotEqual(before, self.key())
        self.assertEqual('2', self.status()['generation'])

    def test_reissue_that_is_refused(self) -> None:
        """Until the new one is there, the old one stays in use."""
        self.enroll()
        before = self.key()
        self.new_generation(seq=2, instance__generation=2)
        self.peer.answers[est.CSR_PATH].append(est.refusal(403, 'suspended'))
        self.assertEqual(8, self.run_client().returncode)
        self.assertEqual(before, self.key())

    def test_drive_with_a_dead_token(self) -> None:
        """IDENTITY 1.9: the drive stays; the metadata has the new token."""
        other = self.folder / 'metadata'
        shutil.copytree(self.drive, other)
        drive, self.drive = self.drive, other
        self.new_generation(seq=2, instance__generation=2)
        metadata = est.Metadata(other)
        self.addCleanup(metadata.stop)
        self.drive = drive
        self.show_sources(drive, metadata.url)
        done = self.run_client('enroll', source=False)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn('the metadata service has another', done.stdout)
        self.assertEqual('2', self.status()['generation'])
        first, second = self.peer.asked(est.CSR_PATH)
        self.assertNotEqual(first.public_key(), second.public_key())

    def test_redeemed_elsewhere(self) -> None:
        self.without_token()
        self.assertRefused(12, 'the payload has no token', self.run_client())
        self.assertNothingKept()


class TestCopies(LifecycleTestCase):
    def become(self, name: str) -> None:
        """Boot the same disk as another instance."""
        self.uuid = name
        self.peer.reissue(name, self.token)
        self.write_drive(self.make_payload())

    def test_clone(self) -> None:
        """Another uuid in the metadata: wipe, and enroll anew."""
        self.enroll()
        original, before = self.uuid, self.key()
        self.become(str(uuid.uuid4()))
        done = self.enroll()
        self.assertIn(f'this is a copy of instance {original}', done.stdout)
        self.assertNotEqual(before, self.key())
        self.assertFalse((self.state / original).exists())
        self.assertEqual(self.uuid, self.status()['instance'])

    def test_clone_by_timer(self) -> None:
        self.enroll()
        before = self.key()
        self.become(str(uuid.uuid4()))
        done = self.run_client('renew')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertNotEqual(before, self.key())

    def test_clone_that_is_not_asked(self) -> None:
        """It keeps nothing of its original, though it gets nothing."""
        self.enroll()
        other = str(uuid.uuid4())
        self.write_drive(join={}, meta_uuid=other)
        self.assertEqual(3, self.run_client().returncode)
        self.assertNothingKept()

    def test_clone_of_an_interrupted_one(self) -> None:
        """Nor does it go on with the original's token."""
        self.peer.answers[est.CSR_PATH].append(est.refusal(403, 'suspended'))
        self.assertEqual(8, self.run_client().returncode)
        self.write_drive(join={}, meta_uuid=str(uuid.uuid4()))
        self.assertEqual(3, self.run_client().returncode)
        self.assertNothingKept()
        self.assertEqual(1, len(self.peer.requests))

    def test_rebuild(self) -> None:
        """A higher epoch: nothing of the old machine is used."""
        self.enroll()
        before = self.key()
        self.new_generation(seq=2, instance__epoch=2)
        done = self.enroll()
        self.assertIn('rebuilt (epoch 1, now 2)', done.stdout)
        self.assertNotEqual(before, self.key())
        self.assertEqual('2', self.status()['epoch'])
        # And the old epoch never comes back.
        self.write_drive(self.make_payload(seq=3, instance__epoch=1))
        self.assertRefused(5, 'its epoch is 1 and 2', self.run_client())

    def test_rebuild_without_token(self) -> None:
        self.enroll()
        self.write_drive(
            self.make_payload(seq=2, instance__epoch=2, token=None)
        )
        self.assertRefused(12, 'has no token', self.run_client())
        self.assertNothingKept()


class TestDamage(LifecycleTestCase):
    def test_files(self) -> None:
        """Noticed at once, told by name, and never mended with the token."""
        self.enroll()
        folder = (self.state / 'current').resolve()
        for name in (
            *('key.pem', 'cert.pem', 'chain.pem', 'fullchain.pem'),
            *('ca.pem', 'request', 'meta'),
        ):
            good = (folder / name).read_bytes()
            for bad in (b'', b'garbage\n', None):
                if bad == b'garbage\n' and name not in ('key.pem', 'ca.pem'):
                    continue
                if bad == b'' and name == 'chain.pem':
                    continue
                (folder / name).unlink()
                if bad is not None:
                    (folder / name).write_bytes(bad)
                status = self.run_client('status')
                self.assertEqual(14, status.returncode, name)
                self.assertIn('state=damaged\n', status.stdout)
                self.assertIn(f'/current/{name}\n', status.stdout)
                done = self.run_client('renew', '--force')
                self.assertEqual(12, done.returncode, done.stderr)
                self.assertIn(f'current/{name} is damaged', done.stderr)
                self.assertIn("ask the operator for a 'reissue'", done.stderr)
                (folder / name).write_bytes(good)
        self.assertEqual('', self.peer.revoked)
        self.assertEqual(0, self.run_client('renew', '--force').returncode)

    def test_status_for_everybody(self) -> None:
        """A key that one may not read is not damaged. (Root may read all.)"""
        self.enroll()
        (self.state / 'current/key.pem').chmod(0)
        self.assertEqual('enrolled', self.status()['state'])

    def test_another_key(self) -> None:
        self.enroll()
        path = (self.state / 'current').resolve() / 'key.pem'
        self.run_program(
            [
                *('openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt'),
                *('ec_paramgen_curve:P-256', '-out', str(path)),
            ]
        )
        self.assertEqual(14, self.run_client('status').returncode)
        done = self.run_client('renew')
        self.assertEqual(12, done.returncode, done.stderr)

    def test_reissue(self) -> None:
        """What the message advises helps."""
        self.enroll()
        (self.state / 'current').resolve().joinpath('key.pem').write_text('')
        self.new_generation(seq=2, instance__generation=2)
        done = self.run_client('renew')
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual('enrolled', self.status()['state'])


class TestStates(LifecycleTestCase):
    def test_without_credential(self) -> None:
        """The cloud asked, and says in a word why it gives no token."""
        for state, code, words in (
            ('expired', 12, "expired: the token was not used in time; ask"),
            ('contested', 8, 'contested: another machine used the token'),
            ('suspended', 8, 'suspended: the instance is soft-deleted'),
            ('offered', 12, 'offered, and it shows no token to a running'),
        ):
            self.write_drive(join={'hostname': 'a.test', 'state': state})
            for command in ('enroll', 'renew'):
                self.assertRefused(code, words, self.run_client(command))
            self.assertEqual(0, self.run_client('probe').returncode)
        self.assertEqual([], self.peer.requests)

    def test_two_sources(self) -> None:
        """The state of the drive, when the metadata has nothing to say."""
        self.write_drive(join={'hostname': 'a.test', 'state': 'expired'})
        self.show_sources(self.drive, None)
        done = self.run_client('enroll', '--timeout', '0', source=False)
        self.assertRefused(12, "ask the operator for a 'reissue'", done)

    def test_hostile(self) -> None:
        for state in ('', 'x y', 'a' * 40, '$(touch pwned)', '\n'):
            self.write_drive(join={'hostname': 'a.test', 'state': state})
            self.assertEqual(3, self.run_client().returncode)
        self.assertEqual([], list(self.folder.rglob('*pwned*')))

    def test_enrolled(self) -> None:
        """A valid certificate stays what it is."""
        self.enroll()
        self.write_drive(join={'hostname': 'a.test', 'state': 'suspended'})
        self.assertIn('nothing to do', self.enroll().stdout)


class TestCommands(LifecycleTestCase):
    def test_status_and_wipe(self) -> None:
        """Idempotent, and nothing is left."""
        for _ in range(2):
            self.assertEqual(3, self.run_client('status').returncode)
            self.assertEqual(0, self.run_client('wipe').returncode)
        self.assertFalse(self.state.exists())
        self.enroll()
        self.assertEqual(0, self.run_client('status').returncode)
        self.assertEqual('enrolled', self.status()['state'])
        for _ in range(2):
            self.assertEqual(0, self.run_client('wipe').returncode)
        self.assertEqual(['spent'], [p.name for p in self.state.iterdir()])
        self.assertEqual(3, self.run_client('status').returncode)

    def test_probe(self) -> None:
        """It writes nothing."""
        self.assertEqual(0, self.run_client('probe').returncode)
        self.write_drive(join={})
        self.assertEqual(3, self.run_client('probe').returncode)
        shutil.rmtree(self.drive / 'openstack')
        done = self.run_client('probe')
        self.assertEqual(4, done.returncode)
        self.assertIn('can be read', done.stdout)
        self.assertFalse(self.state.exists())
        self.assertEqual([], self.peer.requests)

    def test_no_source(self) -> None:
        """Nothing to read: told after the time that may be spent."""
        shutil.rmtree(self.drive / 'openstack')
        done = self.run_client('enroll', '--timeout', '20')
        self.assertRefused(4, 'neither a config drive nor', done)
        slept = [int(s) for s in self.slept.read_text().split()]
        self.assertEqual([1, 2, 4, 8], slept)

    def test_usage(self) -> None:
        for arguments, words in (
            (['enrol'], "'enrol'"),
            (['enroll', '--frob'], "'--frob'"),
            (['enroll', 'x'], "'x'"),
            (['enroll', '--timeout'], '--timeout needs a value'),
            (['enroll', '--timeout', 'soon'], 'not a number'),
            (['enroll', '--timeout', '-1'], 'not a number'),
            (['enroll', '--source', 'disk'], 'drive, metadata or auto'),
            (['enroll', '--config-drive', '/nonexistent'], 'not a directory'),
            (['enroll', '--hook', '/etc/passwd'], 'is not a program'),
            (['enroll', '--metadata-url', 'ftp://x'], 'not an http URL'),
            (['enroll', '--metadata-url', 'http://x y'], 'not an http URL'),
            (['enroll', '--state-dir', ''], 'not usable'),
            (['enroll', '--state-dir', 'a\nb'], 'not usable'),
            (['flatten', '/nonexistent'], 'flatten needs a FILE'),
        ):
            shell, _ = harness.flavors()[self.flavor]
            done = self.run_program([*shell, str(harness.CLIENT), *arguments])
            self.assertRefused(2, words, done)

    def test_help(self) -> None:
        shell, _ = harness.flavors()[self.flavor]
        for arguments in (['--help'], ['help'], ['enroll', '--help']):
            done = self.run_program([*shell, str(harness.CLIENT), *arguments])
            self.assertEqual((0, ''), (done.returncode, done.stderr))
            self.assertIn('exit codes:', done.stdout)
            self.assertLessEqual(
                max(len(line) for line in done.stdout.splitlines()), 79
            )
        done = self.run_program([*shell, str(harness.CLIENT), '--version'])
        self.assertRegex(done.stdout, r'^novajoin-guest 1 \(built 20\d\d-')

    def test_state_that_cannot_be_written(self) -> None:
        self.state.write_text('a file')
        self.assertRefused(1, 'cannot write to', self.run_client())

    def test_missing_program(self) -> None:
        (self.toolbox / 'openssl').unlink()
        done = self.run_client()
        self.assertRefused(10, "the program 'openssl' is missing", done)
        self.assertFalse(self.state.exists())

    def test_relative_state_directory(self) -> None:
        """Its parent is made; the path is that of the caller."""
        done = self.run_client('enroll', '--state-dir', 'a/b c/')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertTrue((self.folder / 'a/b c/current/key.pem').is_file())
        done = self.run_client('renew', '--state-dir', 'a/b c', '--force')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
