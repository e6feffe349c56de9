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

"""The control plane as a process, and under another server."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import urllib.parse

from novajoin import exceptions
from novajoin.tests import base
from novajoin.tests.unit.api import base as api_base
from novajoin.tests.unit.wsgi import test_server
from novajoin.wsgi import api

CONF = """\
[DEFAULT]
state_path = %s/state
[api]
auth_strategy = noauth
port = 0
workers = 1
threads = 4
client_timeout = 1
max_body = 65536
[naming]
domain = example.com
"""


class TestLazyApplication(base.TestCase):
    def call(self, application):
        started = []

        def start_response(status, headers, exc_info=None):
            started.append((status, dict(headers)))

        body = b''.join(application({}, start_response))
        return *started[0], body

    def test_made_once_and_not_before(self):
        made = []

        def factory():
            made.append(1)

            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'x']

            return application

        application = api.LazyApplication(factory)
        self.assertEqual([], made)
        for _ in range(2):
            self.assertEqual('200 OK', self.call(application)[0])
        self.assertEqual([1], made)

    def test_a_service_that_cannot_start(self):
        def factory():
            raise exceptions.ConfigurationError('[api] x', 'secret')

        status, headers, body = self.call(api.LazyApplication(factory))
        self.assertEqual('503 Service Unavailable', status)
        self.assertEqual('unavailable', json.loads(body)['error']['reason'])
        self.assertNotIn(b'secret', body)
        self.assertIn('Retry-After', headers)

    def test_the_module_has_made_nothing(self):
        self.assertIsNone(api.application._application)


class ProcessTestCase(base.TestCase):
    """A process with the embedded defaults in its own home."""

    def spawn(self, *command, conf=CONF):
        self.home = self.make_directory()
        directory = self.home / '.novajoin'
        directory.mkdir()
        (directory / 'join.conf').write_text(conf % self.home)
        self.log = self.home / 'log'
        with self.log.open('w') as stream:
            process = subprocess.Popen(
                [sys.executable, '-m', *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self.home,
                env={**os.environ, 'HOME': str(self.home)},
            )
        self.addCleanup(self.stop, process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def find_port(self, pattern):
        def find():
            return re.search(pattern, self.log.read_text())

        match = test_server.wait_for(find)
        self.assertTrue(match, self.log.read_text())
        return urllib.parse.urlsplit(match[1]).port

    def request(self, method, path, document=None):
        """Return status and document of an answer."""
        connection = http.client.HTTPConnection(
            '127.0.0.1', self.port, timeout=30
        )
        self.addCleanup(connection.close)
        body = None if document is None else json.dumps(document)
        connection.request(
            method, path, body, {'Content-Type': 'application/json'}
        )
        response = connection.getresponse()
        return response.status, json.load(response)

    def send(self, data):
        """Return the document that answers raw bytes."""
        with socket.create_connection(('127.0.0.1', self.port), 30) as sock:
            sock.sendall(data)
            head, _, body = test_server.read_all(sock).partition(b'\r\n\r\n')
        return int(head.split()[1]), json.loads(body)


class TestProcess(ProcessTestCase):
    def test_life(self):
        """From an empty machine to a graceful stop, in one process."""
        process = self.spawn('novajoin.cmd.server')
        self.port = self.find_port('novajoin-server is listening at (.*)')
        status, document = self.request('GET', '/healthcheck')
        self.assertEqual((200, 'ready'), (status, document['status']))

        post = {**api_base.POST, 'metadata': {}}
        self.assertEqual((200, {}), self.request('POST', '/v1/', post))

        for data, status, reason in (
            (b'GET / HTTP/1.1\r\nA B: c\r\n\r\n', 400, 'bad_request'),
            (b'GET /%s HTTP/1.1\r\n\r\n' % (b'x' * 5000), 414, 'uri_too_long'),
            (b'GET / HTTP/1.1\r\nHost: x\r\n', 408, 'request_timeout'),
            (
                b'POST /v1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
                b'Content-Type: application/json\r\n'
                b'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
                400,
                'bad_request',
            ),
            (
                b'POST /v1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
                b'Content-Length: 10000000\r\n\r\n' + b'x' * 10_000_000,
                413,
                'body_too_large',
            ),
        ):
            with self.subTest(data[:40]):
                code, document = self.send(data)
                self.assertEqual(
                    (status, reason), (code, document['error']['reason'])
                )
                self.assertEqual(status, document['error']['code'])
                self.assertIn('request_id', document['error'])

        worker = int(
            re.search(r'worker (\d+) is ready', self.log.read_text())[1]
        )
        os.kill(worker, signal.SIGKILL)
        self.assertEqual((200, {}), self.request('POST', '/v1/', post))
        self.assertEqual(0, self.stop(process))
        self.assertNotIn('Traceback', self.log.read_text())

    def test_noauth_on_an_open_address(self):
        process = self.spawn(
            'novajoin.cmd.server', conf=CONF + '[api]\nlisten = 0.0.0.0\n'
        )
        self.assertEqual(1, process.wait(60))
        text = self.log.read_text()
        self.assertIn('novajoin-server: [api] auth_strategy: noauth', text)
        self.assertNotIn('Traceback', text)
        self.assertFalse(pathlib.Path(self.home, 'state').exists())

    def test_under_another_server(self):
        """gunicorn as an operator runs it; argv is not ours."""
        process = self.spawn(
            'gunicorn',
            '--no-control-socket',
            '--bind=127.0.0.1:0',
            '--threads=2',
            '--worker-tmp-dir=.',
            'novajoin.wsgi.api:application',
        )
        self.port = self.find_port('Listening at: (http://[^ ]*)')
        post = {**api_base.POST, 'metadata': {}}
        self.assertEqual((200, {}), self.request('POST', '/v1/', post))
        status, document = self.request('PUT', '/v1/', post)
        self.assertEqual('method_not_allowed', document['error']['reason'])
        self.assertEqual(0, self.stop(process))
