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

from novajoin.tests import base
from novajoin.tests.contract import ca
from novajoin.tests.unit.ca import stores


class TestEmbeddedCA(ca.CABackendContract, base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = self.make_directory() / 'keys'
        self.crls = stores.MemoryCrls()

    def make_backend(self):
        return stores.make_ca(self.path, self.crls)

    def revoke_in_database(self, certificate, reason):
        self.crls.revoke(certificate, reason, ca.get_now())
