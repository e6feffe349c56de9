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
"""EST by a client that is not ours: Bouncy Castle's (RFC 7030)."""

import pathlib
import subprocess

from novajoin.tests.functional.checkin import test_est

SOURCE = pathlib.Path(__file__).with_name('EstClient.java')
#: Where Debian's libbcpkix-java and what it depends on are.
JARS = tuple(
    pathlib.Path('/usr/share/java', name)
    for name in ('bcpkix.jar', 'bcprov.jar', 'bcutil.jar')
)


class TestBouncyCastle(test_est.CheckinTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.classes = cls.service.directory / 'classes'
        cls.classes.mkdir()
        cls.class_path = ':'.join(map(str, (*JARS, cls.classes)))
        done = subprocess.run(
            [
                *('javac', '-classpath', cls.class_path),
                *('-d', str(cls.classes), str(SOURCE)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise AssertionError(done.stderr)

    def run_client(self, instance):
        """Return what the client says."""
        done = subprocess.run(
            [
                *('java', '-classpath', self.class_path, 'EstClient'),
                *('localhost', str(self.service.checkin_port)),
                *(str(instance.root), instance.uuid, instance.name),
                str(instance.directory),
            ],
            input=instance.token + '\n',
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout.splitlines()

    def test_enroll_and_reenroll(self):
        """cacerts, csrattrs, simpleenroll with Basic, simplereenroll."""
        instance = self.make_instance()
        lines = self.run_client(instance)
        self.assertEqual(
            [
                'cacerts 3',
                'csrattrs 2',
                'wrong token 401',
                'simpleenroll 2',
                'simplereenroll 2',
            ],
            [line for line in lines if not line.startswith('wait ')],
        )
        for name in ('first', 'second'):
            paths = self.split(instance.directory / (name + '.pem'))
            instance.verify(*paths)
        shown = self.service.get_enrollment(instance.uuid)
        self.assertEqual('enrolled', shown['state'])

    def split(self, path):
        """Return the leaf and its issuer in files of their own."""
        end = '-----END CERTIFICATE-----\n'
        pems = [part + end for part in path.read_text().split(end)[:-1]]
        pems.sort(key=lambda pem: b'CA:TRUE' in test_est.instances.show(pem))
        paths = []
        for number, pem in enumerate(pems):
            paths.append(path.with_suffix('.%d.pem' % number))
            paths[-1].write_text(pem)
        return paths
