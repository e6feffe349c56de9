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
"""The load generator: one process, one thread, connections kept alive.

Takes a :class:`benchmarks.harness.Load` as JSON on its command line and
prints what it saw as JSON. Each connection has one request on its way, so
that the server sets the pace, unless there is to be a pause between them.
"""

import collections
import json
import selectors
import socket
import ssl
import sys
import time
from typing import Any
from urllib import parse
import uuid


class Connection:
    """One connection and the request that is on its way."""

    def __init__(self, load: dict[str, Any]) -> None:
        url = parse.urlsplit(load['url'])
        plain = socket.create_connection((url.hostname, url.port), 30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock: socket.socket = plain
        if url.scheme == 'https':
            context = ssl.create_default_context(cafile=load['ca'])
            self.sock = context.wrap_socket(
                plain, server_hostname=url.hostname
            )
        self.begun = 0.0
        self._data = b''

    def send(self, request: bytes) -> None:
        """Send the next request."""
        self._data = b''
        self.begun = time.perf_counter()
        self.sock.setblocking(True)
        self.sock.sendall(request)
        self.sock.setblocking(False)

    def read(self) -> tuple[int, bytes] | None:
        """Return status and body of the answer once it is whole."""
        while True:
            try:
                data = self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return None
            if not data:
                raise ConnectionError('the server closed a connection')
            self._data += data
            head, end, body = self._data.partition(b'\r\n\r\n')
            if end and len(body) >= get_length(head):
                return int(head[9:12]), body


def get_length(head: bytes) -> int:
    """Return the Content-Length in a head."""
    for line in head.split(b'\r\n'):
        name, _, value = line.partition(b':')
        if name.lower() == b'content-length':
            return int(value)
    return 0


class Requests:
    """Makes the bytes of one request after the other."""

    def __init__(self, load: dict[str, Any]) -> None:
        body = load['body'].replace('{number}', '0' * 10)
        body = body.replace('{uuid}', str(uuid.uuid4()))
        headers = {
            'Host': parse.urlsplit(load['url']).netloc,
            'Accept': 'application/json',
            'Content-Type': 'application/json',
            'Content-Length': str(len(body.encode())),
            **load['headers'],
        }
        self._head = '%s %s HTTP/1.1\r\n%s\r\n\r\n' % (
            load['method'],
            load['path'],
            '\r\n'.join('%s: %s' % item for item in headers.items()),
        )
        self._body = load['body']
        self._is_fixed = body == load['body']
        self._fixed = (self._head + body).encode()
        self._number = 0

    def make(self) -> bytes:
        """Return the next request."""
        if self._is_fixed:
            return self._fixed
        self._number += 1
        body = self._body.replace('{uuid}', str(uuid.uuid4()))
        body = body.replace('{number}', '%010d' % self._number)
        return (self._head + body).encode()


def run(load: dict[str, Any]) -> dict[str, Any]:
    """Put the load on the server and return what was seen."""
    requests = Requests(load)
    selector = selectors.DefaultSelector()
    for _ in range(load['connections']):
        connection = Connection(load)
        connection.send(requests.make())
        selector.register(connection.sock, selectors.EVENT_READ, connection)
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    sample = b''
    begun = time.perf_counter()
    end = begun + load['seconds']
    now = begun
    pausing: collections.deque[tuple[float, Connection]] = collections.deque()
    while now < end:
        while pausing and pausing[0][0] <= now:
            pausing.popleft()[1].send(requests.make())
        patience = max(pausing[0][0] - now, 0.0) if pausing else 1.0
        for key, _ in selector.select(timeout=patience):
            connection = key.data
            answer = connection.read()
            if answer is None:
                continue
            latencies.append(time.perf_counter() - connection.begun)
            status, sample = answer
            statuses[status] = statuses.get(status, 0) + 1
            if load['pause']:
                due = time.perf_counter() + load['pause']
                pausing.append((due, connection))
            else:
                connection.send(requests.make())
        now = time.perf_counter()
    latencies.sort()
    return {
        'count': len(latencies),
        'statuses': statuses,
        'rate': len(latencies) / (now - begun),
        'p50': get_quantile(latencies, 0.5),
        'p99': get_quantile(latencies, 0.99),
        'slowest': latencies[-1] if latencies else 0.0,
        'sample': sample[:500].decode('utf-8', 'replace'),
    }


def get_quantile(values: list[float], part: float) -> float:
    """Return a quantile of sorted values, 0 without any."""
    return values[int(len(values) * part)] if values else 0.0


if __name__ == '__main__':
    print(json.dumps(run(json.loads(sys.argv[1]))))
