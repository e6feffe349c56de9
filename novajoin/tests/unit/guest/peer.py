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
"""A check-in service for the unit tests of the guest client.

It speaks real TLS and real EST with certificates made on the spot; what it
lacks is novajoin behind it. A test changes an answer with `Peer.answers`.
"""

import base64
import collections
from collections.abc import Callable
import contextlib
import dataclasses
import datetime
import http.server
import ipaddress
import pathlib
import socket
import ssl
import threading
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import oid

CSR_PATH = '/.well-known/est/simpleenroll'
RENEW_PATH = '/.well-known/est/simplereenroll'
RECEIPT_PATH = '/v1/receipts'


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


@dataclasses.dataclass
class Holder:
    """A certificate, its key and the issuers above it but for the root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: list[x509.Certificate] = dataclasses.field(default_factory=list)

    def write(self, folder: pathlib.Path, name: str) -> pathlib.Path:
        path = folder / f'{name}.pem'
        path.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + b''.join(
                c.public_bytes(serialization.Encoding.PEM)
                for c in (self.certificate, *self.chain)
            )
        )
        return path


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name)]
    )


def issue(
    subject: x509.Name | str,
    key: Any,
    issuer: Holder | None,
    *,
    signer: ec.EllipticCurvePrivateKey | None = None,
    is_ca: bool = False,
    names: list[x509.GeneralName] | None = None,
    start: datetime.datetime | None = None,
    life: datetime.timedelta = datetime.timedelta(days=2),
) -> x509.Certificate:
    """Sign a certificate; a root when there is neither issuer nor signer."""
    subject = _name(subject) if isinstance(subject, str) else subject
    start = start or now() - datetime.timedelta(minutes=5)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                issuer.key.public_key() if issuer else key
            ),
            critical=False,
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
    return builder.sign(issuer.key if issuer else signer, hashes.SHA256())


class Authority:
    """A root with a service and an instance intermediate."""

    def __init__(
        self, name: str, start: datetime.datetime | None = None
    ) -> None:
        self._start = start
        key = ec.generate_private_key(ec.SECP256R1())
        self.root = Holder(
            issue(
                f'{name} root',
                key.public_key(),
                None,
                signer=key,
                is_ca=True,
                start=start,
                life=datetime.timedelta(days=3650),
            ),
            key,
        )
        self.service = self._intermediate(f'{name} service')
        self.instance = self._intermediate(f'{name} instance')

    def _intermediate(self, name: str) -> Holder:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = issue(
            name,
            key.public_key(),
            self.root,
            is_ca=True,
            start=self._start,
            life=datetime.timedelta(days=3649),
        )
        return Holder(certificate, key)

    def server(self, start: datetime.datetime | None = None) -> Holder:
        """A certificate for the loopback addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = issue(
            'check-in',
            key.public_key(),
            self.service,
            names=[
                x509.DNSName('localhost'),
                x509.IPAddress(ipaddress.ip_address('127.0.0.1')),
                x509.IPAddress(ipaddress.ip_address('::1')),
            ],
            start=start or self._start,
        )
        return Holder(certificate, key, [self.service.certificate])

    def root_der(self) -> bytes:
        return self.root.certificate.public_bytes(serialization.Encoding.DER)


@dataclasses.dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes
    certificate: bytes | None

    @property
    def basic(self) -> str:
        scheme, _, value = self.headers.get('authorization', '').partition(' ')
        return base64.b64decode(value).decode() if scheme == 'Basic' else ''

    def csr(self) -> x509.CertificateSigningRequest:
        return x509.load_der_x509_csr(base64.b64decode(self.body))

    def public_key(self) -> bytes:
        return (
            self.csr()
            .public_key()
            .public_bytes(
                serialization.Encoding.DER,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            )
        )


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes = b''
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    chunked: bool = False
    # Says more in Content-Length than it sends, then closes.
    cut: bool = False


def refusal(status: int, reason: str, **headers: str) -> Answer:
    """An error as the table of the EST answers words it."""
    return Answer(
        status,
        f'{reason}\nwords for {reason}\nreq-123\n'.encode(),
        {'Content-Type': 'text/plain', **headers},
    )


