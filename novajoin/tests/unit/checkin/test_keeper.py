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
"""Getting, renewing and reloading the own certificate."""

import datetime
import json
import os
import ssl
import threading
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from novajoin import exceptions
from novajoin import models
from novajoin.checkin import files as own_files
from novajoin.checkin import keeper as own_keeper
from novajoin.checkin import tls
from novajoin.tests import base
from novajoin.tests.unit.checkin import pki

NAMES = frozenset({'localhost', '127.0.0.1'})
DAY = 86400.0


class Desk:
    """Stands for the domain: requests are left, and signed when told to."""

    def __init__(self, authority, clock):
        self.authority = authority
        self.clock = clock
        self.requests = {}
        self.revoked = set()
        self.is_signing = True
        self.error = None

    def request(self, csr, host):
        """Leave a request."""
        if self.error:
            raise self.error
        id = str(uuid.uuid4())
        self.requests[id] = models.ServiceCertificate(
            id, host, csr, self.clock()
        )
        return id

    def find(self, request_id):
        """Return a request, answered when the desk is signing."""
        if self.error:
            raise self.error
        found = self.requests.get(request_id)
        if found and self.is_signing:
            return self.sign(found)
        return found

    def is_revoked(self, serial):
        """Tell whether the key has leaked."""
        if self.error:
            raise self.error
        return serial in self.revoked

    def sign(self, found):
        """Return the request with a certificate."""
        csr = x509.load_der_x509_csr(found.csr)
        names = csr.extensions[0].value
        own = pki.issue(
            'x',
            self.authority.service,
            names=[str(name.value) for name in names],
            public_key=csr.public_key(),
            usages=[pki.SERVER],
            not_before=self.clock() - datetime.timedelta(minutes=1),
            not_after=self.clock() + datetime.timedelta(days=9),
        )
        return models.ServiceCertificate(
            found.id, found.host, found.csr, found.created_at, own.der
        )


class KeeperTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.pki = pki.get_pki()
        self.clock = base.Clock(pki.now())
        self.desk = Desk(self.pki, self.clock)
        self.directory = self.make_directory() / 'state' / 'checkin'
        self.files = own_files.Files(self.directory)
        self.files.setup()
        self.contexts = tls.Contexts(self.clock)
        self.chain = self.pki.chain
        self.keeper = self.make()

    def make(self, names=NAMES, contexts=None):
        """Return the keeper of one more process."""
        return own_keeper.Keeper(
            files=self.files,
            names=names,
            host='host1',
            requests=self.desk,
            get_chain=self.get_chain,
            contexts=contexts or self.contexts,
            clock=self.clock,
        )

    def get_chain(self):
        if isinstance(self.chain, Exception):
            raise self.chain
        return self.chain

    def get_serial(self):
        """Return the serial of the certificate in the file."""
        leaf = x509.load_pem_x509_certificate(
            self.files.certificate.read_bytes()
        )
        return leaf.serial_number

    def settle(self, keeper=None):
        """Look until there is nothing to do for now."""
        keeper = keeper or self.keeper
        for _ in range(5):
            if keeper.look() == 5.0:
                return
        self.fail('it does not settle: %s' % keeper._trouble)

    @property
    def is_serving(self):
        return self.contexts.get() is not self.contexts._refusal


