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
"""What an injector must not carry does not get to it."""

import base64

import fixtures

from novajoin import secret
from novajoin.bootstrap import handover
from novajoin.bootstrap import payload
from novajoin.injectors import vendordata
from novajoin.tests import base
from novajoin.tests.contract import injector as contract
from novajoin.tests.unit.enrollment import world


class KeyInjector(vendordata.VendordataInjector):
    """One that may carry a key."""

    may_carry_key = True


class TestHandover(base.TestCase):
    def setUp(self):
        super().setUp()
        self.keys = contract.make_private_keys()

    def test_who_may(self):
        for text in self.keys:
            made = contract.make_payload(key=text)
            answer = handover.render(
                KeyInjector(None), contract.HOSTNAME, {}, made
            )
            self.assertEqual(
                made.document,
                base64.b64decode(answer['bootstrap']['payload']),
            )

    def test_who_does_not_say(self):
        self.assertRaises(
            handover.KeyNotAllowed, handover.check, object(), {'key': None}
        )

    def test_attributes(self):
        """A backend's attributes go the same way, secret or not."""
        for text in self.keys:
            for value in (text, secret.Secret(text)):
                error = self.assertRaises(
                    handover.KeyNotAllowed,
                    handover.render,
                    vendordata.VendordataInjector(None),
                    contract.HOSTNAME,
                    {'service': value},
                    contract.make_payload(),
                )
                self.assertIn('attributes.service', str(error))

    def test_what_is_no_key(self):
        for text in (
            '',
            'MA==',
            'MAAA',
            'keys',
            '\ud800',
            '-----BEGIN PUBLIC KEY-----',
            base64.b64encode(b'0' * 100).decode(),
        ):
            handover.check(object(), {'keys': [text], 'public_key': text})


class TestAdmission(world.TestCase):
    """The domain has no other way to an injector."""

    def test_key_in_a_payload(self):
        made = self.make_world()
        instance = made.start('web1')
        build = payload.build

        def build_with_key(*args, **kwargs):
            return {**build(*args, **kwargs), 'key': 'x'}

        with fixtures.MonkeyPatch(
            'novajoin.bootstrap.payload.build', build_with_key
        ):
            self.assertRaises(
                handover.KeyNotAllowed, made.post, instance, 'web1'
            )
        self.assertIn('bootstrap', made.post(instance, 'web1'))
