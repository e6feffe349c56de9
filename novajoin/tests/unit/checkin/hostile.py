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
"""Tables of bad input, for the application and for a running service."""

import base64
from typing import Final

from novajoin.tests.unit.checkin import fakes

#: Content types that are not that of a certificate request.
MEDIA_TYPES: Final = (
    '',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json',
    'application/pkcs7-mime',
    'application/pkcs10x',
    'text/plain; application/pkcs10',
)

DIGEST: Final = 'ab' * 32
RECEIPT: Final = {'seq': 3, 'sha256': DIGEST}

#: Bodies that are no receipt: bytes, or what is written as JSON.
RECEIPTS: Final = (
    b'',
    b'{',
    b'\xff',
    b'[' * 1000,
    b'{"seq": 1, "seq": 2, "sha256": "%s"}' % DIGEST.encode(),
    b'{"seq": NaN, "sha256": "%s"}' % DIGEST.encode(),
    [],
    None,
    'x',
    {},
    {'seq': 3},
    {'sha256': DIGEST},
    {**RECEIPT, 'more': 1},
    {**RECEIPT, 'seq': '3'},
    {**RECEIPT, 'seq': True},
    {**RECEIPT, 'seq': 3.0},
    {**RECEIPT, 'seq': None},
    {**RECEIPT, 'seq': -1},
    {**RECEIPT, 'seq': 0},
    {**RECEIPT, 'seq': 2**31},
    {**RECEIPT, 'seq': 2**53},
    {**RECEIPT, 'sha256': DIGEST.upper()},
    {**RECEIPT, 'sha256': DIGEST[1:]},
    {**RECEIPT, 'sha256': DIGEST + '\n'},
    {**RECEIPT, 'sha256': 7},
    {**RECEIPT, 'sha256': [DIGEST]},
)


def list_authorizations(uuid: str, token: str) -> list[str]:
    """Return values of Authorization that are not Basic, or not quite.

    :param uuid: of an instance
    :param token: may be the one that is right
    """
    right = fakes.make_basic(uuid, token)
    return [
        '',
        'Basic',
        'Basic ',
        'Basic !!!',
        'Bearer ' + token,
        'Digest username="x", response="%s"' % token,
        right + ',' + right,
        right + ' x',
        'Basic ' + token,
        'Basic ' + base64.b64encode(b'no colon').decode(),
        'Basic ' + base64.b64encode(token.encode()).decode(),
        'Basic ' + base64.b64encode(b'\xff\xfe:\xff').decode(),
        fakes.make_basic('', token),
        fakes.make_basic(token, uuid),
        fakes.make_basic(uuid, ''),
        fakes.make_basic(uuid + '\0', token),
        fakes.make_basic(uuid, token + '\0'),
        fakes.make_basic(uuid, token + '\n'),
        fakes.make_basic(uuid.upper(), token),
        fakes.make_basic('{%s}' % uuid, token),
        fakes.make_basic(uuid + '\n', token),
        fakes.make_basic("' OR 1=1 --", token),
        fakes.make_basic('../../etc/passwd', token),
    ]


def list_bodies(csr: bytes, key: bytes) -> list[bytes]:
    """Return bodies that are not a certificate request in base64.

    :param csr: one that is in order, DER
    :param key: a private key, PEM: sent by mistake
    """
    pem = b'-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n'
    return [
        b'',
        b'\n',
        b'====',
        b'!' + base64.b64encode(csr),
        base64.b64encode(csr)[:-1],
        base64.urlsafe_b64encode(b'\xff' * 30),
        csr,
        pem,
        key,
        b'\x00' * 100,
        '\N{SNOWMAN}'.encode(),
    ]


def map_streams(path: str, authorization: str) -> dict[bytes, int]:
    """Return what is not HTTP, each with the status that it gets.

    :param path: of simpleenroll
    :param authorization: a value of that header, which comes in wrong places
    """
    line = b'GET /ca.crt HTTP/1.1\r\n'
    host = b'Host: x\r\n'
    end = b'\r\n\r\n'
    chunked = b'Transfer-Encoding: chunked'
    media_type = b'Content-Type: application/pkcs10\r\n' + chunked + b'\r\n'
    post = b'POST %s HTTP/1.1\r\nHost: x\r\n' % path.encode()
    word = authorization.encode('latin-1')
    credentials = b'Authorization: ' + word
    return {
        b'\x00' * 100 + b'\r\n\r\n': 400,
        b'GET\r\n\r\n': 400,
        word + b'\r\n\r\n': 400,
        b'GET / HTTP/9.9\r\n' + host + b'\r\n': 400,
        b'GET / ' + word.replace(b' ', b'') + b'\r\n' + host + b'\r\n': 400,
        b'GET /' + b'a' * 10_000 + b' HTTP/1.1\r\n\r\n': 414,
        line + b'Authorization: Basic ' + b'A' * 100_000 + end: 431,
        line + b'X: y\r\n' * 500 + b'\r\n': 431,
        line + b'Bad Header: ' + word + end: 400,
        line + b'Authorization ' + word + end: 400,
        line + b'Authorization: a\x00' + word + end: 400,
        line + b'Authorization: Basic\r\n ' + word[6:] + end: 400,
        line + host + b'Expect: ' + word + end: 417,
        post + b'Content-Length: x' + end: 400,
        post + b'Content-Length: -1' + end: 400,
        post + b'Content-Length: 5\r\nContent-Length: 6' + end: 400,
        post + b'Content-Length: 5\r\n' + chunked + end: 400,
        post + media_type + credentials + end + word + end: 400,
    }
