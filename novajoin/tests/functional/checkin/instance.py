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
"""An instance that has nothing but openssl and curl."""

import base64
import dataclasses
import json
import pathlib
import subprocess

from novajoin.tests.functional import service as novajoin_service

EST = '/.well-known/est/'


@dataclasses.dataclass(frozen=True)
class Answer:
    """What curl got.

    :ivar status: HTTP status, 0 when there was no answer
    :ivar headers: by lower-case name
    """

    status: int
    headers: dict[str, str]
    body: bytes
    error: str

    @property
    def reason(self) -> str:
        """The first line of an error."""
        return self.body.decode(errors='replace').split('\n')[0]


def run(*command: str, data: bytes | None = None) -> bytes:
    """Run a command and return its output."""
    try:
        return subprocess.run(
            command, input=data, capture_output=True, timeout=60, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise AssertionError(
            '%s: %s' % (command, error.stderr.decode(errors='replace'))
        ) from None


def find_id(certificate: pathlib.Path) -> str:
    """Return the id of a CA, or of a key of check-in: of its SHA-256."""
    key = run('openssl', 'x509', '-noout', '-pubkey', '-in', str(certificate))
    der = run('openssl', 'pkey', '-pubin', '-outform', 'DER', data=key)
    digest = run('openssl', 'dgst', '-sha256', '-r', data=der)
    return digest.decode()[:16]


class Instance:
    """Reads its payload and does by hand what it says.

    :param service: the running service
    :param directory: its own, empty
    :param answer: what novajoin-server answered to nova
    """

    def __init__(
        self,
        service: novajoin_service.Service,
        directory: pathlib.Path,
        answer: dict[str, object],
    ) -> None:
        self.service = service
        self.directory = directory
        document = base64.b64decode(answer['bootstrap']['payload'])
        self.payload = json.loads(document)
        self.sha256 = answer['bootstrap']['sha256']
        self.uuid = self.payload['instance']['uuid']
        self.token = self.payload['token']
        self.name = self.payload['csr']['dns'][0]
        self.root = directory / 'root.pem'
        self.root.write_bytes(
            run(
                'openssl',
                'x509',
                '-inform',
                'DER',
                data=base64.b64decode(self.payload['ca']),
            )
        )

    # Keys and requests.

    def make_key(self, name: str = 'key') -> pathlib.Path:
        """Make a P-256 key; return its file."""
        path = self.directory / (name + '.pem')
        run(
            *('openssl', 'genpkey', '-algorithm', 'EC'),
            *('-pkeyopt', 'ec_paramgen_curve:P-256', '-out', str(path)),
        )
        return path

    def make_csr(self, key: pathlib.Path, **changes: object) -> bytes:
        """Return a request as the payload has it, DER.

        :param changes: other ``cn``, ``dns`` or ``uri``
        """
        csr = self.payload['csr']
        names = [
            *('DNS:' + name for name in changes.get('dns', csr['dns'])),
            *('URI:' + uri for uri in changes.get('uri', csr['uri'])),
        ]
        config = self.directory / 'csr.cnf'
        config.write_text(
            '[req]\ndistinguished_name=dn\nprompt=no\nreq_extensions=ext\n'
            '[dn]\nCN=%s\n[ext]\nsubjectAltName=%s\n'
            % (changes.get('cn', csr['subject'][0][1]), ','.join(names))
        )
        return run(
            *('openssl', 'req', '-new', '-key', str(key)),
            *('-config', str(config), '-outform', 'DER'),
        )

    # Requests.

    def ask(self, path: str, *options: str, data: bytes = b'') -> Answer:
        """Ask with curl, as a client that trusts the one CA and no other."""
        headers = self.directory / 'headers'
        headers.write_text('')
        done = subprocess.run(
            [
                *('curl', '--silent', '--show-error', '--noproxy', '*'),
                *('--cacert', str(self.root), '--capath', '/nonexistent'),
                *('--proto', '=https', '--max-time', '30'),
                *('--dump-header', str(headers), *options),
                'https://localhost:%d%s' % (self.service.checkin_port, path),
            ],
            input=data,
            capture_output=True,
            timeout=60,
            check=False,
        )
        # Only the last answer counts, not a "100 Continue" before it.
        blocks = [b for b in headers.read_text().split('\n\n') if b.strip()]
        lines = blocks[-1].splitlines() if blocks else ['HTTP/1.1 0']
        return Answer(
            int(lines[0].split()[1]),
            {
                name.lower(): value.strip()
                for name, _, value in (line.partition(':') for line in lines)
            },
            done.stdout,
            done.stderr.decode(errors='replace'),
        )

    def post_csr(self, operation: str, csr: bytes, *options: str) -> Answer:
        """Post a request in base64."""
        return self.ask(
            EST + operation,
            *('--header', 'Content-Type: application/pkcs10'),
            *('--data-binary', '@-', *options),
            data=run('openssl', 'base64', '-e', data=csr),
        )

    def enroll(
        self, csr: bytes, user: str | None = None, token: str | None = None
    ) -> Answer:
        """Post to simpleenroll with the join token."""
        config = self.directory / 'curl.conf'
        config.touch(mode=0o600)
        config.write_text(
            'user = "%s:%s"\n' % (user or self.uuid, token or self.token)
        )
        return self.post_csr('simpleenroll', csr, '--config', str(config))

    def get_attributes(self) -> Answer:
        """Get csrattrs with the join token."""
        return self.ask(
            EST + 'csrattrs', '--user', '%s:%s' % (self.uuid, self.token)
        )

    def reenroll(
        self, csr: bytes, key: pathlib.Path, certificate: pathlib.Path
    ) -> Answer:
        """Post to simplereenroll with a certificate."""
        return self.post_csr(
            'simplereenroll',
            csr,
            *('--key', str(key), '--cert', str(certificate)),
        )

    def send_receipt(
        self,
        seq: int,
        sha256: str,
        key: pathlib.Path,
        certificate: pathlib.Path,
    ) -> Answer:
        """Post a receipt."""
        return self.ask(
            '/v1/receipts',
            *('--header', 'Content-Type: application/json'),
            *('--data-binary', '@-'),
            *('--key', str(key), '--cert', str(certificate)),
            data=json.dumps({'seq': seq, 'sha256': sha256}).encode(),
        )

    # Answers.

    def write_certificates(
        self, answer: Answer, name: str = 'cert'
    ) -> list[pathlib.Path]:
        """Write what came, the certificate of a key before its issuer."""
        text = run(
            *('openssl', 'pkcs7', '-inform', 'DER', '-print_certs'),
            data=run('openssl', 'base64', '-d', data=answer.body),
        ).decode()
        end = '-----END CERTIFICATE-----\n'
        found = [
            part[part.index('-----BEGIN') :] + end
            for part in text.split(end)[:-1]
        ]
        found.sort(key=lambda pem: b'CA:TRUE' in show(pem))
        paths = []
        for number, pem in enumerate(found):
            path = self.directory / ('%s-%d.pem' % (name, number))
            path.write_text(pem)
            paths.append(path)
        return paths

    def verify(
        self, certificate: pathlib.Path, *issuers: pathlib.Path
    ) -> None:
        """Check a certificate against the root, as both ends would."""
        chain = self.directory / 'untrusted.pem'
        chain.write_text(''.join(path.read_text() for path in issuers))
        for purpose in ('sslclient', 'sslserver'):
            run(
                *('openssl', 'verify', '-x509_strict', '-purpose', purpose),
                *('-CAfile', str(self.root), '-no-CApath', '-no-CAstore'),
                *('-untrusted', str(chain)),
                *('-verify_hostname', self.name, str(certificate)),
            )


def show(pem: str) -> bytes:
    """Return a certificate as text."""
    return run('openssl', 'x509', '-noout', '-text', data=pem.encode())


def get_serial(certificate: pathlib.Path) -> str:
    """Return the serial as the API writes it."""
    line = run('openssl', 'x509', '-noout', '-serial', '-in', str(certificate))
    return '%x' % int(line.decode().partition('=')[2], 16)
