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
"""The embedded identity backend keeps to the contract of its kind."""

import uuid

from novajoin import models
from novajoin.db import engine
from novajoin.db import migration
from novajoin.db import stores
from novajoin.identity import embedded
from novajoin.tests import base
from novajoin.tests.contract import identity


class TestEmbeddedIdentity(identity.IdentityBackendContract, base.TestCase):
    def setUp(self):
        self.url = None
        super().setUp()

    def make_store(self):
        if self.url is None:
            self.url = 'sqlite:///%s' % (self.make_directory() / 'x.sqlite')
        database = engine.Database(self.url)
        self.addCleanup(database.close)
        migration.sync(database)
        return stores.IdentityStore(database)

    def make_backend(self):
        return embedded.EmbeddedIdentity(None, self.make_store())

    def find_host(self, hostname):
        return self.make_store().find_host(hostname)

    def add_foreign_host(self, hostname):
        host = models.Host(str(uuid.uuid4()), hostname, str(uuid.uuid4()))
        self.assertTrue(
            self.make_store().add_host(host, '9' * 32, base.Clock()())
        )
        return host.id
