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

import fixtures

from novajoin.clients import null
from novajoin.tests import base


class TestNull(base.TestCase):
    def test_compute(self):
        log = self.useFixture(fixtures.FakeLogger())
        compute = null.NullCompute()
        self.assertIn('NO NOVA', log.output)
        self.assertTrue(compute.is_null)
        compute.check()
        self.assertIsNone(compute.find_server('a', timeout=1))
        self.assertIsNone(compute.find_rebuild('a', timeout=1))
        self.assertEqual([], compute.list_servers(limit=1, timeout=1))

    def test_images(self):
        log = self.useFixture(fixtures.FakeLogger())
        images = null.NullImages()
        self.assertIn('NO GLANCE', log.output)
        self.assertTrue(images.is_null)
        images.check()
        self.assertEqual({}, images.find_properties('a', timeout=1))
