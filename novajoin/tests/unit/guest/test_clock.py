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
"""The clock: a floor, never backward, never beyond what is believable."""

import datetime
import re
import shutil

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est

DAY = datetime.timedelta(days=1)


def built() -> datetime.datetime:
    [stamp] = re.findall(
        r'^readonly BUILD_DATE=(\S+)$', harness.CLIENT.read_text(), re.M
    )
    return datetime.datetime.fromisoformat(stamp)


class TestClock(harness.GuestTestCase):
    """The clock of the client is a file; TLS sees the machine's."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = self.folder / 'clock'
        self.sets = self.folder / 'sets'
        self.write_tool(
            'clock-tool',
            'case $* in\n'
            f'"-u +%s") read t <{self.clock}; echo "$t" ;;\n'
            f'"-u -s @"*) echo "${{3#@}}" | tee -a {self.sets}'
            f' >{self.clock} ;;\n*) exit 1 ;;\nesac',
        )
        self.link_tool('tee')
        self.environment['NOVAJOIN_DATE_COMMAND'] = str(
            self.toolbox / 'clock-tool'
        )
        self.set_clock(est.now())

    def command(self, command: str, *options: str) -> list[str]:
        words = super().command(command, *options)
        words.remove('--no-clock')
        return words

    def set_clock(self, when: datetime.datetime) -> None:
        self.clock.write_text(f'{int(when.timestamp())}\n')

    def wipe(self) -> None:
        """As if nothing had been."""
        shutil.rmtree(self.state)
        self.peer.reissue(self.uuid, self.token)

    def was_set(self) -> list[datetime.datetime]:
        text = self.sets.read_text() if self.sets.exists() else ''
        self.sets.unlink(missing_ok=True)
        return [
            datetime.datetime.fromtimestamp(int(line), datetime.timezone.utc)
            for line in text.split()
        ]

    def issued_at(
        self, when: datetime.datetime, seq: int = 1
    ) -> dict[str, object]:
        return self.make_payload(
            issued_at=when.strftime('%Y-%m-%dT%H:%M:%SZ'), seq=seq
        )

    def test_stamp(self) -> None:
        """Both forms of the build date say the same, and it is past."""
        self.assertIn(
            f'\nreadonly BUILD_SECONDS={int(built().timestamp())}\n',
            harness.CLIENT.read_text(),
        )
        self.assertLess(built(), est.now())

    def test_right(self) -> None:
        """EM9: a clock that is right, or ahead, is left alone."""
        self.enroll()
        self.set_clock(est.now() + 400 * DAY)
        self.wipe()
        self.run_client()
        self.assertEqual([], self.was_set())

    def test_1970(self) -> None:
        """EM9: up to the build date, whatever the payload says."""
        self.set_clock(datetime.datetime(1970, 1, 1, 0, 1).astimezone())
        self.write_drive(self.issued_at(built() - 30 * DAY))
        done = self.run_client()
        self.assertIn('the build date of this client', done.stdout)
        self.assertEqual(built(), self.was_set()[0])

    def test_payload(self) -> None:
        """EM9: the payload's time comes before TLS."""
        issued = built() + datetime.timedelta(days=29, hours=5, seconds=7)
        self.set_clock(built() - 1000 * DAY)
        self.write_drive(self.issued_at(issued))
        self.peer.life = 60 * DAY
        self.enroll()
        # The floor that needs no payload comes first.
        self.assertEqual([built(), issued], self.was_set())

    def test_replay(self) -> None:
        """EM9: an older payload never moves the clock back."""
        later = built() + 10 * DAY
        self.set_clock(later)
        self.write_drive(self.issued_at(built() + 5 * DAY))
        self.run_client()
        self.assertEqual([], self.was_set())

    def test_stored_floor(self) -> None:
        """A machine without a battery goes on where it was."""
        issued = built() + 20 * DAY
        self.write_drive(self.issued_at(issued))
        self.peer.life = 60 * DAY
        self.enroll()
        self.was_set()
        self.run_client('renew', '--force')
        state = self.state / 'clock'
        self.assertEqual(int(issued.timestamp()), int(state.read_text()))
        # The next enrollment, after a boot in 1970.
        self.set_clock(datetime.datetime(1970, 1, 1, 0, 1).astimezone())
        self.token = 'njt1_' + 'z' * 58
        self.peer.reissue(self.uuid, self.token)
        payload = self.issued_at(built(), 2)
        payload['instance']['generation'] = 2  # type: ignore[index]
        self.write_drive(payload)
        done = self.run_client()
        self.assertIn('behind an earlier run', done.stdout)
        self.assertEqual(issued, self.was_set()[0])

    def test_boot_in_1970(self) -> None:
        """An enrolled machine whose clock forgets: it is not expired."""
        self.enroll()
        self.was_set()
        self.write_drive(self.make_payload(seq=2, token=None))
        for command in ('renew', 'enroll'):
            self.clock.write_text('60\n')
            done = self.run_client(command, '--no-clock')
            self.assertRefused(11, 'not yet valid', done)
            done = self.run_client(command)
            self.assertEqual((0, ''), (done.returncode, done.stderr))
            self.assertIn('nothing to do', done.stdout)
            self.assertEqual(1, len(self.was_set()))

    def test_not_believable(self) -> None:
        """Never beyond the build date and ten years."""
        for years, is_set in ((9.99, True), (10.01, False)):
            when = built() + 365.25 * years * DAY
            self.set_clock(est.now())
            self.write_drive(self.issued_at(when))
            done = self.run_client()
            self.assertEqual(is_set, bool(self.was_set()), done.stderr)
            if not is_set:
                self.assertIn('more than 10 years', done.stderr)
            self.wipe()

    def test_not_ours_to_set(self) -> None:
        """No permission: a warning, and TLS has the last word."""
        self.set_clock(built() - DAY)
        self.write_tool('clock-tool', f'[ "$2" = +%s ] && cat {self.clock}')
        done = self.run_client()
        self.assertIn('cannot be set: run this as root', done.stderr)

    def test_no_clock(self) -> None:
        self.set_clock(built() - DAY)
        self.run_client('enroll', '--no-clock')
        self.assertEqual([], self.was_set())

    def future(
        self, authority: est.Authority, start: datetime.datetime
    ) -> est.Peer:
        peer = self.start_peer(
            authority=authority, holder=authority.server(start)
        )
        self.write_drive(
            self.make_payload(checkin=[{'url': peer.url, 'priority': 1}])
        )
        return peer

    def test_server_from_the_future(self) -> None:
        """Only "not yet valid": to notBefore, and then TLS again.

        The TLS of this test sees the machine's own clock and refuses all
        the same; tests.functional.guest moves that one too.
        """
        start = (est.now() + 3 * DAY).replace(microsecond=0)
        peer = self.future(self.authority, start)
        done = self.run_client()
        self.assertEqual(7, done.returncode, done.stderr)
        self.assertEqual([start], self.was_set())
        self.assertEqual([], peer.requests)

    def test_server_of_another_ca_from_the_future(self) -> None:
        """A stranger does not move our clock."""
        stranger = est.Authority('stranger')
        self.future(stranger, est.now() + 3 * DAY)
        self.assertEqual(7, self.run_client().returncode)
        self.assertEqual([], self.was_set())

    def test_certificate_from_the_future(self) -> None:
        """Our own certificate moves it as well, once its chain is good."""
        self.peer.start = (est.now() + DAY).replace(microsecond=0)
        done = self.run_client()
        self.assertEqual([self.peer.start], self.was_set())
        self.assertRefused(
            11, 'not yet valid', self.run_client('enroll', '--no-clock')
        )
        self.assertEqual(11, done.returncode)

    def test_dates(self) -> None:
        """The calendar, across leap days, against Python's."""
        for stamp in (
            '2028-02-29T12:00:00Z',
            '2028-03-01T00:00:00Z',
            '2030-12-31T23:59:59Z',
            '2032-01-01T00:00:01Z',
        ):
            self.set_clock(built() - DAY)
            when = datetime.datetime.fromisoformat(stamp)
            self.write_drive(self.issued_at(when))
            self.run_client('enroll', '--timeout', '0')
            self.assertEqual(when, self.was_set()[-1])
            self.wipe()
