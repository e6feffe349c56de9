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
"""Certificates of the check-in processes themselves.

Their key is made where it is used; the request is left in the database, and
``novajoin-notify``, which holds the service intermediate's key, signs it.
"""

from collections.abc import Callable
import datetime
import hashlib
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.ca import base as ca_base
from novajoin.db import engine
from novajoin.db import events
from novajoin.db import service_certificates

LOG = logging.getLogger(__name__)


class ServiceCertificates:
    """Ask for, and sign, certificates of the check-in service."""

    def __init__(
        self,
        database: engine.Database,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._db = database
        self._clock = clock

    def request(self, csr: bytes, host: str) -> str:
        """Leave a request.

        :param csr: DER PKCS#10
        :param host: where the key is, for the operator's eyes
        :returns: the id to ask for the answer with
        :raises DatabaseUnavailable: try again
        """
        request = models.ServiceCertificate(
            id=str(uuid.uuid4()),
            host=host,
            csr=csr,
            created_at=self._clock(),
        )
        self._db.write(lambda tx: service_certificates.insert(tx, request))
        return request.id

    def find(self, request_id: str) -> models.ServiceCertificate | None:
        """Return a request with its answer, if there is one yet."""
        return self._db.read(
            lambda tx: service_certificates.find(tx, request_id)
        )

    def list_valid(self) -> list[models.ServiceCertificate]:
        """Return the requests whose certificate has not expired."""
        now = self._clock()
        return self._db.read(
            lambda tx: service_certificates.list_valid(tx, now)
        )

    def compromise(self, key_id: str, request_id: str) -> list[str]:
        """Revoke the certificates of a check-in key that has leaked.

        Its processes notice, and ask for another one with a new key.

        :returns: the hosts that have one; none where the key is unknown
        :raises DatabaseUnavailable: try again
        """
        now = self._clock()

        def revoke(tx: engine.Transaction) -> list[str]:
            hosts = service_certificates.list_hosts(tx, key_id)
            if service_certificates.revoke(tx, key_id, now):
                events.insert(
                    tx,
                    'service_certificate.revoked',
                    now,
                    request_id=request_id,
                    detail={'key': key_id, 'hosts': hosts},
                )
            return hosts

        return self._db.write(revoke)

    def is_revoked(self, serial: str) -> bool:
        """Tell whether a certificate of the check-in service is revoked.

        :param serial: lower-case hex digits
        :raises DatabaseUnavailable: try again
        """
        return self._db.read(
            lambda tx: service_certificates.is_revoked(tx, serial)
        )

    def sign_pending(
        self,
        issuer: ca_base.ServiceIssuer,
        names: frozenset[str],
        *,
        limit: int = 20,
    ) -> int:
        """Answer the requests that wait.

        :param names: what the configuration allows in them
        :returns: how many were answered, refusals included
        :raises CAUnavailable: the key is not with this process
        """
        waiting = self._db.read(
            lambda tx: service_certificates.list_unsigned(tx, limit=limit)
        )
        for request in waiting:
            self._answer(request, issuer, names)
        return len(waiting)

    def _answer(
        self,
        request: models.ServiceCertificate,
        issuer: ca_base.ServiceIssuer,
        names: frozenset[str],
    ) -> None:
        try:
            issued = issuer.issue_service(request.csr, names, self._clock())
        except (exceptions.CsrError, exceptions.Forbidden) as exc:
            LOG.error(
                'The request of the check-in service on %s for its own '
                'certificate is refused: %s',
                request.host,
                exc,
            )
            refusal = exc.message
            self._db.write(
                lambda tx: service_certificates.refuse(tx, request.id, refusal)
            )
            return
        key_id = _get_key_id(issued.der)
        self._db.write(
            lambda tx: service_certificates.put_certificate(
                tx, request.id, issued, key_id
            )
        )
        LOG.info(
            'Signed the certificate of the check-in service on %s, key %s.',
            request.host,
            key_id,
        )


def _get_key_id(certificate: bytes) -> str:
    """Return the id of a certificate's key, made as that of a CA."""
    spki = (
        x509.load_der_x509_certificate(certificate)
        .public_key()
        .public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    )
    return hashlib.sha256(spki).hexdigest()[:16]
