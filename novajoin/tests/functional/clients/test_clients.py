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
"""The clients and a real nova, glance and keystone."""

import datetime
import time
import uuid

from novajoin import exceptions
from novajoin import models
from novajoin.clients import glance
from novajoin.clients import keystone
from novajoin.clients import nova
from novajoin.tests import base
from novajoin.tests.functional.cloud import cloud as cloud_module
from novajoin.tests.unit.clients import cloud as canned

TIMEOUT = 60
#: Seconds for nova to forget what it deleted.
PATIENCE = 60


class ClientCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = self.useFixture(cloud_module.Cloud())

    def open_session(self, user):
        """A session of a user, of novajoin's own kind."""
        return keystone.LimitedSession(auth=self.cloud.open_session(user).auth)

    def build(self, module, name, user='nova'):
        """Build a client: nova's user is an admin in project service."""
        conf = canned.build_conf()
        section = module.__name__.rpartition('.')[2]
        conf.set_override('region_name', 'RegionOne', section)
        # A busy machine, not what an operator waits for.
        conf.set_override('timeout', TIMEOUT, section)
        return getattr(module, name)(self.open_session(user), conf[section])


class TestNova(ClientCase):
    def setUp(self):
        super().setUp()
        self.nova = self.build(nova, 'Nova')

    def list_all(self, **search):
        """All pages, with pages of one."""
        servers = []
        marker = None
        while True:
            page = self.nova.list_servers(
                marker=marker, limit=1, timeout=TIMEOUT, **search
            )
            if not page:
                return servers
            servers.extend(page)
            marker = page[-1].instance

    def test_a_life(self):
        began = datetime.datetime.now(datetime.timezone.utc)
        made = self.cloud.create_server(
            'web-1', metadata={'ipa_enroll': 'True'}, config_drive=True
        )
        server = self.nova.find_server(made.id, timeout=TIMEOUT)
        self.assertEqual(
            ('web-1', 'ACTIVE', 'active', None, {'ipa_enroll': 'True'}),
            (
                server.hostname,
                server.status,
                server.vm_state,
                server.task_state,
                server.metadata,
            ),
        )
        self.assertEqual(made.project_id, server.project)
        self.assertTrue(server.has_config_drive)
        self.assertGreater(
            server.launched_at, began - datetime.timedelta(seconds=5)
        )
        self.assertIsNone(self.nova.find_rebuild(made.id, timeout=TIMEOUT))
        self.assertIn(server, self.list_all())

        self.cloud.rebuild_server(made)
        rebuild = self.nova.find_rebuild(made.id, timeout=TIMEOUT)
        self.assertRegex(rebuild.request_id, '^req-')
        rebuilt = self.nova.find_server(made.id, timeout=TIMEOUT)
        self.assertGreater(rebuilt.launched_at, rebuild.started_at)

        self.cloud.delete_server(made)
        # For a moment nova still shows it, as DELETED.
        deadline = time.monotonic() + PATIENCE
        while (
            found := self.nova.find_server(made.id, timeout=TIMEOUT)
        ) is not None:
            self.assertEqual('DELETED', found.status)
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.2)
        self.assertNotIn(made.id, [each.instance for each in self.list_all()])
        self.assertEqual(
            ['DELETED'],
            [
                each.status
                for each in self.list_all(changes_since=began)
                if each.instance == made.id
            ],
        )

    def test_unknown(self):
        unknown = str(uuid.uuid4())
        self.assertIsNone(self.nova.find_server(unknown, timeout=TIMEOUT))
        self.assertIsNone(self.nova.find_rebuild(unknown, timeout=TIMEOUT))
        self.nova.check()

    def test_hidden_from_an_account_that_is_not_admin(self):
        """Nova says 404 to a stranger: the server is not gone for that."""
        made = self.cloud.create_server('web-2')
        stranger = self.build(nova, 'Nova', 'other')
        for find in (stranger.find_server, stranger.find_rebuild):
            self.assertRaises(
                exceptions.ComputeUnavailable,
                find,
                made.id,
                timeout=TIMEOUT,
            )
        self.assertRaises(exceptions.ComputeUnavailable, stranger.check)
        self.assertRaises(
            exceptions.ComputeUnavailable,
            stranger.list_servers,
            limit=10,
            timeout=TIMEOUT,
        )


class TestGlance(ClientCase):
    def test_properties(self):
        """NJ14: an image's wish, read from a real glance."""
        images = self.build(glance, 'Glance')
        image = self.cloud.create_image(
            'wishes', ipa_enroll='True', os_distro='debian'
        )
        properties = images.find_properties(image.id, timeout=TIMEOUT)
        self.assertEqual('True', properties['ipa_enroll'])
        self.assertEqual('debian', properties['os_distro'])
        self.assertNotIn('name', properties)
        images.check()

    def test_unknown(self):
        images = self.build(glance, 'Glance')
        self.assertIsNone(
            images.find_properties(str(uuid.uuid4()), timeout=TIMEOUT)
        )

    def test_unknown_to_an_account_that_is_not_admin(self):
        images = self.build(glance, 'Glance', 'other')
        self.assertRaises(
            exceptions.ImageUnavailable,
            images.find_properties,
            str(uuid.uuid4()),
            timeout=TIMEOUT,
        )


class TestKeystone(ClientCase):
    def test_project(self):
        client = self.build(keystone, 'Keystone')
        project = self.cloud.admin.identity.find_project('demo')
        self.assertEqual(
            models.Project('demo', 'default'), client.find_project(project.id)
        )
        self.assertIsNone(client.find_project(uuid.uuid4().hex))
        client.check()

    def test_an_account_that_may_not_look(self):
        client = self.build(keystone, 'Keystone', 'other')
        project = self.cloud.admin.identity.find_project('demo')
        self.assertRaises(
            exceptions.Unavailable, client.find_project, project.id
        )