class TestFirst(KeeperTestCase):
    def test_asks_and_serves(self):
        self.assertFalse(self.is_serving)
        self.assertRaises(exceptions.Unavailable, self.keeper.check)
        self.settle()
        self.assertTrue(self.keeper.is_ready)
        self.assertTrue(self.is_serving)
        self.assertIsNone(self.keeper.check())
        (request,) = self.desk.requests.values()
        self.assertEqual('host1', request.host)

    def test_modes(self):
        self.settle()
        self.assertEqual(0o700, self.directory.stat().st_mode & 0o777)
        for path in self.directory.iterdir():
            self.assertEqual(0o600, path.stat().st_mode & 0o777, path)
        self.assertEqual(
            {'certificate.pem', 'lock'}, set(os.listdir(self.directory))
        )

    def test_waits_for_the_signature(self):
        self.desk.is_signing = False
        for _ in range(10):
            self.assertEqual(0.25, self.keeper.look())
        self.assertFalse(self.is_serving)
        self.assertEqual(1, len(self.desk.requests))
        self.desk.is_signing = True
        self.settle()
        self.assertTrue(self.is_serving)

    def test_goes_on_with_its_request_after_a_restart(self):
        self.desk.is_signing = False
        self.keeper.look()
        self.desk.is_signing = True
        self.settle(self.make())
        self.assertEqual(1, len(self.desk.requests))

    def test_stopped_between_key_and_request(self):
        self.desk.error = exceptions.DatabaseUnavailable()
        self.keeper.look()
        key = json.loads((self.directory / 'pending.json').read_bytes())['key']
        self.desk.error = None
        self.settle()
        self.assertIn(key.encode(), self.files.certificate.read_bytes())

    def test_processes_that_start_at_once_make_one_request(self):
        self.desk.is_signing = False
        keepers = [self.make() for _ in range(4)]
        for keeper in keepers:
            keeper.look()
        self.assertEqual(1, len(self.desk.requests))
        self.desk.is_signing = True
        for keeper in keepers:
            self.settle(keeper)
        self.assertEqual({True}, {keeper.is_ready for keeper in keepers})
        self.assertEqual(1, len(self.desk.requests))

    def test_another_process_has_the_lock(self):
        with self.files.try_lock() as is_ours:
            self.assertTrue(is_ours)
            self.assertEqual(0.25, self.keeper.look())
        self.assertEqual({}, self.desk.requests)

    def test_refused(self):
        self.desk.is_signing = False
        self.keeper.look()
        (id, request) = self.desk.requests.popitem()
        self.desk.requests[id] = models.ServiceCertificate(
            id, 'h', request.csr, request.created_at, None, 'bad name'
        )
        self.assertLessEqual(self.keeper.look(), 1.0)
        error = self.assertRaises(exceptions.Unavailable, self.keeper.check)
        self.assertIn('bad name', error.message)
        self.desk.is_signing = True
        self.settle()
        self.assertTrue(self.is_serving)

    def test_request_lost(self):
        """The database was made anew while the request waited."""
        self.desk.is_signing = False
        self.keeper.look()
        self.desk.requests.clear()
        self.desk.is_signing = True
        self.keeper.look()
        self.settle()
        self.assertTrue(self.is_serving)

    def test_certificates_of_no_use(self):
        def take(answer):
            self.desk.sign = lambda found: models.ServiceCertificate(
                found.id, 'h', found.csr, found.created_at, answer(found)
            )
            self.keeper.look()
            self.keeper.look()
            self.assertFalse(self.is_serving)
            self.assertFalse(self.files.certificate.exists())

        take(lambda found: b'junk')
        take(lambda found: self.pki.issue_own().der)
        take(lambda found: self.issue(found, self.pki.instance))
        take(lambda found: self.issue(found, self.pki.service, names=['x']))
        take(
            lambda found: self.issue(
                found,
                self.pki.service,
                not_before=self.clock() - datetime.timedelta(days=9),
                not_after=self.clock() + datetime.timedelta(days=1),
            )
        )

    def issue(self, found, issuer, names=tuple(NAMES), **kwargs):
        public_key = x509.load_der_x509_csr(found.csr).public_key()
        return pki.issue(
            'x', issuer, names=names, public_key=public_key, **kwargs
        ).der

    def test_ca_away(self):
        self.chain = exceptions.CAUnavailable()
        pauses = [self.keeper.look() for _ in range(10)]
        self.assertLessEqual(pauses[0], 1.0)
        self.assertGreaterEqual(pauses[-1], 30.0)
        self.assertLessEqual(max(pauses), 60.0)
        self.chain = self.pki.chain
        self.settle()
        self.assertTrue(self.is_serving)

    def test_wait(self):
        self.keeper.wait()
        self.assertTrue(self.is_serving)

    def test_wait_has_an_end(self):
        self.desk.is_signing = False
        error = self.assertRaises(
            exceptions.Unavailable, self.keeper.wait, 0.0
        )
        self.assertIn('novajoin-notify', error.message)

    def test_directory_cannot_be_used(self):
        (self.directory.parent / 'file').touch()
        files = own_files.Files(self.directory.parent / 'file' / 'checkin')
        error = self.assertRaises(exceptions.ConfigurationError, files.setup)
        self.assertIn('[checkin] directory', error.message)


