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
"""TLS as instances see it (IDENTITY section 5).

A context is never changed once it serves: OpenSSL does not lock one against
threads that are in a handshake with it. A new certificate makes a new
context, which takes the place of the old one for the connections that come
after; open connections keep what they have.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import datetime
import pathlib
import ssl
from typing import Final

#: TLS 1.2 for guests that have nothing newer; 1.3 has its own, all good.
_CIPHERS: Final = 'ECDHE+AESGCM:ECDHE+CHACHA20'


@dataclasses.dataclass(frozen=True, slots=True)
class _Current:
    context: ssl.SSLContext
    not_after: datetime.datetime


class Contexts:
    """The context for new connections; safe to use from several threads.

    :param clock: the present, UTC
    """

    def __init__(self, clock: Callable[[], datetime.datetime]) -> None:
        self._clock = clock
        self._current: _Current | None = None
        self._refusal = make_refusal()

    def put(
        self, context: ssl.SSLContext, not_after: datetime.datetime
    ) -> None:
        """Use a context from now on.

        :param not_after: end of the life of its certificate
        """
        self._current = _Current(context, not_after)

    def get(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        Without a certificate, or with one that has run out, it is one with
        which every handshake fails.
        """
        current = self._current
        if current is None or self._clock() >= current.not_after:
            return self._refusal
        return current.context


def make_context(
    own: pathlib.Path, client_cas: Iterable[bytes]
) -> ssl.SSLContext:
    """Return a context that serves.

    A client may show a certificate. Only one of an instance intermediate is
    taken: these are the only anchors of trust, so that what the root or the
    service intermediate issued is as foreign as anything else.

    :param own: file with key, certificate and service intermediate, PEM
    :param client_cas: the instance intermediates, DER
    :raises OSError: the file cannot be read or used (ssl.SSLError is one)
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.load_cert_chain(own)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=b''.join(client_cas))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def make_refusal() -> ssl.SSLContext:
    """Return a context without a certificate: it says so in an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(['http/1.1'])
    # A ticket would let a client come back without proving its key, and
    # with a certificate that has run out meanwhile.
    context.num_tickets = 0
    context.options |= (
        ssl.OP_NO_TICKET
        | ssl.OP_NO_COMPRESSION
        | ssl.OP_NO_RENEGOTIATION
        | ssl.OP_SINGLE_ECDH_USE
    )
