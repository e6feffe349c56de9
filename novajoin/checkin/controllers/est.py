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
"""Enrollment over Secure Transport (RFC 7030, clarified by RFC 8951)."""

from collections.abc import Callable
import functools
from typing import Final

import pecan
import webob

from novajoin import exceptions
from novajoin import models
from novajoin.checkin import credentials
from novajoin.checkin import peer as tls_peer
from novajoin.checkin import requests
from novajoin.checkin import services
from novajoin.checkin import transfer

#: How long a body may be. The request in it may have 8 KiB.
LONGEST_BODY: Final = 16 * 1024
REQUEST_TYPE: Final = 'application/pkcs10'
RETRY_AFTER: Final = 5


class EstController:
    """The operations below ``/.well-known/est/``."""

    def __init__(self, parts: services.Services) -> None:
        self._redemption = parts.redemption
        self._get_chain = parts.get_chain

    @pecan.expose()
    def get_ca_certificates(
        self, request: requests.Request, response: webob.Response
    ) -> webob.Response:
        """``cacerts``: root and both intermediates, for anyone."""
        return _make_answer(
            _encode_chain(self._get_chain()),
            'application/pkcs7-mime; smime-type=certs-only',
        )

    @pecan.expose()
    def get_csr_attributes(
        self, request: requests.Request, response: webob.Response
    ) -> webob.Response:
        """``csrattrs``: what the CSR is to hold; consumes nothing."""
        basic = credentials.read_basic(request.environ)
        enrollment = self._redemption.authenticate(basic.instance, basic.token)
        template = self._redemption.get_template(enrollment)
        return _make_answer(
            transfer.encode_attributes(template), 'application/csrattrs'
        )

    @pecan.expose()
    def enroll(
        self, request: requests.Request, response: webob.Response
    ) -> webob.Response:
        """``simpleenroll``: a join token and a CSR for a certificate."""
        request.check_length(LONGEST_BODY)
        basic = credentials.read_basic(request.environ)
        request.check_content_type(REQUEST_TYPE)
        csr = _read_csr(
            request,
            lambda: self._redemption.authenticate(basic.instance, basic.token),
        )
        outcome = self._redemption.redeem(
            basic.instance, basic.token, csr, request.id
        )
        return _make_outcome(outcome)

    @pecan.expose()
    def reenroll(
        self, request: requests.Request, response: webob.Response
    ) -> webob.Response:
        """``simplereenroll``: a certificate and a CSR for the next one."""
        request.check_length(LONGEST_BODY)
        peer = credentials.read_peer(request.environ)
        tls_peer.check(peer, self._get_chain())
        request.check_content_type(REQUEST_TYPE)
        csr = _read_csr(request, lambda: None)
        return _make_outcome(self._redemption.renew(peer, csr, request.id))


def _read_csr(
    request: requests.Request, authenticate: Callable[[], object]
) -> bytes:
    """Return the CSR, DER.

    What is no base64 is told only to someone who is known: a wrong token
    gets the same answer whatever the body is.
    """
    try:
        return transfer.decode(request.read_body(LONGEST_BODY))
    except exceptions.CsrMalformed:
        authenticate()
        raise


@functools.lru_cache(maxsize=2)
def _encode_chain(chain: models.Chain) -> bytes:
    return transfer.encode_certificates(
        (chain.root.der, chain.service.der, chain.instance.der)
    )


def _make_outcome(outcome: services.Outcome) -> webob.Response:
    if outcome.certificate is None:
        return webob.Response(
            status=202,
            headers={'Retry-After': str(RETRY_AFTER)},
            content_type='text/plain',
        )
    return _make_answer(
        transfer.encode_certificates((outcome.certificate, *outcome.chain)),
        'application/pkcs7-mime; smime-type=certs-only',
    )


def _make_answer(body: bytes, content_type: str) -> webob.Response:
    response = webob.Response(body=body)
    response.headers['Content-Type'] = content_type
    response.headers['Content-Transfer-Encoding'] = 'base64'
    return response
