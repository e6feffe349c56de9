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
"""The application with a scripted domain below it."""

import base64
import dataclasses
import datetime
from unittest import mock

import webob

from novajoin import exceptions
from novajoin import models
from novajoin.checkin import app
from novajoin.checkin import services
from novajoin.tests import base
from novajoin.tests.unit.checkin import pki

#: The alphabet is right; the checksum is the domain's affair.
TOKEN = 'njt1_' + 'a' * 58
INSTANCE = pki.INSTANCE
EST = '/.well-known/est/'
NOW = datetime.datetime(2026, 11, 21, 8, 0, tzinfo=datetime.timezone.utc)

TEMPLATE = models.CsrTemplate(
    subject=(('CN', pki.HOSTNAME),),
    dns=(pki.HOSTNAME,),
    ip=(),
    uri=('urn:uuid:' + INSTANCE,),
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Stands for the group [checkin]."""

    rate_limit: int = 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the domain answers."""

    certificate: bytes | None
    chain: tuple[bytes, ...] = ()


class Connection:
    """Stands for the TLS socket of gunicorn."""

    def __init__(self, peer):
        self.peer = peer

    def getpeercert(self, binary_form=False):
        """Return the client's certificate like ssl.SSLSocket."""
        if not binary_form:
            raise AssertionError('only the DER is of use')
        return self.peer


def make_basic(user=INSTANCE, password=TOKEN):
    """Return an Authorization header."""
    text = '%s:%s' % (user, password)
    return 'Basic ' + base64.b64encode(text.encode('latin-1')).decode()


class AppTestCase(base.TestCase):
    """A test of the application without a server."""

    rate_limit = 0

    def setUp(self):
        super().setUp()
        self.pki = pki.get_pki()
        self.redemption = mock.create_autospec(
            services.Redemption, instance=True, spec_set=True
        )
        self.crls = {}
        self.health = {}
        self.app = app.build(
            services.Services(
                redemption=self.redemption,
                get_chain=lambda: self.pki.chain,
                find_crl=self.crls.get,
                health=self.health,
            ),
            Settings(self.rate_limit),
        )

    def ask(self, path, method='GET', **kwargs):
        """Return the answer to a request.

        :param peer: certificate of the TLS client, DER
        :param environ: further variables
        """
        environ = kwargs.pop('environ', {})
        peer = kwargs.pop('peer', None)
        environ = {
            'REMOTE_ADDR': '192.0.2.7',
            'gunicorn.socket': Connection(peer),
            **environ,
        }
        request = webob.Request.blank(
            path, method=method, environ=environ, **kwargs
        )
        return request.get_response(self.app)

    def enroll(self, body=None, **kwargs):
        """Return the answer to a simpleenroll that is in order."""
        headers = {
            'Authorization': make_basic(),
            'Content-Type': 'application/pkcs10',
            **kwargs.pop('headers', {}),
        }
        headers = {k: v for k, v in headers.items() if v is not None}
        if body is None:
            body = base64.b64encode(pki.make_csr())
        return self.ask(
            kwargs.pop('path', EST + 'simpleenroll'),
            'POST',
            body=body,
            headers=headers,
            **kwargs,
        )

    def assert_error(self, answer, status, reason):
        """Check the shape of an error (IDENTITY section 5)."""
        self.assertEqual(
            (status, reason), (answer.status_int, answer.text.split('\n')[0])
        )
        self.assertEqual('text/plain', answer.content_type)
        self.assertEqual('no-store', answer.headers['Cache-Control'])
        lines = answer.text.split('\n')
        self.assertEqual(4, len(lines), answer.text)
        self.assertTrue(lines[1])
        self.assertRegex(lines[2], r'^req-[0-9a-f-]{36}$')
        self.assertEqual(lines[2], answer.headers['X-Openstack-Request-Id'])
        self.assertEqual('', lines[3])

    def assert_untouched(self):
        """Check that the domain was not asked for anything."""
        self.assertEqual([], self.redemption.mock_calls)


#: Every error that the domain may raise for a redemption.
REDEMPTION_ERRORS = (
    (exceptions.Unauthorized, 401, 'unauthorized'),
    (exceptions.TokenExpired, 403, 'token_expired'),
    (exceptions.IdentityRefused, 403, 'identity_refused'),
    (exceptions.Contested, 403, 'contested'),
    (exceptions.Suspended, 403, 'suspended'),
    (exceptions.Closed, 410, 'closed'),
    (exceptions.KeyConflict, 409, 'key_conflict'),
    (exceptions.CsrMalformed, 400, 'csr_malformed'),
    (exceptions.CsrSignatureInvalid, 400, 'csr_signature'),
    (
        lambda: exceptions.CsrMismatch('subject'),
        400,
        'csr_mismatch.subject',
    ),
    (exceptions.CsrKeyRefused, 400, 'csr_key'),
    (exceptions.KeyReused, 400, 'key_reused'),
    (exceptions.Unavailable, 503, 'unavailable'),
    (exceptions.CAUnavailable, 503, 'ca_unavailable'),
    (exceptions.DatabaseUnavailable, 503, 'database_unavailable'),
    (exceptions.NovajoinError, 500, 'internal_error'),
    (lambda: RuntimeError('a bug'), 500, 'internal_error'),
)
