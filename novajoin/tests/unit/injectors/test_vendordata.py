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
"""NJ9: what nova puts under ``join``."""

import base64
import json

from novajoin import models
from novajoin import secret
from novajoin.injectors import base as injectors_base
from novajoin.injectors import vendordata
from novajoin.tests import base

PAYLOAD = models.Payload(seq=1, document=b'{"a":1}', sha256='0' * 64)


class VendordataTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.injector = vendordata.VendordataInjector(None)

    def test_render(self):
        answer = self.injector.render(
            'web1.example.com',
            {'ipaotp': secret.Secret('nji1x'), 'krb_realm': 'EXAMPLE.COM'},
            PAYLOAD,
        )
        self.assertEqual(
            {
                'hostname': 'web1.example.com',
                'ipaotp': 'nji1x',
                'krb_realm': 'EXAMPLE.COM',
                'bootstrap': {
                    'v': 1,
                    'payload': base64.b64encode(b'{"a":1}').decode(),
                    'sha256': '0' * 64,
                },
            },
            answer,
        )
        json.dumps(answer)

    def test_abilities(self):
        """It carries no key, and nothing comes back the same way."""
        self.assertIs(
            injectors_base.Direction.ONE_WAY, self.injector.direction
        )
        self.assertFalse(self.injector.may_carry_key)
        self.assertIsNone(self.injector.validate())
        self.assertIsNone(self.injector.check())
