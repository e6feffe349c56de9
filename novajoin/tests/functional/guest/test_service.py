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
"""The guest client against the real novajoin-checkin."""

import json
import pathlib
import subprocess
import tempfile
from typing import Any
import uuid

from cryptography import x509
import testscenarios

from novajoin.tests.functional import service
from novajoin.tests.functional.guest import flavors
from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer


class TestGuest(testscenarios.WithScenarios, harness.MachineTestCase):
    """One instance, seen from inside; each shell, with and without curl."""

    scenarios = [
        (f'{name},{client}', {'flavor': name, 'has_curl': client == 'curl'})
        for name, client in zip(
            flavors.NAMES, ('curl', 's_client') * 2, strict=True
        )
    ]
    has_curl: bool
    service: service.Service
    #: Options for where to read the vendordata; None: self.drive.
    source: list[str] | None = None

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.service = service.Service(pathlib.Path(folder.name))
        cls.service.setUp()
        cls.addClassCleanup(cls.service.cleanUp)

    def setUp(self) -> None:
        super().setUp()
        if not self.has_curl:
            (self.toolbox / 'curl').unlink()
        # Here the waiting is real: for the verdicts of the cloud.
        (self.toolbox / 'sleep').unlink()
        (self.toolbox / 'sleep').symlink_to(harness.path_of('sleep'))

    def post(self, instance: str | None = None, **changes: Any) -> str:
        """Have nova ask, and give the instance what it is answered."""
        instance, status, answer = self.service.post(instance, **changes)
        self.assertEqual(200, status, answer)
        self.drive = self.service.make_drive(instance, answer)
        return instance

    def get_source(self) -> list[str]:
        if self.source is None:
            return ['--config-drive', str(self.drive)]
        return self.source

    def run_guest(
        self, command: str, *options: str
    ) -> 'subprocess.CompletedProcess[str]':
        shell, _ = harness.flavors()[self.flavor]
        return self.run_program(
            [
                *(*shell, str(harness.CLIENT), command),
                *self.get_source(),
                *('--state-dir', str(self.folder / 'guest')),
                *('--no-clock', *options),
            ]
        )

    def check(self, words: str, command: str, *options: str) -> None:
        done = self.run_guest(command, *options)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn(words, done.stdout)

    def certificate(self) -> x509.Certificate:
        path = self.folder / 'guest/current/cert.pem'
        return x509.load_pem_x509_certificate(path.read_bytes())

    def test_life(self) -> None:
        """Enroll, look again, renew, lose the key, become a clone."""
        instance = self.post()
        self.check('enrolled: ', 'enroll')
        self.service.wait_for_state(instance, 'enrolled')
        self.check('receipt=sent', 'status')
        first = self.certificate()

        # The same vendordata, then what nova shows from now on.
        self.check('nothing to do', 'enroll')
        self.post(instance)
        self.check('nothing to do', 'enroll')
        self.assertEqual(first, self.certificate())

        self.check('renewed: ', 'renew', '--force')
        second = self.certificate()
        self.assertNotEqual(first.public_key(), second.public_key())
        self.check('renewed: ', 'renew', '--force')
        self.check('renewal is due in', 'renew')

        self.check('are removed', 'wipe')
        done = self.run_guest('enroll')
        self.assertEqual(12, done.returncode, done.stderr)
        self.assertIn('reissue', done.stderr)

        clone = self.post(str(uuid.uuid4()))
        self.check('enrolled: ', 'enroll')
        self.assertIn(
            f'urn:uuid:{clone}',
            self.certificate()
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value.get_values_for_type(x509.UniformResourceIdentifier),
        )

    def test_clone_with_the_state(self) -> None:
        """Nothing of the original is left in a copy of its disk."""
        original = self.post()
        self.check('enrolled: ', 'enroll')
        before = self.certificate()
        self.post(str(uuid.uuid4()))
        self.check(f'this is a copy of instance {original}', 'renew')
        after = self.certificate()
        self.assertNotEqual(before.public_key(), after.public_key())

    def test_service_that_comes_later(self) -> None:
        """Bad times lose nothing: the same key, once it is back."""
        instance = self.post()
        self.service.stop('checkin')
        done = self.run_guest('enroll', '--timeout', '0')
        self.assertEqual(6, done.returncode, done.stderr)
        key = self.folder / f'guest/{instance}/pending/key.pem'
        before = key.read_bytes()
        self.service.start('checkin')
        self.check('enrolled: ', 'enroll')
        after = self.folder / 'guest/current/key.pem'
        self.assertEqual(before, after.read_bytes())

    def test_revoked(self) -> None:
        """A drive that is made anew after the reissue: it has the token."""
        instance = self.post()
        self.check('enrolled: ', 'enroll')
        before = self.certificate()
        self.reissue(instance, 1)
        self.service.wait_for_state(instance, 'offered')
        # The timer comes first and finds the old one revoked.
        for options in ((), ('--force',)):
            done = self.run_guest('renew', *options)
            self.assertEqual(8, done.returncode, done.stderr)
            self.assertIn('certificate_revoked', done.stderr)
        self.post(instance)
        self.check('enrolled: ', 'renew')
        self.assertNotEqual(
            before.public_key(), self.certificate().public_key()
        )

    def reissue(self, instance: str, generation: int) -> None:
        status, answer = self.service.call(
            'POST',
            f'/v1/enrollments/{instance}/reissue',
            headers={'If-Match': f'"1.{generation}"'},
        )
        self.assertEqual(200, status, answer)

    def test_reissue(self) -> None:
        """IDENTITY 1.9: the drive stays, the metadata has the new token.

        The command is the one of the timer: nobody does anything in the
        guest.
        """
        instance = self.post()
        baked = self.drive
        served = self.folder / 'served'
        metadata = peer.Metadata(served)
        self.addCleanup(metadata.stop)
        self.serve(instance, served)
        if self.has_curl:
            self.show_sources(baked, metadata.url)
            self.source = []
        else:
            # Nothing here speaks plain HTTP: the drive is made anew.
            self.source = ['--config-drive', str(served)]
        self.check('enrolled: ', 'enroll')
        for generation in (1, 2):
            metadata.paths.clear()
            self.check('nothing to do', *self.timer_words())
            self.assertNotIn('vendor_data2.json', metadata.paths)
            before = self.certificate()
            self.reissue(instance, generation)
            self.serve(instance, served)
            self.check('enrolled: ', *self.timer_words())
            self.assertNotEqual(
                before.public_key(), self.certificate().public_key()
            )
            self.service.wait_for_state(instance, 'enrolled')
        self.check('generation=3', 'status')

    def serve(self, instance: str, folder: pathlib.Path) -> None:
        """What the metadata service shows by now; the drive stays."""
        _, status, answer = self.service.post(instance)
        self.assertEqual(200, status, answer)
        latest = folder / 'openstack/latest'
        latest.mkdir(parents=True, exist_ok=True)
        (latest / 'vendor_data2.json').write_text(json.dumps({'join': answer}))
        (latest / 'meta_data.json').write_text(json.dumps({'uuid': instance}))

    def timer_words(self) -> list[str]:
        """Command and options as the unit of the timer has them."""
        unit = harness.CLIENT.with_name('novajoin-guest.service')
        [line] = [
            each
            for each in unit.read_text().splitlines()
            if each.startswith('ExecStart=')
        ]
        return line.split()[1:]

    def test_one_key(self) -> None:
        """The drive keeps the token; no mishap redeems it once more."""
        instance = self.post()
        self.check('enrolled: ', 'enroll')
        self.service.wait_for_state(instance, 'enrolled')
        clock = self.folder / 'clock'
        self.write_tool('clock-tool', f'cat {clock}')
        tool = str(self.toolbox / 'clock-tool')
        for now, code in ((60, 11), (2600000000, 12)):
            clock.write_text(f'{now}\n')
            self.environment['NOVAJOIN_DATE_COMMAND'] = tool
            for command in ('renew', 'enroll'):
                done = self.run_guest(command)
                self.assertEqual(code, done.returncode, done.stderr)
            del self.environment['NOVAJOIN_DATE_COMMAND']
            self.check('renewed: ', 'renew', '--force')
        meta = (self.folder / 'guest/current/meta').resolve()
        text = meta.read_text()
        meta.write_text('')
        done = self.run_guest('renew')
        self.assertEqual(12, done.returncode, done.stderr)
        meta.write_text(text)
        self.check('renewed: ', 'renew', '--force')
        self.check('are removed', 'wipe')
        done = self.run_guest('enroll')
        self.assertEqual(12, done.returncode, done.stderr)
        shown = self.service.get_enrollment(instance)
        self.assertEqual('enrolled', shown['state'])
        self.reissue(instance, 1)
        self.post(instance)
        self.check('enrolled: ', 'enroll')

    def test_refused(self) -> None:
        """The reasons of the service reach whoever reads the log."""
        instance = self.post()
        self.service.call(
            'POST', f'/v1/enrollments/{instance}/release', {'reason': 'test'}
        )
        self.service.wait_for_state(instance, 'closed')
        done = self.run_guest('enroll')
        self.assertEqual(8, done.returncode, done.stderr)
        self.assertIn('410 closed', done.stderr)
        self.assertIn('req-', done.stderr)
