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
"""The application over real TLS sockets, in a process of its own."""

import base64
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
import warnings

from cryptography import x509

from novajoin.tests import base
from novajoin.tests.unit.checkin import fakes
from novajoin.tests.unit.checkin import hostile
from novajoin.tests.unit.checkin import pki

RECEIPT = json.dumps({'seq': 1, 'sha256': 'ab' * 32})


def wait_for(condition, seconds=30.0):
    """Return the first true value of a condition, or its last one."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.02)


class Served:
    """The process, and the certificate that it serves with."""

    def __init__(self, directory, threads=4):
        self.pki = pki.get_pki()
        self.directory = directory
        for name in ('root', 'service', 'instance'):
            getattr(self.pki, name).write(directory / (name + '.pem'))
        own = directory / 'own'
        own.mkdir(mode=0o700)
        (own / 'lock').touch()
        self.own = own / 'certificate.pem'
        self.put_own(self.pki.issue_own())
        self.log = directory / 'log'
        with self.log.open('w') as stream:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    '-m',
                    'novajoin.tests.unit.checkin.served',
                    str(directory),
                    str(threads),
                ],
                stderr=stream,
                stdin=subprocess.DEVNULL,
            )

    def wait(self):
        """Wait until it listens and set its port."""
        url = self.directory / 'url'
        if not wait_for(url.exists):
            self.stop()
            raise AssertionError(self.log.read_text())
        self.port = urllib.parse.urlsplit(url.read_text()).port

    def stop(self):
        """End the process."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def put_own(self, own):
        """Put a certificate of the service in place, at once."""
        temporary = own.write(self.own.with_name('new'), self.pki.service)
        temporary.replace(self.own)


class ServedTestCase(base.TestCase):
    """Tests that share one process."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.served = Served(pathlib.Path(folder.name))
        cls.addClassCleanup(cls.served.stop)
        cls.served.wait()

    def setUp(self):
        super().setUp()
        self.pki = self.served.pki
        self.directory = self.served.directory
        self.port = self.served.port

    def make_client(self, pair=None, *others):
        """Return a context of a client that pins the root."""
        context = ssl.create_default_context(cadata=self.pki.root.pem.decode())
        if pair is not None:
            path = pathlib.Path(self.make_directory(), 'client.pem')
            context.load_cert_chain(pair.write(path, *others))
        return context

    def connect(self, context=None):
        connection = http.client.HTTPSConnection(
            'localhost',
            self.port,
            context=context or self.make_client(),
            timeout=30,
        )
        self.addCleanup(connection.close)
        return connection

    def ask(self, path, method='GET', body=None, connection=None, **headers):
        """Return status, headers and body of one answer."""
        connection = connection or self.connect()
        connection.request(
            method,
            path,
            body=body,
            headers={k.replace('_', '-'): v for k, v in headers.items()},
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def send_receipt(self, context):
        return self.ask(
            '/v1/receipts',
            'POST',
            RECEIPT,
            self.connect(context),
            Content_Type='application/json',
        )

    def send(self, data, seconds=30.0):
        """Send bytes within TLS and return all that comes until the end."""
        with (
            socket.create_connection(('127.0.0.1', self.port), seconds) as raw,
            self.make_client().wrap_socket(
                raw, server_hostname='localhost'
            ) as sock,
        ):
            with contextlib.suppress(OSError):
                sock.sendall(data)  # it may have had enough before the end
            return read_all(sock)


def read_all(sock):
    chunks = []
    try:
        while chunk := sock.recv(65536):
            chunks.append(chunk)
    except (ConnectionResetError, ssl.SSLError):
        pass
    return b''.join(chunks)


class TestClients(ServedTestCase):
    def test_instance(self):
        """The certificate is that of the socket, under gunicorn's threads."""
        peer = self.pki.issue_instance()
        status, _, _ = self.send_receipt(self.make_client(peer))
        self.assertEqual(204, status)
        seen = (self.directory / 'receipt-1').read_bytes()
        self.assertEqual(peer.der, seen)

    def test_instance_that_sends_its_chain(self):
        peer = self.pki.issue_instance()
        context = self.make_client(peer, self.pki.instance, self.pki.root)
        self.assertEqual(204, self.send_receipt(context)[0])

    def test_without_certificate(self):
        status, headers, body = self.send_receipt(self.make_client())
        self.assertEqual(401, status)
        self.assertTrue(body.startswith(b'unauthorized\n'))
        self.assertIn('novajoin-est', headers['WWW-Authenticate'])

    def test_certificates_that_are_not_taken(self):
        """Refused in the handshake: no thread of ours sees a request."""
        foreign = pki.Pki()
        past = pki.now() - datetime.timedelta(minutes=5)
        future = pki.now() + datetime.timedelta(hours=1)
        cases = {
            'foreign': [foreign.issue_instance()],
            'foreign with its chain': [
                foreign.issue_instance(),
                foreign.instance,
                foreign.root,
            ],
            'of the service': [self.pki.issue_own()],
            'of the service, with its chain': [
                pki.issue('x', self.pki.service, usages=[pki.CLIENT]),
                self.pki.service,
                self.pki.root,
            ],
            'of the root': [
                pki.issue('x', self.pki.root, usages=[pki.CLIENT]),
                self.pki.root,
            ],
            'self-signed': [pki.issue('x', usages=[pki.CLIENT])],
            'for servers only': [self.pki.issue_instance(usages=[pki.SERVER])],
            'expired': [
                self.pki.issue_instance(
                    not_before=past - datetime.timedelta(days=1),
                    not_after=past,
                )
            ],
            'not yet valid': [self.pki.issue_instance(not_before=future)],
            'outside the constraints': [
                self.pki.issue_instance(names=('join.example.com',))
            ],
        }
        for name, pairs in cases.items():
            self.assert_refused(self.make_client(*pairs), name)
        for name in ('foreign', 'of the service, with its chain'):
            context = self.make_client(*cases[name])
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            self.assert_refused(context, name)
        # And it is still there for others.
        self.assertEqual(200, self.ask('/ca.crt')[0])

    def assert_refused(self, context, name):
        error = self.assertRaises(
            (ssl.SSLError, ConnectionError), self.send_receipt, context
        )
        # It is not the client that refuses.
        self.assertNotIn('CERTIFICATE_VERIFY', str(error), name)