def certificates_only(certificates: list[x509.Certificate]) -> Answer:
    der = pkcs7.serialize_certificates(
        certificates, serialization.Encoding.DER
    )
    return Answer(
        200,
        base64.encodebytes(der),
        {'Content-Type': 'application/pkcs7-mime; smime-type=certs-only'},
    )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: '_Server'

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        length = int(self.headers.get('Content-Length', 0))
        request = Request(
            self.path,
            {k.lower(): v for k, v in self.headers.items()},
            self.rfile.read(length),
            self.connection.getpeercert(True),
        )
        answer = self.server.peer.answer(request)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header('Transfer-Encoding', 'chunked')
        else:
            length = len(answer.body) + (100 if answer.cut else 0)
            self.send_header('Content-Length', str(length))
        self.end_headers()
        if answer.chunked:
            for i in range(0, len(answer.body), 100):
                part = answer.body[i : i + 100]
                self.wfile.write(b'%x;x=y\r\n%s\r\n' % (len(part), part))
            self.wfile.write(b'0\r\n\r\n')
        else:
            self.wfile.write(answer.body)
        self.close_connection = self.close_connection or answer.cut


class _Server(http.server.ThreadingHTTPServer):
    peer: 'Peer'

    def __init__(
        self, peer: 'Peer', address: str, context: ssl.SSLContext
    ) -> None:
        self.address_family = (
            socket.AF_INET6 if ':' in address else socket.AF_INET
        )
        self.peer = peer
        self._context = context
        super().__init__((address, 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the thread of the connection, so a slow handshake stops nobody.
        # Who does not trust us hangs up in the middle of it.
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(request, server_side=True) as secure,
        ):
            super().finish_request(secure, client_address)

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            super().shutdown_request(request)


class Peer:
    """An EST service on a loopback port.

    `answers[path]` holds what comes first: an `Answer`, or a function from
    the request to one. After these, it enrolls whoever shows `token`, but for
    one token one key only: a second one contests it, and then nothing that was
    issued is good any more. `reissue` begins anew.
    """

    def __init__(
        self,
        authority: Authority,
        folder: pathlib.Path,
        *,
        holder: Holder | None = None,
        address: str = '127.0.0.1',
    ) -> None:
        self.authority = authority
        self.requests: list[Request] = []
        self.answers: dict[
            str, collections.deque[Answer | Callable[[Request], Answer]]
        ] = collections.defaultdict(collections.deque)
        self.user = ''
        self.token = ''
        self.life = datetime.timedelta(days=2)
        self.start: datetime.datetime | None = None
        self.issued: dict[bytes, x509.Certificate] = {}
        self.winner: bytes | None = None
        self.revoked = ''
        self.address = address
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            (holder or authority.server()).write(folder, f'peer-{id(self)}')
        )
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(
            cadata=authority.root.certificate.public_bytes(
                serialization.Encoding.PEM
            ).decode()
        )
        self._server = _Server(self, address, context)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        host = f'[{self.address}]' if ':' in self.address else self.address
        return f'https://{host}:{self.port}'

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def asked(self, path: str) -> list[Request]:
        return [r for r in self.requests if r.path == path]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.answers[request.path]:
            answer = self.answers[request.path].popleft()
            return answer(request) if callable(answer) else answer
        if request.path == CSR_PATH:
            if request.basic != f'{self.user}:{self.token}':
                return refusal(401, 'unauthorized')
            self.winner = self.winner or request.public_key()
            if self.winner != request.public_key():
                self.revoked = 'contested'
                return refusal(409, 'key_conflict')
            self.revoked = ''
            return self.enroll(request)
        if self.revoked:
            return refusal(403, self.revoked)
        if request.path == RENEW_PATH and request.certificate:
            return self.enroll(request)
        if request.path == RECEIPT_PATH and request.certificate:
            return Answer(204)
        return refusal(404, 'not_found')

    def reissue(self, user: str, token: str) -> None:
        """Open a new generation, or another instance: nothing is claimed."""
        self.user = user
        self.token = token
        self.winner = None
        self.revoked = 'certificate_revoked' if self.issued else ''

    def enroll(self, request: Request) -> Answer:
        """One certificate for one key, the same however often it asks."""
        certificate = self.issued.get(request.public_key())
        if certificate is None:
            certificate = self.sign(request.csr())
            self.issued[request.public_key()] = certificate
        return certificates_only(
            [self.authority.instance.certificate, certificate]
        )

    def sign(
        self,
        csr: x509.CertificateSigningRequest,
        *,
        names: list[x509.GeneralName] | None = None,
        subject: x509.Name | None = None,
        issuer: Holder | None = None,
    ) -> x509.Certificate:
        asked = csr.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
        return issue(
            subject or csr.subject,
            csr.public_key(),
            issuer or self.authority.instance,
            names=names or list(asked),
            life=self.life,
            start=self.start,
        )


class Metadata:
    """The files of a config drive over plain HTTP, as nova's API has them."""

    def __init__(self, drive: pathlib.Path) -> None:
        self.paths: list[str] = []
        paths = self.paths

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(drive))

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                paths.append(self.path.rpartition('/')[2])
                super().do_GET()

        self._server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._server.server_address[1]}'

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