class TestRenewal(KeeperTestCase):
    def setUp(self):
        super().setUp()
        self.settle()
        self.first = self.get_serial()
        self.context = self.contexts.get()

    def test_at_two_thirds_of_its_life(self):
        """IDENTITY 5: renewed at two thirds, with a new key."""
        key = self.files.certificate.read_bytes().split(b'-----END')[0]
        self.clock.advance(5.9 * DAY)
        self.assertEqual(5.0, self.keeper.look())
        self.assertEqual(self.first, self.get_serial())
        self.clock.advance(0.2 * DAY)
        self.settle()
        self.assertNotEqual(self.first, self.get_serial())
        self.assertNotEqual(
            key, self.files.certificate.read_bytes().split(b'-----END')[0]
        )
        self.assertIsNot(self.context, self.contexts.get())
        self.assertTrue(self.is_serving)

    def test_its_key_has_leaked(self):
        """It is replaced as soon as an operator has said so, and once."""
        self.desk.revoked.add('%x' % self.first)
        self.settle()
        self.assertNotEqual(self.first, self.get_serial())
        self.assertIsNot(self.context, self.contexts.get())
        self.settle()
        self.assertEqual(2, len(self.desk.requests))

    def test_nobody_knows_whether_its_key_has_leaked(self):
        self.desk.error = exceptions.DatabaseUnavailable('no route')
        self.assertEqual(5.0, self.keeper.look())
        self.assertIsNone(self.keeper.check())

    def test_other_workers_see_it(self):
        contexts = tls.Contexts(self.clock)
        other = self.make(contexts=contexts)
        self.settle(other)
        before = contexts.get()
        self.clock.advance(6.1 * DAY)
        self.settle()
        self.settle(other)
        self.assertIsNot(before, contexts.get())
        self.assertEqual(2, len(self.desk.requests))

    def test_nobody_signs(self):
        """It serves until the end, says so, and not beyond."""
        self.desk.is_signing = False
        self.clock.advance(6.1 * DAY)
        self.keeper.look()
        self.assertTrue(self.is_serving)
        self.keeper._asked_at -= 3600
        self.keeper.look()
        self.assertIn('novajoin-notify', self.keeper.check())
        self.assertTrue(self.is_serving)
        self.clock.advance(3 * DAY)
        self.assertFalse(self.is_serving)
        self.assertFalse(self.keeper.is_ready)
        self.assertRaises(exceptions.Unavailable, self.keeper.check)
        self.desk.is_signing = True
        self.settle()
        self.assertTrue(self.is_serving)
        self.assertIsNone(self.keeper.check())

    def test_database_away(self):
        self.desk.error = exceptions.DatabaseUnavailable('no route')
        self.clock.advance(6.1 * DAY)
        pauses = [self.keeper.look() for _ in range(12)]
        self.assertLessEqual(max(pauses), 60.0)
        self.assertIn('no route', self.keeper.check())
        self.assertTrue(self.is_serving)
        self.desk.error = None
        self.settle()
        self.assertIsNone(self.keeper.check())

    def test_ca_away(self):
        self.chain = exceptions.CAUnavailable()
        self.assertEqual(5.0, self.keeper.look())
        self.assertTrue(self.is_serving)

    def test_clock_jumps_back(self):
        self.clock.advance(-30 * DAY)
        self.settle()
        self.assertTrue(self.is_serving)
        self.assertIn('clock', self.keeper.check())
        self.assertEqual(self.first, self.get_serial())

    def test_clock_jumps_forward_and_back(self):
        self.desk.is_signing = False
        self.clock.advance(3650 * DAY)
        self.keeper.look()
        self.assertFalse(self.is_serving)
        self.clock.advance(-3650 * DAY)
        self.assertTrue(self.is_serving)
        self.assertIsNone(self.keeper.check())

    def test_half_written_file(self):
        """What is no certificate is not used, and is replaced in time."""
        whole = self.files.certificate.read_bytes()
        for text in (b'', whole[: len(whole) // 2], b'\xff' * 100):
            self.files.certificate.write_bytes(text)
            self.assertEqual(5.0, self.keeper.look())
            self.assertIs(self.context, self.contexts.get())
        self.clock.advance(6.1 * DAY)
        self.settle()
        self.assertNotEqual(self.first, self.get_serial())

    def test_broken_file_at_start(self):
        self.files.certificate.write_bytes(b'')
        self.files.certificate.chmod(0o600)
        self.settle(self.make())
        self.assertNotEqual(self.first, self.get_serial())

    def test_key_that_others_can_read(self):
        self.files.certificate.chmod(0o644)
        self.settle(self.make())
        self.assertNotEqual(self.first, self.get_serial())
        mode = self.files.certificate.stat().st_mode & 0o777
        self.assertEqual(0o600, mode)

    def test_broken_pending_file(self):
        for text in (b'', b'[]', b'{"key": 1}', b'\xff'):
            (self.directory / 'pending.json').write_bytes(text)
            self.clock.advance(6.1 * DAY)
            first = self.get_serial()
            self.settle()
            self.assertNotEqual(first, self.get_serial())

    def test_foreign_key_in_pending_file(self):
        (self.directory / 'pending.json').write_text(
            json.dumps({'key': 'x', 'names': sorted(NAMES), 'id': None})
        )
        self.clock.advance(6.1 * DAY)
        self.keeper.look()
        self.settle()
        self.assertNotEqual(self.first, self.get_serial())

    def test_names_change(self):
        keeper = self.make(names=NAMES | {'join.example.com'})
        self.settle(keeper)
        self.assertIn('join.example.com', keeper._own.names)
        fewer = self.make(names=frozenset({'localhost'}))
        self.settle(fewer)
        self.assertEqual(2, len(self.desk.requests))

    def test_service_intermediate_changes(self):
        other = pki.Pki()
        self.desk.authority = other
        self.chain = other.chain
        self.settle()
        self.assertNotEqual(self.first, self.get_serial())
        self.assertIsNot(self.context, self.contexts.get())

    def test_instance_intermediate_changes(self):
        """The clients' certificates are those of another CA from now on."""
        other = pki.Pki()
        self.chain = models.Chain(
            self.chain.root, self.chain.service, other.chain.instance
        )
        self.settle()
        self.assertEqual(self.first, self.get_serial())
        self.assertIsNot(self.context, self.contexts.get())

    def test_instance_intermediate_is_rotated(self):
        """Who has a certificate of the retiring one can still renew."""
        other = pki.Pki()
        self.chain = models.Chain(
            self.chain.root,
            self.chain.service,
            other.chain.instance,
            (self.chain.instance,),
        )
        self.settle()
        self.assertEqual(
            {other.instance.der, self.pki.instance.der},
            set(self.contexts.get().get_ca_certs(binary_form=True)),
        )

    def test_disk_is_full(self):
        def fail(path, text):
            raise OSError(28, 'No space left on device', str(path))

        self.patch(self.files, '_write', fail)
        self.clock.advance(6.1 * DAY)
        self.keeper.look()
        self.assertIn('No space left', self.keeper.check())
        self.assertTrue(self.is_serving)


class TestThread(KeeperTestCase):
    def test_start_and_stop(self):
        self.keeper.start()
        self.addCleanup(self.keeper.stop)
        names = [thread.name for thread in threading.enumerate()]
        self.assertIn('checkin-certificate', names)
        self.keeper.stop()
        self.keeper.stop()
        names = [thread.name for thread in threading.enumerate()]
        self.assertNotIn('checkin-certificate', names)

    def test_lives_on_after_a_bug(self):
        looked = threading.Event()
        pauses = iter((0.0,))

        def look():
            pause = next(pauses, None)
            if pause is not None:
                return pause
            looked.set()
            raise RuntimeError('a bug')

        self.patch(self.keeper, 'look', look)
        self.keeper.start()
        self.addCleanup(self.keeper.stop)
        self.assertTrue(looked.wait(10))
        self.assertTrue(self.keeper._thread.is_alive())


class TestContext(KeeperTestCase):
    def test_is_what_it_should_be(self):
        self.settle()
        context = self.contexts.get()
        self.assertEqual(ssl.TLSVersion.TLSv1_2, context.minimum_version)
        self.assertEqual(ssl.CERT_OPTIONAL, context.verify_mode)
        self.assertEqual(0, context.num_tickets)
        self.assertTrue(context.options & ssl.OP_NO_TICKET)
        self.assertTrue(context.options & ssl.OP_NO_RENEGOTIATION)
        trusted = context.get_ca_certs(binary_form=True)
        self.assertEqual([self.pki.instance.der], trusted)
        for cipher in context.get_ciphers():
            self.assertTrue(cipher['aead'], cipher)
            self.assertNotIn('RSA', cipher['name'].split('-')[0])

    def test_key_is_not_encrypted_and_is_ours(self):
        self.settle()
        text = self.files.certificate.read_bytes()
        key = serialization.load_pem_private_key(text, None)
        self.assertEqual('secp256r1', key.curve.name)
