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
"""Serve the application as the console script does, above a scripted domain.

Run with a directory that holds root.pem, service.pem, instance.pem (each
certificate and key) and the state of the keeper in ``own``.
"""

import datetime
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from novajoin import exceptions
from novajoin import models
from novajoin.checkin import app
from novajoin.checkin import files
from novajoin.checkin import hooks
from novajoin.checkin import keeper
from novajoin.checkin import services
from novajoin.checkin import tls
from novajoin.tests.unit.checkin import fakes
from novajoin.tests.unit.checkin import pki
from novajoin.wsgi import server


def get_now():
    """Return the present; the real one, as TLS asks it."""
    return datetime.datetime.now(datetime.timezone.utc)


def read_pair(path):
    text = path.read_bytes()
    return pki.Pair(
        x509.load_pem_x509_certificate(text),
        serialization.load_pem_private_key(text, None),
    )


class Redemption:
    """Signs every request of the one instance that there is."""

    def __init__(self, instance, directory):
        self.instance = instance
        self.directory = directory

    def authenticate(self, instance, token):
        """Take one token."""
        if (instance, token) != (fakes.INSTANCE, fakes.TOKEN):
            raise exceptions.Unauthorized()

    def get_template(self, enrollment):
        """Return the template."""
        return fakes.TEMPLATE

    def redeem(self, instance, token, csr, request_id):
        """Sign."""
        self.authenticate(instance, token)
        return self.sign(csr)

    def renew(self, peer, csr, request_id):
        """Sign."""
        return self.sign(csr)

    def receive_receipt(self, peer, seq, sha256, request_id):
        """Write down who it was."""
        (self.directory / ('receipt-%d' % seq)).write_bytes(peer)

    def sign(self, csr):
        try:
            public_key = x509.load_der_x509_csr(csr).public_key()
        except ValueError:
            raise exceptions.CsrMalformed() from None
        leaf = pki.issue(
            pki.HOSTNAME,
            self.instance,
            names=(pki.HOSTNAME, 'urn:uuid:' + fakes.INSTANCE),
            usages=[pki.CLIENT, pki.SERVER],
            public_key=public_key,
        )
        return fakes.Outcome(leaf.der, (self.instance.der,))


class Nobody:
    """There is nobody to sign for the keeper."""

    def request(self, *args):
        """Refuse."""
        raise exceptions.DatabaseUnavailable()

    find = is_revoked = request


def main(directory, threads):
    """Serve until a signal comes."""
    keeper._LOOK = 0.05
    pairs = [
        read_pair(directory / ('%s.pem' % name))
        for name in ('root', 'service', 'instance')
    ]
    chain = models.Chain(
        *(
            models.CertificateAuthorityRecord('%016x' % number, pair.der)
            for number, pair in enumerate(pairs)
        )
    )
    contexts = tls.Contexts(get_now)
    own = keeper.Keeper(
        files=files.Files(directory / 'own'),
        names=frozenset({'localhost'}),
        host='host1',
        requests=Nobody(),
        get_chain=lambda: chain,
        contexts=contexts,
        clock=get_now,
    )
    own.wait()

    def make():
        own.start()
        parts = services.Services(
            redemption=Redemption(pairs[2], directory),
            get_chain=lambda: chain,
            find_crl=lambda issuer: None,
            health={'certificate': own.check},
        )
        return app.build(parts, fakes.Settings())

    server.Server(
        'checkin',
        server.Settings('127.0.0.1', 0, threads=threads, client_timeout=1.0),
        make,
        tls=contexts.get,
        render_fault=hooks.render_fault,
        on_ready=lambda urls: publish(directory / 'url', urls[0]),
    ).run()


def publish(path, text):
    temporary = path.with_name('url.tmp')
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
