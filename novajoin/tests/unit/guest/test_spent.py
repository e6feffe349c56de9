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
"""A token is redeemed with one key only, though a drive shows it for ever."""

import datetime
import shutil
import uuid

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est
from novajoin.tests.unit.guest import test_lifecycle


class TestSpent(test_lifecycle.LifecycleTestCase):
    """The config drive keeps the token of the first day."""

    def check_unharmed(self, requests: int = 1) -> None:
        """The service saw one key, and what it issued is still good."""
        self.assertEqual(requests, len(self.peer.asked(est.CSR_PATH)))
        self.assertEqual('', self.peer.revoked)

    def test_clock_behind(self) -> None:
        self.enroll()
        for command in ('renew', 'enroll'):
            self.clock.write_text('60\n')
            done = self.run_client(command)
            self.assertRefused(11, 'not yet valid', done)
        self.check_unharmed()
        self.set_clock(est.now())
        self.assertEqual(0, self.run_client('renew', '--force').returncode)

    def test_clock_ahead(self) -> None:
        self.enroll()
        self.set_clock(est.now() + datetime.timedelta(days=9000))
        for command in ('renew', 'enroll'):
            done = self.run_client(command)
            self.assertRefused(12, "set the clock, or ask the operator", done)
        self.check_unharmed()
        self.set_clock(est.now())
        self.assertEqual(0, self.run_client('renew', '--force').returncode)

    def test_wipe(self) -> None:
        self.enroll()
        done = self.run_client('wipe')
        self.assertIn("ask the operator for a 'reissue'", done.stdout)
        self.assertNothingKept()
        for command in ('enroll', 'renew'):
            done = self.run_client(command)
            self.assertRefused(12, 'redeemed the token of epoch 1', done)
        self.check_unharmed()
        self.assertNothingKept()
        self.new_generation(seq=2, instance__generation=2)
        self.enroll()

    def test_wipe_before_the_answer(self) -> None:
        """The service may have taken the key that is no more."""
        self.peer.answers[est.CSR_PATH].append(est.refusal(503, 'busy'))
        self.assertEqual(
            6, self.run_client('enroll', '--timeout', '0').returncode
        )
        self.run_client('wipe')
        self.assertRefused(12, 'reissue', self.run_client())
        self.check_unharmed()

    def test_damaged_key_before_the_answer(self) -> None:
        self.peer.answers[est.CSR_PATH].append(est.refusal(503, 'busy'))
        self.assertEqual(
            6, self.run_client('enroll', '--timeout', '0').returncode
        )
        for text in ('garbage', ''):
            (self.state / self.uuid / 'pending/key.pem').write_text(text)
            self.assertRefused(12, 'reissue', self.run_client())
        self.check_unharmed()

    def test_renewed(self) -> None:
        """A renewal has another key; the token is that of the first one."""
        self.enroll()
        self.run_client('renew', '--force')
        self.clock.write_text('60\n')
        self.assertEqual(11, self.run_client('renew').returncode)
        self.check_unharmed()

    def test_older_generation(self) -> None:
        """After a reissue and a wipe the drive of the first day is spent."""
        first = self.payload
        self.enroll()
        self.new_generation(seq=2, instance__generation=2)
        self.enroll()
        self.run_client('wipe')
        self.write_drive(first)
        self.assertRefused(12, 'generation 1', self.run_client())
        self.check_unharmed(2)

    def test_rebuilt(self) -> None:
        """The generation of another epoch is another one."""
        self.enroll()
        self.new_generation(seq=2, instance__generation=2)
        self.enroll()
        self.new_generation(seq=3, instance__epoch=2)
        self.enroll()
        self.assertEqual('2', self.status()['epoch'])

    def test_clone(self) -> None:
        """The mark is this instance's; a copy has a token of its own."""
        for command in ('enroll', 'renew'):
            self.enroll()
            self.run_client('wipe')
            self.uuid = str(uuid.uuid4())
            self.peer.reissue(self.uuid, self.token)
            self.write_drive(self.make_payload())
            done = self.run_client(command)
            self.assertEqual((0, ''), (done.returncode, done.stderr))
            self.assertIn('enrolled: ', done.stdout)
            shutil.rmtree(self.state)
            self.peer.reissue(self.uuid, self.token)


