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
"""The cloud alone: what it does before novajoin is put into it."""

import http.server
import json
import subprocess
import sys
import threading

import fixtures
import psutil

from novajoin.tests import base
from novajoin.tests.functional.cloud import cloud as cloud_module
from novajoin.tests.functional.cloud import metadata
from novajoin.tests.functional.cloud import notifications
from novajoin.tests.functional.cloud import ports
from novajoin.tests.functional.cloud import processes

VERSIONS = 6
"""Metadata versions that have vendor_data2.json, `latest` included."""


class VendordataRecorder(fixtures.Fixture):
    """A dynamic vendordata target that answers each post with its number.

    :ivar posts: headers and parsed body of each post.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.posts: list[tuple[dict[str, str], dict[str, object]]] = []

    def _setUp(self) -> None:
        posts = self.posts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers['Content-Length'])
                body = json.loads(self.rfile.read(length))
                posts.append((dict(self.headers), body))
                answer = json.dumps({'number': len(posts)}).encode()
                self.send_response(200)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing: output of tests is a protocol."""

        server = http.server.ThreadingHTTPServer(
            (ports.LOOPBACK, self._port), Handler
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)


class TestCloud(base.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = self.useFixture(cloud_module.Cloud())

    def _record(self):
        recorder = VendordataRecorder(self.cloud.vendordata_port)
        return self.useFixture(recorder).posts

    def test_metadata_api_posts_once_for_each_get(self):
        posts = self._record()
        server = self.cloud.create_server('plain', metadata={'a': 'b'})
        self.assertEqual([], posts)
        first = self.cloud.read_vendordata(server)
        second = self.cloud.read_vendordata(server)
        self.assertEqual({'number': 1}, first['join'])
        self.assertEqual({'number': 2}, second['join'])
        _, body = posts[0]
        self.assertEqual(server.id, body['instance-id'])
        self.assertEqual(server.project_id, body['project-id'])
        self.assertEqual('plain', body['hostname'])
        self.assertEqual({'a': 'b'}, body['metadata'])
        self.assertEqual(server.image.id, body['image-id'])

    def test_nova_posts_as_a_service(self):
        posts = self._record()
        server = self.cloud.create_server('plain')
        self.cloud.read_vendordata(server)
        headers, _ = posts[0]
        token = self.cloud.admin.session.get(
            self.cloud.auth_url + '/auth/tokens',
            headers={'X-Subject-Token': headers['X-Auth-Token']},
        ).json()['token']
        self.assertEqual('nova', token['user']['name'])
        self.assertEqual('service', token['project']['name'])
        self.assertIn('service', [role['name'] for role in token['roles']])

    def test_boot_from_volume_posts_no_image(self):
        posts = self._record()
        server = self.cloud.create_server('volume', boot_from_volume=True)
        self.cloud.read_vendordata(server)
        _, body = posts[0]
        self.assertFalse(body['image-id'])
        self.assertEqual(1, len(server.attached_volumes))

    def test_config_drive_makes_six_posts(self):
        posts = self._record()
        server = self.cloud.create_server('drive', config_drive=True)
        self.assertEqual(VERSIONS, len(posts))
        self.assertEqual(
            {server.id}, {body['instance-id'] for _, body in posts}
        )
        drive = self.cloud.read_config_drive(server, self.make_directory())
        found = sorted(
            json.loads(path.read_text())['join']['number']
            for path in drive.glob('openstack/*/vendor_data2.json')
        )
        self.assertEqual(list(range(1, VERSIONS + 1)), found)

    def test_rebuild_makes_six_posts_more(self):
        posts = self._record()
        server = self.cloud.create_server('drive', config_drive=True)
        self.cloud.rebuild_server(server)
        self.assertEqual(2 * VERSIONS, len(posts))
        self.assertEqual(
            {server.id}, {body['instance-id'] for _, body in posts}
        )

    def test_notifications_come_in_both_formats(self):
        recorder = self.useFixture(
            notifications.Notifications(self.cloud.transport_url)
        )
        server = self.cloud.create_server('noted')
        self.cloud.rebuild_server(server)
        self.cloud.delete_server(server)
        for event_type in (
            'compute.instance.create.end',
            'instance.create.end',
            'compute.instance.rebuild.end',
            'instance.rebuild.end',
            'compute.instance.delete.end',
            'instance.delete.end',
        ):
            recorder.wait_for(event_type, server.id)
        recorder.wait_for('port.create.end', server.id)

    def test_users_have_the_roles_of_their_kind(self):
        for user, project, roles in (
            ('demo', 'demo', {'member', 'reader'}),
            ('glance', 'service', {'admin', 'service'}),
            ('novajoin', 'service', {'admin', 'service'}),
        ):
            session = self.cloud.open_session(user)
            access = session.auth.get_access(session)
            self.assertEqual(project, access.project_name)
            self.assertEqual(
                set(), roles - set(access.role_names), access.role_names
            )
        self.assertNotIn(
            'service',
            self.cloud.open_session('demo')
            .auth.get_access(self.cloud.open_session('demo'))
            .role_names,
        )

    def test_metadata_is_for_the_signed_instance_only(self):
        server = self.cloud.create_server('plain')
        proxy = self.useFixture(
            metadata.MetadataProxy(self.cloud.plan, server)
        )
        session = self.cloud.admin.session
        path = '/openstack/latest/meta_data.json'
        answer = session.get(proxy.url + path, authenticated=False)
        self.assertEqual(server.id, answer.json()['uuid'])
        headers = metadata.sign('wrong', server)
        refused = session.get(
            self.cloud.plan.url('metadata', path),
            headers=headers,
            authenticated=False,
            raise_exc=False,
        )
        self.assertEqual(403, refused.status_code)

    def test_nothing_listens_elsewhere(self):
        found = cloud_module.get_deployment().find_processes()
        addresses = {
            connection.laddr.ip
            for pid in found.values()
            for process in [
                psutil.Process(pid),
                *psutil.Process(pid).children(recursive=True),
            ]
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        self.assertLessEqual(addresses, {'127.0.0.1', '::1'})


class TestWatchdog(base.TestCase):
    def test_processes_end_with_their_owner(self):
        """Also when the owner is killed, and what they started as well."""
        run = self.make_directory()
        owner = (
            'import os, pathlib, sys\n'
            'from novajoin.tests.functional.cloud import processes\n'
            'from novajoin.tests.functional.cloud import watchdog\n'
            'run = pathlib.Path(sys.argv[1])\n'
            'record = run / "processes.json"\n'
            'watchdog_ = watchdog.start(record)\n'
            'mine = processes.Processes(record, run)\n'
            'mine.start("parent", ["sh", "-c", "sleep 600 & sleep 600"],\n'
            '           dict(os.environ))\n'
            'print("started", flush=True)\n'
            'sys.stdin.read()\n'
        )
        child = subprocess.Popen(
            [sys.executable, '-c', owner, run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with child:
            self.assertEqual(b'started\n', child.stdout.readline())
            found = processes.find_processes(run / 'processes.json')
            parent = found['parent']
            members = [parent, *parent.children(recursive=True)]
            child.kill()
        _, alive = psutil.wait_procs(members, timeout=60)
        self.assertEqual([], alive)
