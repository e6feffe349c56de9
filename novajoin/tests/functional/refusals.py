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
"""The tables of bad input, for two running services.

Each row says what is sent, and what exactly is to be answered. Most come from
the tables of the unit tests.
"""

import base64
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import http.client
import json
import pathlib
import ssl

from novajoin.tests.functional import service as novajoin_service
from novajoin.tests.functional.checkin import instance as instances
from novajoin.tests.functional.cloud import ports
from novajoin.tests.unit.api import test_bad_input
from novajoin.tests.unit.api import test_nothing_written
from novajoin.tests.unit.api.controllers import test_enrollment
from novajoin.tests.unit.ca import test_csr
from novajoin.tests.unit.checkin import fakes
from novajoin.tests.unit.checkin import hostile

NOBODY = '00000000-0000-4000-8000-000000000000'
FOREIGN_PROJECT = 'f' * 32
CSR = 'application/pkcs10'
TEN_MEGABYTES = 10_000_000

_PATIENCE = 30
_ENROLL = instances.EST + 'simpleenroll'
_REENROLL = instances.EST + 'simplereenroll'
_RECEIPTS = '/v1/receipts'


@dataclasses.dataclass(frozen=True)
class Row:
    """What is sent, and what is to be answered.

    :ivar words: a part of the message
    """

    name: str
    status: int
    reason: str
    path: str
    words: str = ''
    method: str = 'POST'
    body: bytes = b''
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was answered: of an error, its parts."""

    status: int
    reason: str
    message: str
    body: bytes = dataclasses.field(repr=False)


# The control plane.


def list_posts() -> Iterator[Row]:
    """Return what nova never posts."""
    for name, body, media_type, *expected in test_bad_input.TABLE:
        status, reason, words = expected
        headers = {'Content-Type': media_type}
        yield Row(name, status, reason, '/v1/', words, 'POST', body, headers)
    for hostname, reason in test_nothing_written.HOSTNAMES.items():
        yield _make_post(
            'hostname %.40r' % hostname,
            (400, reason, test_nothing_written.show(hostname)),
            hostname=hostname,
        )


def list_posts_about(uuid: str) -> Iterator[Row]:
    """Return what another project may post about an instance."""
    words = 'belongs to another project'
    for hostname in ('web-1', 'web-2', '..'):
        yield _make_post(
            'foreign instance as %s' % hostname,
            (403, 'identity_refused', words),
            **{
                'hostname': hostname,
                'instance-id': uuid,
                'project-id': FOREIGN_PROJECT,
            },
        )


def _make_post(
    name: str, expected: tuple[int, str, str], **changes: object
) -> Row:
    status, reason, words = expected
    body = test_bad_input.dump(**changes)
    headers = {'Content-Type': test_bad_input.JSON}
    return Row(name, status, reason, '/v1/', words, 'POST', body, headers)


def list_calls(uuid: str) -> Iterator[Row]:
    """Return what operators get wrong, about an instance and about none."""
    for query, words in test_enrollment.BAD_QUERIES:
        path = '/v1/enrollments?' + query
        # Longer than the server reads a line.
        if len(path) < 4000:
            yield Row(query, 400, 'bad_request', path, words, 'GET')
    json_type = {'Content-Type': test_bad_input.JSON}
    for action in ('revoke', 'retry', 'reissue', 'release'):
        path = '/v1/enrollments/%s/%s' % (uuid, action)
        yield Row(
            *('%s with a body' % action, 400, 'invalid_body', path),
            body=b'{"password": "x"}',
            headers=json_type,
        )
        yield Row(
            *('%s with GET' % action, 405, 'method_not_allowed', path),
            method='GET',
        )
        yield Row(
            *('%s nobody' % action, 404, 'not_found'),
            path.replace(uuid, NOBODY),
            body=b'{"reason": "x"}' if action == 'release' else b'{}',
            headers=json_type,
        )
    for text in ('1.1', 'W/"1.1"', '"1"', '"1.1", "1.2"', '""'):
        yield Row(
            *('If-Match: ' + text, 400, 'bad_request'),
            *('/v1/enrollments/%s/reissue' % uuid, 'If-Match'),
            headers={'If-Match': text},
        )
    yield Row(
        *('another generation', 412, 'precondition_failed'),
        '/v1/enrollments/%s/reissue' % uuid,
        headers={'If-Match': '"1.9"'},
    )
    for name in (NOBODY, 'x', '..', uuid.upper(), uuid + '%00'):
        path = '/v1/enrollments/' + name
        yield Row('enrollment ' + name, 404, 'not_found', path, method='GET')


class ApiClient:
    """Sends rows to novajoin-server."""

    def __init__(self, service: novajoin_service.Service) -> None:
        self._connection = http.client.HTTPConnection(
            ports.LOOPBACK, service.api_port, timeout=_PATIENCE
        )

    def send(self, row: Row) -> Answer:
        """Send a row and return the answer, which is to be JSON."""
        with contextlib.closing(self._connection) as connection:
            answer = _send(connection, row)
            body = answer.read()
        error = json.loads(body).get('error', {})
        return Answer(
            answer.status, error.get('reason'), error.get('message'), body
        )


# The check-in service.


def list_enrollments(
    instance: instances.Instance, other: instances.Instance, key: pathlib.Path
) -> Iterator[Row]:
    """Return what is no enrollment, most of it with the true token.

    :param other: another instance: its uuid and its token are foreign
    :param key: of the instance; it goes instead of the request, too
    """
    csr = instance.make_csr(key)
    body = base64.b64encode(csr)
    for authorization in (
        *hostile.list_authorizations(instance.uuid, instance.token),
        fakes.make_basic(NOBODY, instance.token),
        fakes.make_basic(other.uuid, instance.token),
        fakes.make_basic(instance.uuid, other.token),
    ):
        headers = {'Content-Type': CSR, 'Authorization': authorization}
        name = 'Authorization: %r' % authorization
        yield Row(
            name, 401, 'unauthorized', _ENROLL, '', 'POST', body, headers
        )
    right = fakes.make_basic(instance.uuid, instance.token)
    yield from _list_requests(
        _ENROLL, csr, key.read_bytes(), {'Authorization': right}
    )


def list_renewals(
    instance: instances.Instance, key: pathlib.Path
) -> Iterator[Row]:
    """Return what is no renewal, for who has the certificate."""
    csr = instance.make_csr(key)
    yield from _list_requests(_REENROLL, csr, key.read_bytes(), {})


def _list_requests(
    path: str, csr: bytes, key: bytes, headers: Mapping[str, str]
) -> Iterator[Row]:
    def make(
        name: str,
        status: int,
        reason: str,
        body: bytes,
        media_type: str = CSR,
    ) -> Row:
        full = {**headers, 'Content-Type': media_type}
        return Row(name, status, reason, path, '', 'POST', body, full)

    body = base64.b64encode(csr)
    for media_type in hostile.MEDIA_TYPES:
        yield make(media_type, 415, 'unsupported_media_type', body, media_type)
    yield make('10 MB', 413, 'body_too_large', b'A' * TEN_MEGABYTES)
    for number, content in enumerate(hostile.list_bodies(csr, key)):
        yield make('body %d' % number, 400, 'csr_malformed', content)
    for name, (reason, der) in list_csrs().items():
        yield make(name, 400, reason, base64.b64encode(der))


def list_csrs() -> dict[str, tuple[str, bytes]]:
    """Return the whole matrix of EM16, for test_csr's name and uuid.

    :returns: reason and DER by what they are
    """
    # What the service injects: one name and one URI.
    names = (test_csr.NAMES[0], test_csr.NAMES[-1])
    return {
        name: row
        for name, row in test_csr.make_refused(names).items()
        if row[0] is not None
    }


def list_receipts(digest: str) -> Iterator[Row]:
    """Return what is no receipt, for who has the certificate.

    :param digest: the one that is right
    """
    right = json.dumps({'seq': 1, 'sha256': digest}).encode()
    json_type = {'Content-Type': test_bad_input.JSON}

    def make(
        name: str,
        status: int,
        reason: str,
        body: bytes,
        headers: Mapping[str, str] = json_type,
    ) -> Row:
        return Row(name, status, reason, _RECEIPTS, '', 'POST', body, headers)

    for media_type in ('', 'text/plain', CSR):
        headers = {'Content-Type': media_type}
        yield make(media_type, 415, 'unsupported_media_type', right, headers)
    yield make('10 MB', 413, 'body_too_large', b' ' * TEN_MEGABYTES)
    for number, content in enumerate(hostile.RECEIPTS):
        body = (
            content
            if isinstance(content, bytes)
            else json.dumps(content).encode()
        )
        yield make('receipt %d' % number, 400, 'invalid_body', body)
    for seq, sha256 in ((1, hostile.DIGEST), (2, digest)):
        body = json.dumps({'seq': seq, 'sha256': sha256}).encode()
        yield make('receipt of nothing', 409, 'receipt_conflict', body)


def list_strangers(
    instance: instances.Instance, key: pathlib.Path
) -> Iterator[Row]:
    """Return what is sent without the certificate that it needs."""
    csr = base64.b64encode(instance.make_csr(key))
    digest = instance.sha256
    receipt = json.dumps({'seq': 1, 'sha256': digest}).encode()
    right = fakes.make_basic(instance.uuid, instance.token)
    for path, body, media_type in (
        (_REENROLL, csr, CSR),
        (_RECEIPTS, receipt, test_bad_input.JSON),
    ):
        for headers in ({}, {'Authorization': right}):
            full = {**headers, 'Content-Type': media_type}
            yield Row(
                *('%s without a certificate' % path, 401, 'unauthorized'),
                *(path, '', 'POST', body, full),
            )


def make_enrollment(
    instance: instances.Instance,
    key: pathlib.Path,
    name: str,
    status: int,
    reason: str,
) -> Row:
    """Return an enrollment in good form, which is refused nevertheless."""
    return Row(
        *(name, status, reason, _ENROLL),
        body=base64.b64encode(instance.make_csr(key)),
        headers={
            'Authorization': fakes.make_basic(instance.uuid, instance.token),
            'Content-Type': CSR,
        },
    )


def make_renewal(
    instance: instances.Instance,
    key: pathlib.Path,
    name: str,
    status: int,
    reason: str,
) -> Row:
    """Return a renewal in good form, which is refused nevertheless."""
    return Row(
        *(name, status, reason, _REENROLL),
        body=base64.b64encode(instance.make_csr(key)),
        headers={'Content-Type': CSR},
    )


class CheckinClient:
    """Sends rows to novajoin-checkin.

    :param root: the CA that it trusts, PEM
    :param key: with its certificate, for who has one
    """

    def __init__(
        self,
        service: novajoin_service.Service,
        root: pathlib.Path,
        key: pathlib.Path | None = None,
        certificate: pathlib.Path | None = None,
    ) -> None:
        context = ssl.create_default_context(cafile=root)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        self._connection = http.client.HTTPSConnection(
            'localhost',
            service.checkin_port,
            context=context,
            timeout=_PATIENCE,
        )

    def send(self, row: Row) -> Answer:
        """Send a row and return the answer; an error has three lines."""
        with contextlib.closing(self._connection) as connection:
            answer = _send(connection, row)
            body = answer.read()
        reason, message, *_ = [*body.decode().split('\n'), '', '']
        return Answer(answer.status, reason, message, body)


def _send(
    connection: http.client.HTTPConnection, row: Row
) -> http.client.HTTPResponse:
    with contextlib.suppress(BrokenPipeError):
        # It may have had enough before the end, and have answered.
        connection.request(row.method, row.path, row.body, dict(row.headers))
    return connection.getresponse()
