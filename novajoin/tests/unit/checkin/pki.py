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
"""A PKI of the shape of ours, for tests of what stands in front of it."""

import dataclasses
import datetime
import functools
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from novajoin import models

INSTANCE = '8f2cf9c4-6d1c-4d52-a3f0-4a4b0e9ff0a1'
HOSTNAME = 'web1.example.com'

CLIENT = oid.ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = oid.ExtendedKeyUsageOID.SERVER_AUTH


def now() -> datetime.datetime:
    """Return the present in whole seconds: TLS asks the real clock."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def write(self, path: pathlib.Path, *others: 'Pair') -> pathlib.Path:
        """Write key, certificate and further certificates to one file."""
        parts = (self.key_pem, self.pem, *(other.pem for other in others))
        path.write_bytes(b''.join(parts))
        path.chmod(0o600)
        return path


def make_name(text):
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])


def issue(
    name,
    issuer=None,
    *,
    names=(),
    usages=(),
    is_ca=False,
    key=None,
    public_key=None,
    not_before=None,
    not_after=None,
    extensions=(),
):
    """Return a new Pair; self-signed without an issuer."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    at = now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(make_name(name))
        .issuer_name(issuer.certificate.subject if issuer else make_name(name))
        .public_key(public_key or key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or at - datetime.timedelta(minutes=1))
        .not_valid_after(not_after or at + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    )
    if names:
        general = []
        for text in names:
            try:
                general.append(x509.IPAddress(ipaddress.ip_address(text)))
            except ValueError:
                general.append(
                    x509.UniformResourceIdentifier(text)
                    if ':' in text
                    else x509.DNSName(text)
                )
        builder = builder.add_extension(
            x509.SubjectAlternativeName(general), critical=False
        )
    if usages:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(usages), critical=False
        )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    signer = issuer.key if issuer else key
    return Pair(builder.sign(signer, hashes.SHA256()), key)


class Pki:
    """Root, service and instance intermediate."""

    def __init__(self):
        self.root = issue('root', is_ca=True)
        self.service = issue('service', self.root, is_ca=True)
        self.instance = issue(
            'instance',
            self.root,
            is_ca=True,
            usages=[CLIENT, SERVER],
            extensions=[
                x509.NameConstraints(
                    permitted_subtrees=[x509.DNSName('example.com')],
                    excluded_subtrees=[
                        x509.DNSName('join.example.com'),
                        x509.IPAddress(ipaddress.ip_network('0.0.0.0/0')),
                        x509.IPAddress(ipaddress.ip_network('::/0')),
                    ],
                )
            ],
        )

    @property
    def chain(self):
        return models.Chain(
            *(
                models.CertificateAuthorityRecord(id, pair.der)
                for id, pair in (
                    ('a' * 16, self.root),
                    ('b' * 16, self.service),
                    ('c' * 16, self.instance),
                )
            )
        )

    def issue_own(self, names=('localhost', '127.0.0.1'), **kwargs):
        """Return a certificate of the check-in service."""
        return issue(
            names[0], self.service, names=names, usages=[SERVER], **kwargs
        )

    def issue_instance(self, **kwargs):
        """Return a certificate of an instance."""
        kwargs.setdefault('usages', [CLIENT, SERVER])
        kwargs.setdefault('names', (HOSTNAME, 'urn:uuid:' + INSTANCE))
        return issue(HOSTNAME, self.instance, **kwargs)


@functools.cache
def get_pki():
    """Return one PKI for all tests of a process; making keys takes time."""
    return Pki()


def make_csr(key=None):
    """Return a request, DER; what is in it is the domain's affair."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(make_name(HOSTNAME))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
