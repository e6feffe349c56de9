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
"""What every injector keeps to.

A driver's own package tests it like this::

    class TestMyInjector(injector.InjectorContract, base.TestCase):
        def make_injector(self):
            return my_driver.MyInjector(settings)

One that answers nova takes ``VendordataRendererContract`` instead and adds::

        def read_vendordata(self, answer):
            '''Find attributes, payload and digest, as a guest does.'''
"""

import base64
import hashlib
import inspect
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric import rsa
import rfc8785

from novajoin import models
from novajoin import secret
from novajoin.bootstrap import handover
from novajoin.injectors import base

HOSTNAME = 'web1.example.com'
OTP = 'nji1' + 'a' * 32
ATTRIBUTES = {'ipaotp': secret.Secret(OTP), 'krb_realm': 'EXAMPLE.COM'}
BODY = {
    'schema': 'novajoin.bootstrap/1',
    'seq': 1,
    'instance': {'uuid': '9baef604-e3c9-4708-9b18-8e9fef008537'},
    'csr': {'keys': ['ec-p256', 'rsa-3072'], 'dns': [HOSTNAME]},
    'params': {},
    'token': 'njt1_' + 'a' * 58,
}


def make_payload(**members):
    """Return a payload with more members than usual."""
    document = rfc8785.dumps({**BODY, **members})
    digest = hashlib.sha256(document).hexdigest()
    return models.Payload(seq=1, document=document, sha256=digest)


def make_private_keys():
    """Return private keys in all the forms in which texts hold them."""
    encodings = serialization.Encoding
    formats = serialization.PrivateFormat
    clear = serialization.NoEncryption()
    locked = serialization.BestAvailableEncryption(b'password')
    ours = ec.generate_private_key(ec.SECP256R1())
    forms = [
        (ours, formats.TraditionalOpenSSL, clear),
        (ours, formats.PKCS8, clear),
        (ours, formats.PKCS8, locked),
        (rsa.generate_private_key(65537, 2048), formats.PKCS8, clear),
        (ed25519.Ed25519PrivateKey.generate(), formats.PKCS8, clear),
    ]
    texts = [
        ours.private_bytes(encodings.PEM, formats.OpenSSH, clear).decode()
    ]
    for key, form, encryption in forms:
        pem = key.private_bytes(encodings.PEM, form, encryption)
        der = key.private_bytes(encodings.DER, form, encryption)
        texts += [
            pem.decode(),
            base64.b64encode(pem).decode(),
            base64.b64encode(der).decode(),
            base64.encodebytes(der).decode(),
        ]
    return texts


class InjectorContract:
    """A mixin; the class beside it is a test case."""

    def make_injector(self):
        """Return the injector, as a process would make it."""
        raise NotImplementedError

    def hand_over(self, payload):
        """Give it a payload in the way that the domain does."""
        handover.check(self.injector, json.loads(payload.document))

    def setUp(self):
        super().setUp()
        self.injector = self.make_injector()

    def test_kind(self):
        """At most six methods, and it says what it is fit for."""
        self.assertIsInstance(self.injector, base.Injector)
        contract = {
            name
            for kind in (base.Injector, base.VendordataRenderer)
            for name, _ in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith('_')
        }
        self.assertLessEqual(len(contract), 6)
        self.assertIsInstance(self.injector.direction, base.Direction)
        self.assertIsInstance(self.injector.may_carry_key, bool)

    def test_validate_and_check(self):
        self.assertIsNone(self.injector.validate())
        self.assertIsNone(self.injector.check())

    def test_payload_without_a_key(self):
        """What an injector is for: an ordinary payload is let through."""
        self.hand_over(make_payload())

    def test_private_key(self):
        """No private key goes where it must not, whatever it looks like."""
        payloads = [make_payload(key='anything')]
        for text in make_private_keys():
            payloads.append(make_payload(params={'ssl': text}))
            payloads.append(make_payload(files=[{'content': text}]))
        for payload in payloads:
            if self.injector.may_carry_key:
                self.hand_over(payload)
                continue
            error = self.assertRaises(
                handover.KeyNotAllowed, self.hand_over, payload
            )
            self.assertNotIn('PRIVATE', str(error))


class VendordataRendererContract(InjectorContract):
    """The same for an injector that answers nova."""

    def read_vendordata(self, answer):
        """Return attributes, payload bytes and digest, as a guest does.

        :param answer: what is under ``join`` in vendor_data2.json
        """
        raise NotImplementedError

    def hand_over(self, payload):
        return handover.render(self.injector, HOSTNAME, ATTRIBUTES, payload)

    def test_render(self):
        """All arrives, to the byte, however often it is rendered."""
        payload = make_payload()
        for injector in (self.injector, self.make_injector()):
            self.assertIsInstance(injector, base.VendordataRenderer)
            answer = injector.render(HOSTNAME, ATTRIBUTES, payload)
            # nova reads it and writes it anew.
            answer = json.loads(json.dumps(answer))
            attributes, document, digest = self.read_vendordata(answer)
            self.assertEqual(
                {'ipaotp': OTP, 'krb_realm': 'EXAMPLE.COM'}, attributes
            )
            self.assertEqual(payload.document, document)
            self.assertEqual(payload.sha256, digest)