class TestSources(test_lifecycle.LifecycleTestCase):
    """The drive of the first day, and a metadata service that knows more."""

    def setUp(self) -> None:
        super().setUp()
        self.peer.life = datetime.timedelta(days=30)
        first, self.drive = self.drive, self.folder / 'served'
        shutil.copytree(first, self.drive)
        self.first = first
        self.metadata = est.Metadata(self.drive)
        self.addCleanup(self.metadata.stop)
        self.show_sources(first, self.metadata.url)
        done = self.run_client('enroll', source=False)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        # nova keeps what it answers; here it is what stands in the files.
        self.without_token()
        self.metadata.paths.clear()

    def check(self, words: str, command: str, *options: str) -> None:
        done = self.run_client(command, *options, source=False)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn(words, done.stdout)

    def test_reissue(self) -> None:
        """IDENTITY 1.9: the next run of the timer has the new key."""
        for command in ('renew', 'enroll'):
            before = self.key()
            generation = int(self.status()['generation']) + 1
            self.new_generation(
                seq=generation + 1, instance__generation=generation
            )
            self.check('enrolled: ', command)
            self.assertNotEqual(before, self.key())
            self.assertEqual(str(generation), self.status()['generation'])
            self.check('nothing to do', 'renew')

    def test_revoked(self) -> None:
        """Told each time, and looked for each time, until it is reissued."""
        self.peer.revoked = 'certificate_revoked'
        for count in (1, 2):
            done = self.run_client('renew', source=False)
            self.assertRefused(8, '403 certificate_revoked', done)
            self.assertEqual(
                count, self.metadata.paths.count('vendor_data2.json')
            )
        self.new_generation(seq=3, instance__generation=2)
        self.check('enrolled: ', 'renew')

    def test_contested(self) -> None:
        self.peer.revoked = 'contested'
        done = self.run_client('renew', source=False)
        self.assertRefused(8, '403 contested', done)
        self.assertIn('vendor_data2.json', self.metadata.paths)

    def test_good(self) -> None:
        """One exchange with the check-in service, none with nova."""
        self.peer.requests.clear()
        for _ in range(2):
            self.check('nothing to do', 'renew')
        self.assertEqual(
            [est.RECEIPT_PATH] * 2, [r.path for r in self.peer.requests]
        )
        self.assertEqual([], self.metadata.paths)

    def test_service_that_is_away(self) -> None:
        """The next run asks again; the certificate is none the worse."""
        self.peer.stop()
        self.check('nothing to do', 'renew')
        self.assertFalse(self.slept.exists())

    def test_look_once_a_day(self) -> None:
        """However little the look brings."""
        for join in ({}, {'hostname': 'web-1.example.test', 'state': 'x'}):
            self.write_drive(join=join)
            (self.state / self.uuid / 'looked').unlink(missing_ok=True)
            for minutes, asks in ((0, 1), (30, 1), (60, 1), (1500, 2)):
                self.set_clock(
                    est.now() + datetime.timedelta(days=2, minutes=minutes)
                )
                self.check('nothing to do', 'renew')
                self.assertEqual(
                    asks, self.metadata.paths.count('vendor_data2.json')
                )
            self.metadata.paths.clear()

    def test_damaged_drive(self) -> None:
        """A healthy metadata service makes up for it."""
        path = self.first / 'openstack/latest/vendor_data2.json'
        good = path.read_text()
        for bad in (
            good[:-1],
            good.replace('"v": 1', '"v": 2'),
            good.replace('"sha256": "', '"sha256": "0'),
        ):
            path.write_text(bad)
            shutil.rmtree(self.state)
            self.new_generation(seq=3)
            self.check('enrolled: ', 'enroll')
        # There is none: the drive is to blame.
        shutil.rmtree(self.state)
        self.write_drive(join={})
        self.assertRefused(
            5,
            'the payload from the drive is refused',
            self.run_client('enroll', '--timeout', '0', source=False),
        )
        shutil.rmtree(self.drive / 'openstack')
        self.assertRefused(
            5,
            'the payload from the drive is refused',
            self.run_client('enroll', '--timeout', '0', source=False),
        )


class TestPeer(harness.GuestTestCase):
    def test_second_key(self) -> None:
        """What these tests rely on: the peer notices a second key."""
        self.enroll()
        shutil.rmtree(self.state)
        self.assertRefused(8, '409 key_conflict', self.run_client())
        self.assertEqual('contested', self.peer.revoked)
