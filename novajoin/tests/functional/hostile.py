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
"""Send the tables of bad input to a running service, full of secrets.

The tables are those of the unit tests. What is put into them is what clients
get wrong: a token in another header, a private key instead of a request, a
password in the metadata.
"""

import base64
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import http.client
import json
import pathlib
import secrets
import socket
import ssl
import urllib.parse

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from novajoin.tests.functional import service as novajoin_service
from novajoin.tests.functional.checkin import instance as instances
from novajoin.tests.functional.cloud import ports
from novajoin.tests.unit.api import base
from novajoin.tests.unit.api import test_bad_input
from novajoin.tests.unit.api import test_nothing_written
from novajoin.tests.unit.api.controllers import test_enrollment
from novajoin.tests.unit.checkin import fakes
from novajoin.tests.unit.checkin import hostile

_PATIENCE = 30
_LONGEST_LINE = 4000
_ENROLL = instances.EST + 'simpleenroll'
_CSR = 'application/pkcs10'


def make_secrets() -> dict[str, str]:
    """Return one of each kind that clients have, by what it is."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    random = base64.b32encode(secrets.token_bytes(20)).decode().lower()
    return {
        'sent password': secrets.token_hex(16),
        'sent keystone token': 'gAAAAAB' + secrets.token_urlsafe(90),
        'sent one-time password': 'nji1' + random,
        'sent private key': key.decode().splitlines()[1],
    }


class Sender:
    """Sends, and keeps what is answered.

    :param service: the running service
    :param sent: the secrets that are put into what is sent
    :param headers: go with each request to the control plane
    :ivar answers: header and body, by what was sent
    :ivar unexpected: the answers with another status than they should have
    """

    def __init__(
        self,
        service: novajoin_service.Service,
        sent: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._service = service
        self._text = '\n'.join(sent.values())
        self._word = urllib.parse.quote(self._text)
        self._headers = {
            'Authorization': fakes.make_basic('nova', sent['sent password']),
            'Cookie': 'session=' + sent['sent password'],
            'X-Auth-Token': sent['sent keystone token'],
            **(headers or {}),
        }
        self.answers: dict[str, bytes] = {}
        self.unexpected: dict[str, int] = {}

    # The control plane.

    def send_posts(self, expected: int | None = None) -> None:
        """Send what nova never posts.

        :param expected: status of each answer, if not that of the table; a
            body that is too large is refused before anything else
        """
        for name, body, media_type, status, *_ in test_bad_input.TABLE:
            self._post(
                'post: ' + name,
                self._plant(body),
                status if status == 413 else expected or status,
                media_type,
            )

    def send_hostnames(self) -> None:
        """Post hostnames that are none, or are not to be had."""
        for hostname in test_nothing_written.HOSTNAMES:
            body = test_bad_input.dump(hostname=hostname)
            self._post('hostname: %.40r' % hostname, self._plant(body), 400)

    def send_queries(self) -> None:
        """Send bad queries to each list, and bad bodies to each action."""
        queries = [query for query, _ in test_enrollment.BAD_QUERIES]
        for name in ('hostname', 'instance', 'marker', 'token'):
            queries.append('%s=%s' % (name, self._word))
        for noun in ('enrollments', 'certificates', 'events'):
            for query in queries:
                path = '/v1/%s?%s' % (noun, query)
                expected = 414 if len(path) > _LONGEST_LINE else 400
                self._call(path[:99], expected, 'GET', path)
        body = json.dumps({'password': self._text}).encode()
        for action in ('revoke', 'retry', 'reissue', 'release'):
            path = '/v1/enrollments/%s/%s' % (base.INSTANCE, action)
            headers = {
                'Content-Type': test_bad_input.JSON,
                'If-Match': self._word,
            }
            self._call(action, 400, 'POST', path, body, headers)

    def _plant(self, body: bytes) -> bytes:
        """Put the secrets where a tenant or nova could have put them."""
        own = json.dumps(base.POST['user-data']).encode()
        text = json.dumps(self._text).encode()
        if own not in body:
            return body + text
        flag = b'"ipa_enroll"'
        return body.replace(own, text).replace(
            flag, b'"password": %s, %s' % (text, flag)
        )

    def _post(
        self,
        name: str,
        body: bytes,
        expected: int,
        media_type: str = test_bad_input.JSON,
    ) -> None:
        headers = {'Content-Type': media_type}
        self._call(name, expected, 'POST', '/v1/', body, headers)

    def _call(
        self,
        name: str,
        expected: int,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        connection = http.client.HTTPConnection(
            ports.LOOPBACK, self._service.api_port, timeout=_PATIENCE
        )
        with contextlib.closing(connection):
            connection.request(
                method, path, body, {**self._headers, **(headers or {})}
            )
            self._take(name, expected, connection.getresponse())

    # The check-in service.

    def send_requests(
        self, instance: instances.Instance, key: pathlib.Path
    ) -> None:
        """Send what is no enrollment of an instance, with its true token.

        :param key: of the instance; it goes instead of the request, too
        """
        csr = instance.make_csr(key)
        right = fakes.make_basic(instance.uuid, instance.token)
        body = base64.b64encode(csr)
        large = self._text.encode() * 10_000
        for status, rows in {
            401: [
                (body, header, _CSR)
                for header in hostile.list_authorizations(
                    instance.uuid, instance.token
                )
            ],
            400: [
                (content, right, _CSR)
                for content in hostile.list_bodies(csr, key.read_bytes())
            ],
            415: [(body, right, named) for named in hostile.MEDIA_TYPES],
            413: [(large, right, _CSR)],
        }.items():
            for number, (content, header, media_type) in enumerate(rows):
                with self._connect(instance) as connection:
                    connection.request(
                        *('POST', _ENROLL, content),
                        {'Authorization': header, 'Content-Type': media_type},
                    )
                    self._take(
                        'enroll: %d %d' % (status, number),
                        status,
                        connection.getresponse(),
                    )

    def send_streams(self, instance: instances.Instance) -> None:
        """Send what is no HTTP, the true token in it; to both services."""
        right = fakes.make_basic(instance.uuid, instance.token)
        context = ssl.create_default_context(cafile=instance.root)
        for data, status in hostile.map_streams(_ENROLL, right).items():
            with self._open(self._service.api_port) as sock:
                self._stream('api', sock, data, status)
            with (
                self._open(self._service.checkin_port) as raw,
                context.wrap_socket(raw, server_hostname='localhost') as sock,
            ):
                self._stream('check-in', sock, data, status)

    def _open(self, port: int) -> socket.socket:
        return socket.create_connection((ports.LOOPBACK, port), _PATIENCE)

    def _stream(
        self, name: str, sock: socket.socket, data: bytes, expected: int
    ) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(data)  # it may have had enough before
        answer = b''.join(_read_all(sock))
        status = int(answer.split()[1])
        self._keep('%s: %.99r' % (name, data), expected, status, answer)

    def send_receipts(
        self,
        instance: instances.Instance,
        key: pathlib.Path,
        certificate: pathlib.Path,
    ) -> None:
        """Send what is no receipt, with the certificate of the instance."""
        bodies = [
            body if isinstance(body, bytes) else json.dumps(body).encode()
            for body in hostile.RECEIPTS
        ]
        bodies += [
            key.read_bytes(),
            json.dumps({**hostile.RECEIPT, 'key': self._text}).encode(),
            json.dumps({**hostile.RECEIPT, 'sha256': self._text}).encode(),
        ]
        for number, body in enumerate(bodies):
            with self._connect(instance, key, certificate) as connection:
                connection.request(
                    *('POST', '/v1/receipts', body),
                    {'Content-Type': test_bad_input.JSON},
                )
                self._take(
                    'receipt: %d' % number, 400, connection.getresponse()
                )

    @contextlib.contextmanager
    def _connect(
        self,
        instance: instances.Instance,
        key: pathlib.Path | None = None,
        certificate: pathlib.Path | None = None,
    ) -> Iterator[http.client.HTTPSConnection]:
        context = ssl.create_default_context(cafile=instance.root)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        connection = http.client.HTTPSConnection(
            'localhost',
            self._service.checkin_port,
            context=context,
            timeout=_PATIENCE,
        )
        with contextlib.closing(connection):
            yield connection

    def _take(
        self, name: str, expected: int, answer: http.client.HTTPResponse
    ) -> None:
        content = str(answer.headers).encode() + answer.read()
        self._keep(name, expected, answer.status, content)

    def _keep(
        self, name: str, expected: int, status: int, content: bytes
    ) -> None:
        self.answers[name] = content
        if status != expected:
            self.unexpected['%s: not %d' % (name, expected)] = status


def _read_all(sock: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while chunk := sock.recv(65536):
            yield chunk
