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
"""Basic, with inputs that are open."""

import base64
import socket
import ssl
import uuid

import hypothesis
from hypothesis import strategies as st

from novajoin import exceptions
from novajoin.checkin import credentials
from novajoin.tests import base
from novajoin.tests.unit.checkin import fakes


class TestReadBasic(base.TestCase):
    @hypothesis.given(
        st.uuids(), st.from_regex('[!-~]{1,100}', fullmatch=True)
    )
    def test_taken(self, instance, token):
        header = fakes.make_basic(str(instance), token)
        basic = credentials.read_basic({'HTTP_AUTHORIZATION': header})
        self.assertEqual((str(instance), token), (basic.instance, basic.token))
        self.assertEqual("Basic(instance='%s')" % instance, repr(basic))

    @hypothesis.given(st.text(max_size=200))
    def test_any_header(self, text):
        self.assertRaises(
            exceptions.Unauthorized,
            credentials.read_basic,
            {'HTTP_AUTHORIZATION': text},
        )

    @hypothesis.given(st.binary(max_size=200))
    def test_any_content(self, content):
        header = 'Basic ' + base64.b64encode(content).decode()
        try:
            basic = credentials.read_basic({'HTTP_AUTHORIZATION': header})
        except exceptions.Unauthorized:
            return
        self.assertEqual(str(uuid.UUID(basic.instance)), basic.instance)


class TestReadPeer(base.TestCase):
    def test_no_tls(self):
        for environ in (
            {},
            {'gunicorn.socket': None},
            {'gunicorn.socket': fakes.Connection(None)},
            {'gunicorn.socket': fakes.Connection(b'')},
        ):
            self.assertRaises(
                credentials.NoCertificate, credentials.read_peer, environ
            )

    def test_handshake_not_done(self):
        """A true TLS socket; then one whose client has gone."""
        left, right = socket.socketpair()
        self.addCleanup(right.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        wrapped = context.wrap_socket(
            left, server_side=True, do_handshake_on_connect=False
        )
        self.addCleanup(wrapped.close)
        self.assertRaises(ValueError, wrapped.getpeercert, True)
        environ = {'gunicorn.socket': wrapped}
        self.assertRaises(
            credentials.NoCertificate, credentials.read_peer, environ
        )
        gone = context.wrap_socket(socket.socket(), server_side=True)
        self.addCleanup(gone.close)
        self.assertRaises(OSError, gone.getpeercert, True)
        self.assertRaises(
            credentials.NoCertificate,
            credentials.read_peer,
            {'gunicorn.socket': gone},
        )

    def test_taken(self):
        environ = {'gunicorn.socket': fakes.Connection(b'der')}
        self.assertEqual(b'der', credentials.read_peer(environ))
