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
"""The vendordata part that installs the client, run as cloud-init does."""

import email
import json
import pathlib
import stat
import subprocess

import testscenarios

from novajoin.bootstrap import vendordata_part
from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est


class TestPart(testscenarios.WithScenarios, harness.GuestTestCase):
    # The default shell and, where there is one, busybox.
    scenarios = harness.scenarios()[::3]

    def setUp(self) -> None:
        super().setUp()
        self.root = self.folder / 'root'
        (self.root / 'run/systemd/system').mkdir(parents=True)
        self.state = self.root / 'var/lib/novajoin-guest'
        self.environment['NOVAJOIN_ROOT'] = str(self.root)
        self.called = self.folder / 'systemctl'
        self.write_tool('systemctl', f'echo "$@" >>{self.called}')
        # The shebang of the part is /bin/sh; here it is the flavor.
        shell, _ = harness.flavors()[self.flavor]
        (self.toolbox / 'sh').unlink()
        command = ' '.join([harness.path_of(shell[0]), *shell[1:]])
        self.write_tool('sh', f'exec {command} "$@"')
        self.show_sources(self.drive, None)
        self.part = self.folder / 'part'
        self.part.write_bytes(self.script())
        # nova puts the static document beside the dynamic ones.
        path = self.drive / 'openstack/latest/vendor_data2.json'
        document = json.loads(path.read_text())
        document['static'] = json.loads(vendordata_part.render())
        path.write_text(json.dumps(document))

    def script(self) -> bytes:
        """What cloud-init makes of the document."""
        document = json.loads(vendordata_part.render())
        self.assertEqual(['cloud-init'], list(document))
        message = email.message_from_string(document['cloud-init'])
        [part] = message.get_payload()
        self.assertEqual('text/x-shellscript', part.get_content_type())
        self.assertEqual('novajoin-guest.sh', part.get_filename())
        script = part.get_payload(decode=True)
        self.assertTrue(script.startswith(b'#!/bin/sh\n'))
        return script

    def run_part(self) -> 'subprocess.CompletedProcess[str]':
        done = self.run_program([str(self.toolbox / 'sh'), str(self.part)])
        self.assertEqual(0, done.returncode, done.stderr)
        return done

    def installed(self) -> set[str]:
        return {
            str(path.relative_to(self.root))
            for path in self.root.rglob('*')
            if path.is_file() and self.state not in path.parents
        }

    def test_enrolls(self) -> None:
        """NJ13: the instance is enrolled without anybody's doing."""
        done = self.run_part()
        self.assertEqual('', done.stderr)
        self.assertTrue((self.state / 'current/cert.pem').is_file())
        units = 'etc/systemd/system/novajoin-guest'
        self.assertEqual(
            {
                'usr/local/sbin/novajoin-guest',
                f'{units}.service',
                f'{units}.timer',
            },
            self.installed(),
        )
        for name in vendordata_part.FILES:
            [path] = (p for p in self.root.rglob(name) if p.is_file())
            source = harness.CLIENT.parent / name
            self.assertEqual(source.read_bytes(), path.read_bytes())
        client = self.root / 'usr/local/sbin/novajoin-guest'
        self.assertEqual(0o755, stat.S_IMODE(client.stat().st_mode))
        self.assertEqual(
            [
                'daemon-reload',
                'enable novajoin-guest.timer',
                'start --no-block novajoin-guest.timer',
            ],
            self.called.read_text().splitlines(),
        )
        # Twice is as good as once.
        self.run_part()
        self.assertEqual(1, len(self.peer.asked(est.CSR_PATH)))

    def test_not_asked(self) -> None:
        """WIRE 11: it ends at once, and leaves nothing."""
        for join in ({}, {'hostname': 'a.test', 'ipaotp': 'x'}):
            self.write_drive(join=join)
            done = self.run_part()
            self.assertEqual(('', ''), (done.stdout, done.stderr))
        self.assertEqual(set(), self.installed())
        self.assertFalse(self.slept.exists())
        self.assertFalse(self.state.exists())

    def test_asked_without_a_token(self) -> None:
        """The timer is there when the operator reissues."""
        self.write_drive(join={'hostname': 'a.test', 'state': 'expired'})
        done = self.run_part()
        self.assertIn('not enrolled yet (exit code 12)', done.stdout)
        self.assertIn('usr/local/sbin/novajoin-guest', self.installed())

    def test_no_vendordata(self) -> None:
        (self.drive / 'openstack/latest/vendor_data2.json').unlink()
        self.run_part()
        self.assertEqual(set(), self.installed())
        self.assertEqual(['2', '5', '10'], self.slept.read_text().split())

    def test_never_in_the_way(self) -> None:
        """Refused, unreachable or hostile: success, and the timer is set."""
        self.peer.answers[est.CSR_PATH].append(est.refusal(403, 'suspended'))
        done = self.run_part()
        self.assertIn('not enrolled yet (exit code 8)', done.stdout)
        self.assertIn('usr/local/sbin/novajoin-guest', self.installed())
        self.write_drive(
            self.make_payload(
                seq=2, checkin=[{'url': 'https://127.0.0.1:1', 'priority': 1}]
            )
        )
        done = self.run_part()
        self.assertIn('not enrolled yet (exit code 6)', done.stdout)
        self.assertLessEqual(
            sum(int(s) for s in self.slept.read_text().split()), 60
        )

    def test_without_systemd(self) -> None:
        (self.root / 'run/systemd/system').rmdir()
        self.assertIn('neither systemd nor cron', self.run_part().stdout)
        (self.root / 'etc/cron.d').mkdir(parents=True)
        self.run_part()
        cron = (self.root / 'etc/cron.d/novajoin-guest-renew').read_text()
        self.assertIn('/usr/local/sbin/novajoin-guest renew', cron)
        (self.root / 'etc/periodic/15min').mkdir(parents=True)
        self.run_part()
        self.assertIn(
            'etc/periodic/15min/novajoin-guest-renew', self.installed()
        )

    def test_read_only_usr(self) -> None:
        (self.root / 'usr').write_text('not a directory')
        self.assertEqual('', self.run_part().stderr)
        unit = self.root / 'etc/systemd/system/novajoin-guest.service'
        self.assertIn('=/opt/novajoin/sbin/novajoin-guest', unit.read_text())


class TestFiles(harness.MachineTestCase):
    def test_plain(self) -> None:
        """Each file fits a here-document, and every line a terminal."""
        for path in harness.CLIENT.parent.iterdir():
            text = path.read_text(encoding='ascii')
            self.assertLessEqual(
                max(len(line) for line in text.splitlines()), 79, path
            )
        self.assertTrue(
            pathlib.Path(harness.CLIENT).stat().st_mode & stat.S_IXUSR
        )
