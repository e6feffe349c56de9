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
"""Every certificate there is, verified with what check-in publishes."""

import subprocess
import sys

from novajoin.tests.functional.checkin import instance as instances
from novajoin.tests.functional.checkin import test_est

_END = '-----END CERTIFICATE-----\n'


class TestCrls(test_est.CheckinTestCase):
    """Each test changes the CAs of the one service; none minds the others."""

    def setUp(self):
        super().setUp()
        self.instance, self.key, self.leaf, self.issuer = self.make_enrolled()

    def compromise(self, certificate):
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'novajoin.cmd.manage'),
                *('--config-file', str(self.service.conf_path)),
                *('keys', 'compromise', instances.find_id(certificate)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr)

    def get_served(self):
        """Return the certificates that check-in shows."""
        text = instances.run(
            *('openssl', 's_client', '-showcerts', '-connect'),
            'localhost:%d' % self.service.checkin_port,
            *('-CAfile', str(self.instance.root), '-verify_return_error'),
            *('-servername', 'localhost'),
        ).decode()
        paths = []
        for number, part in enumerate(text.split(_END)[:2]):
            path = self.make_directory() / ('served%d.pem' % number)
            path.write_text(part[part.index('-----BEGIN CERT') :] + _END)
            paths.append(path)
        return paths

    def fetch_crls(self, *issuers):
        """Return a file with the published CRLs, PEM; None without one."""
        bundle = self.make_directory() / 'crls.pem'
        with bundle.open('wb') as file:
            for issuer in issuers:
                path = '/crl/%s.crl' % instances.find_id(issuer)
                answer = self.instance.ask(path)
                if answer.status != 200:
                    return None
                file.write(
                    instances.run(
                        *('openssl', 'crl', '-inform', 'DER'),
                        data=answer.body,
                    )
                )
        return bundle

    def verify(self, leaf, issuer):
        """Return what OpenSSL has against a certificate, '' for nothing."""
        crls = self.fetch_crls(self.instance.root, issuer)
        if crls is None:
            return 'there is a CRL missing'
        return subprocess.run(
            [
                *('openssl', 'verify', '-x509_strict', '-crl_check_all'),
                *('-CRLfile', str(crls), '-no-CApath', '-no-CAstore'),
                *('-CAfile', str(self.instance.root)),
                *('-untrusted', str(issuer), str(leaf)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stderr

    def wait_for_good(self, get):
        """Wait until what is got verifies; return it."""
        pairs = []

        def is_good():
            pairs.append(get())
            return self.verify(*pairs[-1]) == ''

        good = test_est.wait_for(is_good, 60)
        self.assertTrue(good, self.verify(*pairs[-1]))
        return pairs[-1]

    def wait_for_revoked(self, leaf, issuer):
        self.assertTrue(
            test_est.wait_for(
                lambda: 'certificate revoked' in self.verify(leaf, issuer), 60
            ),
            self.verify(leaf, issuer),
        )

    def test_every_ca_has_one(self):
        self.wait_for_good(self.get_served)
        self.wait_for_good(lambda: (self.leaf, self.issuer))

    def test_the_key_of_check_in_leaks(self):
        """It makes another one without a restart; the old one is listed."""
        former, issuer = self.wait_for_good(self.get_served)
        self.compromise(former)
        self.wait_for_revoked(former, issuer)
        served, again = self.wait_for_good(self.get_served)
        self.assertNotEqual(
            instances.find_id(former), instances.find_id(served)
        )
        self.assertEqual(issuer.read_text(), again.read_text())

    def test_the_key_of_the_service_intermediate_leaks(self):
        former, issuer = self.wait_for_good(self.get_served)
        self.compromise(issuer)
        self.wait_for_revoked(former, issuer)
        _, other = self.wait_for_good(self.get_served)
        self.assertNotEqual(
            instances.find_id(issuer), instances.find_id(other)
        )

    def test_the_key_of_the_instance_intermediate_leaks(self):
        """Instances get a certificate of another one when they renew."""
        self.wait_for_good(lambda: (self.leaf, self.issuer))
        self.compromise(self.issuer)
        self.wait_for_revoked(self.leaf, self.issuer)

        def renew():
            # Processes look at the key repository every ten seconds: until
            # then one may issue from the former intermediate, or not know
            # yet what another one has issued from the new one.
            answers = []

            def is_renewed():
                answers.append(
                    self.instance.reenroll(
                        self.instance.make_csr(self.key), self.key, self.leaf
                    )
                )
                return answers[-1].status == 200

            self.assertTrue(test_est.wait_for(is_renewed), answers[-1:])
            answer = answers[-1]
            self.leaf, self.issuer = self.instance.write_certificates(answer)
            return self.leaf, self.issuer

        former = self.issuer.read_text()
        _, issuer = self.wait_for_good(renew)
        self.assertNotEqual(former, issuer.read_text())
