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
"""Neutron's part in front of nova's metadata API.

A guest asks 169.254.169.254; neutron's proxy finds out who asked and tells
nova in headers that are signed with a secret of the two
(nova/api/metadata/handler.py, neutron/agent/metadata/proxy_base.py).
"""

import hashlib
import hmac
import http.server
import threading

import fixtures
from openstack.compute.v2 import server as compute_server
import requests

from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud import ports

_ADDRESS = '10.20.0.2'


def sign(secret: str, server: compute_server.Server) -> dict[str, str]:
    """The headers that make nova answer for a server."""
    signature = hmac.new(secret.encode(), server.id.encode(), hashlib.sha256)
    return {
        'X-Forwarded-For': _ADDRESS,
        'X-Instance-ID': server.id,
        'X-Instance-ID-Signature': signature.hexdigest(),
        'X-Tenant-ID': server.project_id,
    }


class MetadataProxy(fixtures.Fixture):
    """The metadata service as one guest sees it, on a port of loopback.

    :ivar url: its base URL, without a slash at the end.
    """

    def __init__(
        self, plan: plan_module.Plan, server: compute_server.Server
    ) -> None:
        super().__init__()
        self._plan = plan
        self._headers = sign(plan.secret, server)

    def _setUp(self) -> None:
        plan, headers = self._plan, self._headers

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = requests.get(
                    plan.url('metadata', self.path),
                    headers=headers,
                    timeout=60,
                )
                self.send_response(answer.status_code)
                self.send_header('Content-Length', str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Nothing: output of tests is a protocol."""

        proxy = http.server.ThreadingHTTPServer((ports.LOOPBACK, 0), Handler)
        self.url = 'http://%s:%d' % (ports.LOOPBACK, proxy.server_port)
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
