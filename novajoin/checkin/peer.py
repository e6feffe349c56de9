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
"""Is the certificate of a TLS client one of an instance?

The TLS handshake trusts nothing but the instance intermediates. This looks
once more at issuer and extended key usage, so that a mistake in how the
context is set up does not let the service's own certificates in. Serial,
epoch and revocation are looked up by the domain.
"""

from cryptography import exceptions as crypto_exceptions
from cryptography import x509
from cryptography.x509 import oid

from novajoin import exceptions
from novajoin import models


def check(peer: bytes, chain: models.Chain) -> None:
    """Refuse what no instance intermediate issued to an instance.

    :param peer: the client's certificate, DER
    :param chain: the CA certificates
    :raises CertificateRevoked: it is not one of ours
    """
    try:
        is_ours = _is_ours(peer, chain)
    except (
        ValueError,
        TypeError,
        crypto_exceptions.UnsupportedAlgorithm,
        x509.DuplicateExtension,
    ):
        is_ours = False
    if not is_ours:
        raise exceptions.CertificateRevoked()


def _is_ours(peer: bytes, chain: models.Chain) -> bool:
    certificate = x509.load_der_x509_certificate(peer)
    can_authenticate = is_authority = False
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage):
            can_authenticate = oid.ExtendedKeyUsageOID.CLIENT_AUTH in value
        elif isinstance(value, x509.BasicConstraints):
            is_authority = value.ca
    return (
        can_authenticate
        and not is_authority
        and any(_is_issuer(record, certificate) for record in chain.issuers)
    )


def _is_issuer(
    record: models.CertificateAuthorityRecord, certificate: x509.Certificate
) -> bool:
    issuer = x509.load_der_x509_certificate(record.der)
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except crypto_exceptions.InvalidSignature:
        return False
    return True
