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

"""The server as a process, on a free port of the loopback interface."""

import datetime
import http.client
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from novajoin.tests import base
from novajoin.wsgi import server


def make_certificate(directory: pathlib.Path) -> tuple[str, str]:
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, 'test')])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    paths = directory / 'certificate.pem', directory / 'key.pem'
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(paths[0]), str(paths[1])


def wait_for(condition, seconds=30.0):
    """Return the first true value of a condition, or its last one."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.02)


class ServedProcess:
    """The process of served.py, listening.

    :param directory: what it writes goes there
    """

    def __init__(self, directory, settings, has_tls):
        self.directory = directory
        options = {'directory': str(directory), 'settings': settings}
        if has_tls:
            paths = make_certificate(directory)
            options['certificate'], options['key'] = paths
        self.log = directory / 'log'
        with self.log.open('w') as stream:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    '-m',
                    'novajoin.tests.unit.wsgi.served',
                    json.dumps(options),
                ],
                stderr=stream,
                stdin=subprocess.DEVNULL,
            )
        url = directory / 'url'
        if not wait_for(url.exists):
            self.stop()
            raise AssertionError(self.log.read_text())
        parts = urllib.parse.urlsplit(url.read_text())
        self.scheme, self.port = parts.scheme, parts.port

    def stop(self, signum=signal.SIGTERM):
        """End the process and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class ServerTestCase(base.TestCase):
    """Tests that share a process unless they do it harm.

    :cvar is_shared: whether the tests of the class share one
    """

    settings = {'processes': 1, 'threads': 2, 'keepalive_timeout': 2}
    has_tls = False
    is_shared = True
    _shared = None

    @classmethod
    def tearDownClass(cls):
        if cls._shared is not None:
            cls._shared.stop()
            shutil.rmtree(cls._shared.directory)
            cls._shared = None
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        if not self.is_shared:
            self.served = ServedProcess(
                self.make_directory(), self.settings, self.has_tls
            )
            self.addCleanup(self.served.stop)
        else:
            if self._shared is None:
                # It outlives this test, whose directories do not.
                type(self)._shared = ServedProcess(
                    pathlib.Path(tempfile.mkdtemp(dir='/tmp')),
                    self.settings,
                    self.has_tls,
                )
            self.served = self._shared
        self.directory = self.served.directory
        self.log = self.served.log
        self.port = self.served.port

    def request(self, method, path, body=None):
        """Return status, headers and document of one answer."""
        connection = http.client.HTTPConnection(
            '127.0.0.1', self.port, timeout=30
        )
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            data = response.read()
            return response.status, response.headers, json.loads(data)
        finally:
            connection.close()

    def connect(self):
        sock = socket.create_connection(('127.0.0.1', self.port), 30)
        self.addCleanup(sock.close)
        return sock

    def send(self, data: bytes) -> bytes:
        """Send bytes and return all that comes until the end."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)


def read_all(sock):
    chunks = []
    while chunk := sock.recv(65536):
        chunks.append(chunk)
    return b''.join(chunks)


class TestServing(ServerTestCase):
    def test_get(self):
        status, headers, document = self.request('GET', '/')
        self.assertEqual(200, status)
        self.assertEqual(1, len(headers.get_all('Date')))
        self.assertEqual(['gunicorn'], headers.get_all('Server'))
        self.assertTrue(document['argv'])

    def test_keep_alive(self):
        connection = http.client.HTTPConnection(
            '127.0.0.1', self.port, timeout=30
        )
        self.addCleanup(connection.close)
        for _ in range(3):
            connection.request('POST', '/', body=b'abc')
            response = connection.getresponse()
            self.assertEqual(3, json.load(response)['length'])
        self.assertFalse(response.will_close)

    def test_error_of_the_application(self):
        status, _, document = self.request('GET', '/boom')
        self.assertEqual(500, status)
        self.assertEqual('internal_error', document['reason'])
        self.assertNotIn('secret', document['message'])

    def test_large_body_sees_its_answer(self):
        """The answer arrives although the client is still sending."""
        connection = http.client.HTTPConnection(
            '127.0.0.1', self.port, timeout=30
        )
        self.addCleanup(connection.close)
        connection.request('POST', '/early', body=b'x' * 10_000_000)
        self.assertEqual(413, connection.getresponse().status)

    def test_no_control_socket(self):
        self.request('GET', '/')
        self.assertFalse(
            pathlib.Path(os.environ['HOME'], '.gunicorn').exists()
        )

    def test_log_has_a_line_for_the_address(self):
        self.assertIn(
            f'test-server is listening at http://127.0.0.1:{self.port}',
            self.log.read_text(),
        )


class TestLife(ServerTestCase):
    is_shared = False

    def test_stop_finishes_what_runs(self):
        sock = self.connect()
        sock.sendall(b'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
        time.sleep(0.3)
        status = self.served.stop()
        self.assertIn(b'200 OK', read_all(sock))
        self.assertEqual(0, status)
        self.assertEqual(1, len(list(self.directory.glob('exit-*'))))

    def test_killed_worker_is_replaced(self):
        pid = self.request('GET', '/')[2]['pid']
        self.assertNotEqual(self.served.process.pid, pid)
        os.kill(pid, signal.SIGKILL)
        sock = self.connect()
        sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        self.assertIn(b'200 OK', read_all(sock))
        self.assertNotEqual(pid, self.request('GET', '/')[2]['pid'])

    def test_killed_master_takes_its_workers_along(self):
        pid = self.request('GET', '/')[2]['pid']
        self.served.process.kill()
        self.served.process.wait()

        def is_gone():
            try:
                stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
            except OSError:
                return True
            return stat.rpartition(')')[2].split()[0] == 'Z'

        self.assertTrue(wait_for(is_gone))

    def test_hangup_takes_new_settings(self):
        (self.directory / 'settings').write_text('{"processes": 2}')
        pid = self.request('GET', '/')[2]['pid']
        self.served.process.send_signal(signal.SIGHUP)
        ready = 'worker %d is ready'

        def has_three():
            return self.log.read_text().count('is ready') == 3

        self.assertTrue(wait_for(has_three), self.log.read_text())
        self.assertIn(ready % pid, self.log.read_text())
        self.assertTrue(
            wait_for(lambda: self.request('GET', '/')[2]['pid'] != pid)
        )

    def test_hangup_keeps_settings_when_the_new_are_wrong(self):
        (self.directory / 'settings').write_text('{"fault": "no such thing"}')
        self.served.process.send_signal(signal.SIGHUP)
        line = 'the settings were not taken over: [x] y: no such thing'
        self.assertTrue(wait_for(lambda: line in self.log.read_text()))
        self.assertEqual(200, self.request('GET', '/')[0])


class TestMalformed(ServerTestCase):
    def test_malformed(self):
        """What is no HTTP is answered in the shape of the application."""
        for name, data, status, reason in (
            ('not http', b'hello\r\n\r\n', 400, 'bad_request'),
            (
                'version',
                b'GET / HTTP/7.1\r\nHost: x\r\n\r\n',
                400,
                'bad_request',
            ),
            (
                'header',
                b'GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n',
                400,
                'bad_request',
            ),
            (
                'two lengths',
                b'POST / HTTP/1.1\r\nContent-Length: 3\r\n'
                b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
                400,
                'bad_request',
            ),
            (
                'length',
                b'POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n',
                400,
                'bad_request',
            ),
            (
                'coding',
                b'POST / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n',
                501,
                'bad_request',
            ),
            (
                'long line',
                b'GET /%s HTTP/1.1\r\n\r\n' % (b'x' * 5000),
                414,
                'uri_too_long',
            ),
            (
                'long header',
                b'GET / HTTP/1.1\r\nA: %s\r\n\r\n' % (b'x' * 20000),
                431,
                'headers_too_large',
            ),
            (
                'many headers',
                b'GET / HTTP/1.1\r\n%s\r\n' % (b'A: b\r\n' * 70),
                431,
                'headers_too_large',
            ),
        ):
            with self.subTest(name):
                head, _, body = self.send(data).partition(b'\r\n\r\n')
                self.assertIn(b' %d ' % status, head.splitlines()[0])
                self.assertIn(b'Connection: close', head)
                self.assertEqual(reason, json.loads(body)['reason'])
        self.assertNotIn('Traceback', self.log.read_text())


class TestSlowClients(ServerTestCase):
    settings = {
        'threads': 2,
        'client_timeout': 1,
        'request_timeout': 1,
        'connections': 20,
    }

    def test_silent_clients_take_no_thread(self):
        for _ in range(6):
            self.connect()
        self.assertEqual(200, self.request('GET', '/')[0])

    def test_silent_client_is_closed(self):
        self.assertEqual(b'', read_all(self.connect()))

    def test_slow_head_is_told(self):
        answer = self.send(b'GET / HTTP/1.1\r\nHost: x\r\n')
        self.assertIn(b' 408 ', answer)
        self.assertIn(b'request_timeout', answer)

    def test_slow_body_is_closed(self):
        answer = self.send(
            b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx'
        )
        self.assertNotIn(b'"length": 9', answer)


class TestManySlowClients(ServerTestCase):
    settings = {'threads': 4, 'client_timeout': 60, 'graceful_timeout': 1}

    def test_others_are_served(self):
        """Whoever is slow has half of the threads at most."""
        for _ in range(10):
            self.connect().sendall(b'GET / HTTP/1.1\r\n')
        connection = http.client.HTTPConnection(
            '127.0.0.1',
            self.port,
            timeout=30,
            source_address=('127.0.0.2', 0),
        )
        self.addCleanup(connection.close)
        connection.request('GET', '/')
        self.assertEqual(200, connection.getresponse().status)

    def test_those_in_line_get_their_turn(self):
        slow = [self.connect() for _ in range(6)]
        for sock in slow:
            sock.sendall(b'GET / HTTP/1.1\r\nConnection: close\r\n')
        for sock in slow:
            sock.sendall(b'Host: x\r\n\r\n')
            self.assertIn(b'200 OK', read_all(sock))


class TestShares(base.TestCase):
    def test_line(self):
        shares = server.Shares(2)
        self.assertTrue(shares.take('a', 1))
        self.assertTrue(shares.take('a', 2))
        self.assertFalse(shares.take('a', 3))
        self.assertFalse(shares.take('a', 4))
        self.assertFalse(shares.take('a'))
        self.assertTrue(shares.take('b', 5))
        self.assertEqual(3, shares.give_back('a'))
        self.assertFalse(shares.take('a'))
        self.assertEqual(4, shares.give_back('a'))
        self.assertIsNone(shares.give_back('a'))
        self.assertIsNone(shares.give_back('a'))
        self.assertIsNone(shares.give_back('b'))
        self.assertEqual(({}, {}), (shares._counts, shares._lines))

    def test_origin(self):
        for host, origin in (
            ('192.0.2.1', '192.0.2.1'),
            ('::ffff:192.0.2.1', '192.0.2.1'),
            ('2001:db8::1', '2001:db8::/64'),
            ('2001:db8::2:0:0:1', '2001:db8::/64'),
            ('2001:db8:0:1::1', '2001:db8:0:1::/64'),
            ('', ''),
        ):
            self.assertEqual(origin, server.get_origin(host))


class TestTls(ServerTestCase):
    settings = {'threads': 2, 'client_timeout': 1}
    has_tls = True

    def make_context(self, with_certificate):
        context = ssl.create_default_context(
            cafile=self.directory / 'certificate.pem'
        )
        if with_certificate:
            context.load_cert_chain(
                self.directory / 'certificate.pem', self.directory / 'key.pem'
            )
        return context

    def get_document(self, context):
        connection = http.client.HTTPSConnection(
            '127.0.0.1', self.port, timeout=30, context=context
        )
        self.addCleanup(connection.close)
        connection.request('GET', '/')
        return json.load(connection.getresponse())

    def test_without_certificate(self):
        self.assertEqual('https', self.served.scheme)
        self.assertIsNone(self.get_document(self.make_context(False))['peer'])

    def test_with_certificate(self):
        document = self.get_document(self.make_context(True))
        self.assertGreater(document['peer'], 100)

    def test_large_body_sees_its_answer(self):
        connection = http.client.HTTPSConnection(
            '127.0.0.1',
            self.port,
            timeout=30,
            context=self.make_context(False),
        )
        self.addCleanup(connection.close)
        connection.request('POST', '/early', body=b'x' * 10_000_000)
        self.assertEqual(413, connection.getresponse().status)

    def test_silent_handshake_is_closed(self):
        sock = self.connect()
        sock.sendall(b'\x16')
        self.assertNotIn(b'HTTP', read_all(sock))  # a TLS alert at most

    def test_gone_within_the_handshake(self):
        for data in (b'', b'\x16', b'\x16\x03\x01\x02\x00\x01\x00', b'GE'):
            with self.connect() as sock:
                sock.sendall(data)
        self.assertIsNone(self.get_document(self.make_context(False))['peer'])
        self.assertNotIn('Traceback', self.log.read_text())

    def test_plain_http_gets_nothing(self):
        self.assertNotIn(
            b'200', self.send(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        )
        self.assertIsNone(self.get_document(self.make_context(False))['peer'])
