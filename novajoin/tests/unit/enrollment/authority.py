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
"""A certificate authority of the test tree, which can be taken away."""

import base64
import contextlib
import datetime
import hashlib
import json
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid
from oslo_config import cfg

from novajoin import exceptions
from novajoin import models
from novajoin.ca import base as ca_base
from novajoin.ca import constraints
from novajoin.ca import embedded
from novajoin.ca import profiles
from novajoin.conf import ca_embedded

_YEARS = datetime.timedelta(days=3650)
_REASONS = {reason.value: reason for reason in x509.ReasonFlags}


class Journal:
    """What was ever signed, in every process on a directory."""

    def __init__(self, directory):
        self._path = directory / 'issued'

    def write(self, serial):
        with self._path.open('a') as journal:
            journal.write('%x\n' % serial)

    def read(self):
        if not self._path.exists():
            return []
        return self._path.read_text().split()


class Embedded(embedded.EmbeddedCA):
    """The embedded CA, with a journal of what it signed."""

    journal: Journal

    def issue(self, order):
        issued = super().issue(order)
        self.journal.write(issued.serial)
        return issued

    def list_issued(self):
        """Return the serials that were ever signed, in every process."""
        return self.journal.read()

    def list_revoked(self):
        """Return the serials on the published CRL."""
        return _list_entries(self.find_crl(self.get_chain().instance.id))


def make_embedded(directory, crls, keys, clock):
    """Return the embedded CA as the composition root makes it."""
    conf = cfg.ConfigOpts()
    ca_embedded.register_opts(conf)
    conf([])
    made = Embedded(
        conf.ca_embedded,
        embedded.make_store(
            crls,
            keys,
            constraints.Constraints(
                zones=frozenset({'example.com'}),
                checkin=frozenset({'join.example.com'}),
            ),
        ),
        clock=clock,
    )
    made.journal = Journal(directory)
    return made


class Authority(ca_base.CABackend, ca_base.CrlPublisher):
    """Sign with keys that lie in a directory, so that processes share them.

    :ivar hook: called before every method with its name; may raise
    :ivar after: likewise, after the work was done
    """

    def __init__(self, directory, store, clock):
        super().__init__(None, store)
        self._clock = clock
        self._journal = Journal(directory)
        self._load(directory / 'authority.json')
        self.hook = lambda method: None
        self.after = lambda method: None

    def _load(self, path):
        if not path.exists():
            text = json.dumps(self._make())
            partial = path.with_suffix('.%d' % os.getpid())
            partial.write_text(text)
            with contextlib.suppress(FileExistsError):
                os.link(partial, path)
            partial.unlink()
        made = json.loads(path.read_text())
        self._key = serialization.load_der_private_key(
            base64.b64decode(made['key']), None
        )
        records = [base64.b64decode(der) for der in made['chain']]
        self._chain = models.Chain(
            *(
                models.CertificateAuthorityRecord(_get_id(der), der)
                for der in records
            )
        )

    def _make(self):
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
        chain = [
            _sign_authority(name, keys[0], key, self._clock())
            for name, key in zip(
                ('root', 'service', 'instance'), keys, strict=True
            )
        ]
        private = keys[2].private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            'key': base64.b64encode(private).decode(),
            'chain': [base64.b64encode(der).decode() for der in chain],
        }

    def validate(self):
        pass

    def check(self):
        self.hook('check')

    def get_chain(self):
        self.hook('get_chain')
        return self._chain

    def issue(self, order):
        self.hook('issue')
        der = self._sign(order)
        self._journal.write(order.serial)
        self.after('issue')
        return models.IssuedCertificate(
            serial=order.serial,
            issuer=self._chain.instance.id,
            der=der,
            not_before=order.not_before,
            not_after=order.not_after,
        )

    def list_issued(self):
        """Return the serials that were ever signed, in every process."""
        return self._journal.read()

    def _sign(self, order):
        names = [x509.DNSName(name) for name in order.dns]
        names += [x509.UniformResourceIdentifier(uri) for uri in order.uri]
        return (
            x509.CertificateBuilder()
            .subject_name(_make_name(order.common_name))
            .issuer_name(_make_name('instance'))
            .public_key(serialization.load_der_public_key(order.public_key))
            .serial_number(order.serial)
            .not_valid_before(order.not_before)
            .not_valid_after(order.not_after)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage(
                    profiles.get_extended_key_usages(order.eku)
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER)
        )

    def revoke(self, issuer, serial, reason, at):
        self.hook('revoke')

    def publish_crl(self, now, *, force=False):
        self.hook('publish_crl')
        issuer = self._chain.instance.id
        stored = self.store.find_crl(issuer)
        number = 1 if stored is None else stored.number + 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_make_name('instance'))
            .last_update(now)
            .next_update(now + datetime.timedelta(days=1))
        )
        for entry in self.store.list_revoked(issuer, now):
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(entry.serial, 16))
                .revocation_date(entry.revoked_at)
                .add_extension(
                    x509.CRLReason(_REASONS[entry.reason.value]),
                    critical=False,
                )
                .build()
            )
        crl = models.Crl(
            issuer=issuer,
            number=number,
            der=builder.sign(self._key, hashes.SHA256()).public_bytes(
                serialization.Encoding.DER
            ),
            this_update=now,
            next_update=now + datetime.timedelta(days=1),
        )
        if not self.store.put_crl(crl):
            raise exceptions.CAUnavailable
        self.after('publish_crl')
        return crl

    def find_crl(self, issuer):
        return self.store.find_crl(issuer)

    def list_revoked(self):
        """Return the serials on the published CRL."""
        return _list_entries(self.store.find_crl(self._chain.instance.id))


def _list_entries(crl):
    if crl is None:
        return []
    listed = x509.load_der_x509_crl(crl.der)
    return ['%x' % entry.serial_number for entry in listed]


def _make_name(text):
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])


def _get_id(der):
    key = x509.load_der_x509_certificate(der).public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    return hashlib.sha256(spki).hexdigest()[:16]


def _sign_authority(name, root_key, key, now):
    return (
        x509.CertificateBuilder()
        .subject_name(_make_name(name))
        .issuer_name(_make_name('root'))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _YEARS)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(root_key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
