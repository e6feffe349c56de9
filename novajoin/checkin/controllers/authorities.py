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
"""What anyone may read about the CAs: the root and the CRLs."""

import functools
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
import pecan
import webob

from novajoin import exceptions
from novajoin.checkin import requests
from novajoin.checkin import services

#: A revocation is on the CRL within 60 s; a cache must not double that.
_CRL_MAX_AGE: Final = 30


class AuthorityController:
    """``/ca.crt`` and ``/crl/<id>.crl``."""

    def __init__(self, parts: services.Services) -> None:
        self._get_chain = parts.get_chain
        self._find_crl = parts.find_crl

    @pecan.expose()
    def get_root(
        self, request: requests.Request, response: webob.Response
    ) -> webob.Response:
        """Return the certificate that guests pin, PEM."""
        return webob.Response(
            body=_make_pem(self._get_chain().root.der),
            content_type='application/x-pem-file',
        )

    @pecan.expose()
    def get_crl(
        self, request: requests.Request, response: webob.Response, issuer: str
    ) -> webob.Response:
        """Return the CRL of one CA, DER (RFC 5280 section 4.2.1.13).

        :param issuer: id of the CA
        :raises NotFound: there is no such CRL
        """
        crl = self._find_crl(issuer)
        if crl is None:
            raise exceptions.NotFound()
        answer = webob.Response(
            body=crl.der, content_type='application/pkix-crl'
        )
        answer.headers['Cache-Control'] = 'max-age=%d' % _CRL_MAX_AGE
        answer.last_modified = crl.this_update
        return answer


@functools.lru_cache(maxsize=2)
def _make_pem(der: bytes) -> bytes:
    certificate = x509.load_der_x509_certificate(der)
    return certificate.public_bytes(serialization.Encoding.PEM)
