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
"""The injector for nova's vendordata keeps to the contract of its kind."""

import base64

from novajoin.injectors import vendordata
from novajoin.tests import base
from novajoin.tests.contract import injector


class TestVendordata(injector.VendordataRendererContract, base.TestCase):
    def make_injector(self):
        return vendordata.VendordataInjector(None)

    def read_vendordata(self, answer):
        self.assertEqual(injector.HOSTNAME, answer.pop('hostname'))
        bootstrap = answer.pop('bootstrap')
        self.assertEqual({'v', 'payload', 'sha256'}, set(bootstrap))
        self.assertEqual(1, bootstrap['v'])
        document = base64.b64decode(bootstrap['payload'], validate=True)
        return answer, document, bootstrap['sha256']
