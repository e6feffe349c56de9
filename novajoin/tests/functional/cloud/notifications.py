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
"""A listener that keeps the notifications of the cloud."""

import threading
import time
from typing import Any

import fixtures
from oslo_config import cfg
import oslo_messaging

EXCHANGES = ('nova', 'neutron', 'glance')
TOPICS = ('notifications', 'versioned_notifications')


class Notifications(fixtures.Fixture):
    """All notifications since the fixture was set up.

    It listens with a pool of its own, so it takes none from anybody else.

    :param transport_url: of the broker.
    :ivar received: (publisher, event type, payload), as they came.
    """

    def __init__(self, transport_url: str, pool: str = 'recorder') -> None:
        super().__init__()
        self._transport_url = transport_url
        self._pool = pool
        self.received: list[tuple[str, str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def _setUp(self) -> None:
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        transport = oslo_messaging.get_notification_transport(
            conf, url=self._transport_url
        )
        self.addCleanup(transport.cleanup)
        listener = oslo_messaging.get_notification_listener(
            transport,
            [
                oslo_messaging.Target(exchange=exchange, topic=topic)
                for exchange in EXCHANGES
                for topic in TOPICS
            ],
            [self],
            pool=self._pool,
        )
        listener.start()
        self.addCleanup(listener.wait)
        self.addCleanup(listener.stop)

    def info(self, _context, publisher, event_type, payload, _metadata):
        """What oslo.messaging calls for a notification of priority info."""
        with self._changed:
            self.received.append((publisher, event_type, payload))
            self._changed.notify_all()

    error = info

    def wait_for(
        self, event_type: str, text: str, timeout: float = 60
    ) -> dict[str, Any]:
        """The payload of the first notification of a type.

        :param text: is somewhere in the payload; an id, for example.
        :param timeout: seconds.
        :raises TimeoutError: with the types that did come.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for _, found, payload in self.received:
                    if found == event_type and text in repr(payload):
                        return payload
                rest = deadline - time.monotonic()
                if not self._changed.wait(rest) or rest < 0:
                    raise TimeoutError(
                        'no %s with %s, but %s'
                        % (
                            event_type,
                            text,
                            sorted({found for _, found, _ in self.received}),
                        )
                    )