class TestHandshake(ServedTestCase):
    def wrap(self, context):
        raw = socket.create_connection(('127.0.0.1', self.port), 30)
        self.addCleanup(raw.close)
        sock = context.wrap_socket(raw, server_hostname='localhost')
        self.addCleanup(sock.close)
        return sock

    def test_old_versions(self):
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            context = self.make_client()
            context.set_ciphers('ALL:@SECLEVEL=0')
            with warnings.catch_warnings():
                # Python warns about them, and rightly.
                warnings.simplefilter('ignore')
                context.minimum_version = version
                context.maximum_version = version
            self.assertRaises(ssl.SSLError, self.wrap, context)

    def test_weak_ciphers(self):
        for ciphers in ('AES128-SHA', 'ECDHE+AESCBC', 'aNULL'):
            context = self.make_client()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            try:
                context.set_ciphers(ciphers + ':@SECLEVEL=0')
            except ssl.SSLError:
                continue
            self.assertRaises(ssl.SSLError, self.wrap, context)

    def test_no_tickets(self):
        """IDENTITY 5: a client proves its key on every connection."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.make_client(self.pki.issue_instance())
            context.maximum_version = version
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            sock = self.wrap(context)
            sock.sendall(b'GET /ca.crt HTTP/1.1\r\nHost: x\r\n\r\n')
            self.assertTrue(sock.recv(100))
            self.assertEqual(version.name, sock.version().replace('.', '_'))
            session = sock.session
            self.assertFalse(session is not None and session.has_ticket)

    def test_protocol(self):
        context = self.make_client()
        context.set_alpn_protocols(['h2', 'http/1.1'])
        sock = self.wrap(context)
        self.assertEqual('http/1.1', sock.selected_alpn_protocol())

    def test_never_plain(self):
        with socket.create_connection(('127.0.0.1', self.port), 30) as raw:
            raw.sendall(b'GET /ca.crt HTTP/1.1\r\nHost: x\r\n\r\n')
            answer = read_all(raw)
        self.assertNotIn(b'HTTP', answer)
        self.assertNotIn(b'CERTIFICATE', answer)

    def test_silent_and_slow_clients(self):
        """They cost no thread, and not for ever."""
        for start in (b'', b'\x16', b'\x16\x03\x01\x02\x00'):
            for _ in range(4):
                raw = socket.create_connection(('127.0.0.1', self.port), 30)
                self.addCleanup(raw.close)
                raw.sendall(start)
        self.assertEqual(200, self.ask('/ca.crt')[0])


class TestReload(ServedTestCase):
    def setUp(self):
        super().setUp()
        new = self.pki.issue_own()
        self.put_own(new)
        serial = new.certificate.serial_number
        self.assertTrue(wait_for(lambda: self.get_serial() == serial))

    def put_own(self, own):
        self.served.put_own(own)

    def get_serial(self, connection=None):
        """Return the serial that a connection was opened with."""
        connection = connection or self.connect()
        if connection.sock is None:
            connection.connect()
        der = connection.sock.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der).serial_number

    def test_while_connections_are_open(self):
        """IDENTITY 5: renewed without a restart."""
        before = self.get_serial()
        connections = [self.connect() for _ in range(3)]
        for connection in connections:
            self.assertEqual(
                200, self.ask('/ca.crt', connection=connection)[0]
            )
        new = self.pki.issue_own()
        self.put_own(new)
        serial = new.certificate.serial_number
        self.assertTrue(wait_for(lambda: self.get_serial() == serial))
        for connection in connections:
            self.assertEqual(
                200, self.ask('/ca.crt', connection=connection)[0]
            )
            self.assertEqual(before, self.get_serial(connection))
        self.assertIsNone(self.served.process.poll())

    def test_under_load(self):
        """No request is lost while certificates change all the time."""

        def ask(_):
            return self.ask('/healthcheck')[0]

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = pool.map(ask, range(60))
            for _ in range(10):
                self.put_own(self.pki.issue_own())
                time.sleep(0.03)
            self.assertEqual({200}, set(answers))

    def test_broken_file(self):
        serial = self.get_serial()
        self.served.own.write_bytes(self.served.own.read_bytes()[:700])
        time.sleep(0.3)
        self.assertEqual(serial, self.get_serial())
        status, _, body = self.ask('/healthcheck')
        self.assertEqual((200, b'OK\n'), (status, body))

    def test_expiry(self):
        """Without a valid certificate: no handshake, and nothing plain."""
        self.put_own(
            self.pki.issue_own(
                not_after=pki.now() + datetime.timedelta(seconds=1)
            )
        )
        error = wait_for(self.find_handshake_error)
        self.assertIn('handshake failure', str(error).lower())
        self.put_own(self.pki.issue_own())
        self.assertTrue(wait_for(lambda: not self.find_handshake_error()))

    def find_handshake_error(self):
        try:
            self.get_serial()
        except ssl.SSLCertVerificationError:
            return None
        except ssl.SSLError as error:
            return error
        return None


class TestHostile(ServedTestCase):
    """What bad input gets: a 4xx of its own, and nothing is written."""

    enroll = fakes.EST + 'simpleenroll'

    def post(self, body, **headers):
        return self.ask(
            self.enroll,
            'POST',
            body,
            Authorization=fakes.make_basic(),
            **{'Content_Type': 'application/pkcs10', **headers},
        )

    def test_ten_megabytes(self):
        status, _, body = self.post(b'A' * 10_000_000)
        self.assertEqual(413, status)
        self.assertTrue(body.startswith(b'body_too_large\n'))

    def test_ten_megabytes_from_nobody(self):
        status, _, _ = self.ask(self.enroll, 'POST', b'A' * 10_000_000)
        self.assertEqual(413, status)

    def test_chunks(self):
        csr = base64.encodebytes(pki.make_csr())
        connection = self.connect()
        connection.request(
            'POST',
            self.enroll,
            body=iter([csr[:10], csr[10:11], csr[11:]]),
            headers={
                'Authorization': fakes.make_basic(),
                'Content-Type': 'application/pkcs10',
                'Transfer-Encoding': 'chunked',
            },
            encode_chunked=True,
        )
        answer = connection.getresponse()
        self.assertEqual(200, answer.status, answer.read())

    def test_chunks_without_end(self):
        status, _, body = self.post(b'A' * 1000 for _ in range(10_000))
        self.assertEqual(413, status)
        self.assertTrue(body.startswith(b'body_too_large\n'))

    def test_expect(self):
        csr = base64.b64encode(pki.make_csr())
        head = (
            'POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n'
            'Authorization: %s\r\nContent-Type: application/pkcs10\r\n'
            'Connection: close\r\nContent-Length: %d\r\n\r\n'
        )
        text = head % (self.enroll, fakes.make_basic(), len(csr))
        answer = self.send(text.encode() + csr)
        self.assertTrue(answer.startswith(b'HTTP/1.1 100'), answer)
        self.assertIn(b'HTTP/1.1 200 OK', answer)
        # A body that is refused anyway is not asked for.
        answer = self.send((head % (self.enroll, 'x', 10**9)).encode())
        self.assertIn(b' 413 ', answer)

    def test_not_http(self):
        """What is below HTTP has the same shape."""
        cases = hostile.map_streams(self.enroll, fakes.make_basic())
        for data, status in cases.items():
            answer = self.send(data)
            head, _, body = answer.partition(b'\r\n\r\n')
            self.assertEqual(b'%d' % status, head.split()[1], data[:99])
            lines = body.decode().split('\n')
            self.assertEqual(4, len(lines), body)
            self.assertRegex(lines[2], '^req-')
        self.assertEqual(200, self.ask('/ca.crt')[0])

    def test_body_of_a_refused_request(self):
        """It is not taken for the next request."""
        connection = self.connect()
        forged = b'GET /ca.crt HTTP/1.1\r\nHost: x\r\n\r\n'
        for _ in range(3):
            status, _, body = self.ask(self.enroll, 'POST', forged, connection)
            self.assertEqual(401, status)
            self.assertTrue(body.startswith(b'unauthorized\n'))
        self.assertEqual(200, self.ask('/ca.crt', connection=connection)[0])
