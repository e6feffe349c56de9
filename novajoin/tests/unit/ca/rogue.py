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
"""What a CA of ours would sign if the matcher let everything pass.

The certificates are signed with the intermediates' own keys: what refuses
them is the name constraints, in whatever verifies them.
"""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization

from novajoin.ca import authority as ca_authority
from novajoin.ca import hierarchy
from novajoin.tests.contract import ca as contract
from novajoin.tests.unit.ca import requests

#: (kind of CA, what it is, alternative names, OpenSSL's words or None where
#: it is in order), for the constraints of :mod:`stores`.
CASES = (
    (hierarchy.INSTANCE, 'zone', ['DNS:a.example.com'], None),
    (hierarchy.INSTANCE, 'apex', ['DNS:example.com'], None),
    (
        hierarchy.INSTANCE,
        'name and urn:uuid',
        ['DNS:a.cloud.example.org', 'URI:' + contract.URN],
        None,
    ),
    (
        hierarchy.INSTANCE,
        'check-in service',
        ['DNS:join.example.com'],
        'excluded subtree violation',
    ),
    (
        hierarchy.INSTANCE,
        'check-in service in upper case',
        ['DNS:JOIN.example.com'],
        'excluded subtree violation',
    ),
    (
        hierarchy.INSTANCE,
        'below the check-in service',
        ['DNS:a.example.com', 'DNS:x.join.example.com'],
        'excluded subtree violation',
    ),
    (
        hierarchy.INSTANCE,
        'other zone',
        ['DNS:a.example.net'],
        'permitted subtree violation',
    ),
    (
        hierarchy.INSTANCE,
        'lookalike zone',
        ['DNS:badexample.com'],
        'permitted subtree violation',
    ),
    (
        hierarchy.INSTANCE,
        'address of the check-in service',
        ['DNS:a.example.com', 'IP:192.0.2.1'],
        'excluded subtree violation',
    ),
    (
        hierarchy.INSTANCE,
        'IPv6 address',
        ['IP:2001:db8::1'],
        'excluded subtree violation',
    ),
    (
        hierarchy.SERVICE,
        'service',
        ['DNS:join.example.com', 'IP:192.0.2.1'],
        None,
    ),
    (
        hierarchy.SERVICE,
        'instance',
        ['DNS:a.example.com'],
        'permitted subtree violation',
    ),
    (
        hierarchy.SERVICE,
        'other address',
        ['IP:192.0.2.2'],
        'permitted subtree violation',
    ),
)

_TYPES = {
    'DNS': x509.DNSName,
    'URI': x509.UniformResourceIdentifier,
    'IP': lambda text: x509.IPAddress(ipaddress.ip_address(text)),
}


def sign(authority, texts):
    """Return a certificate, DER.

    :param authority: authority.Authority
    :param texts: alternative names, as ``DNS:web.example.com``
    """
    names = []
    for name in texts:
        kind, _, text = name.partition(':')
        names.append(_TYPES[kind](text))
    key = requests.get_key('SECP256R1')
    now = contract.get_now()
    return (
        x509.CertificateBuilder()
        .issuer_name(authority.name)
        .subject_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), True)
        .add_extension(authority.key_identifier, False)
        .add_extension(
            ca_authority.make_key_identifier(contract.get_spki(key)), False
        )
        .sign(authority.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
