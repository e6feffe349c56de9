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
"""Where certificates say that CRL and issuer are found."""

from cryptography import x509
from cryptography.x509 import oid


def make_crl_pointer(url: str, issuer: str) -> x509.CRLDistributionPoints:
    """Return the extension that names a CA's CRL (RFC 5280 4.2.1.13).

    :param url: ``[ca_embedded] crl_url``
    :param issuer: id of the CA
    """
    address = '%s/crl/%s.crl' % (url.rstrip('/'), issuer)
    return x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(
                full_name=[x509.UniformResourceIdentifier(address)],
                relative_name=None,
                reasons=None,
                crl_issuer=None,
            )
        ]
    )


def find_service_url(url: str | None) -> str | None:
    """Return where CRLs for the chain of the check-in service are fetched.

    None for ``https``: whoever fetches over TLS verifies a certificate of that
    chain first, for which it needs the CRL (RFC 5280 section 8).

    :param url: ``[ca_embedded] crl_url``
    """
    if url is None or url.lower().startswith('https:'):
        return None
    return url


def make_issuer_pointer(url: str) -> x509.AuthorityInformationAccess:
    """Return the extension that names a CA's certificate (4.2.2.1).

    :param url: ``[ca_embedded] issuer_url``
    """
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                oid.AuthorityInformationAccessOID.CA_ISSUERS,
                x509.UniformResourceIdentifier(url),
            )
        ]
    )
