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
"""Publish what nova published once, the way nova does."""

import fixtures
from oslo_config import cfg
import oslo_messaging

from novajoin.notify import listener
from novajoin.tests.unit.notify import test_events
from novajoin.tests.unit.notify import test_worker


class Publisher(fixtures.Fixture):
    """A service that notifies through a broker.

    :param url: of the broker
    :param exchange: the service's control_exchange
    """

    def __init__(self, url, exchange='nova'):
        super().__init__()
        self._url = url
        self._exchange = exchange

    def _setUp(self):
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        listener.register_opts(conf)
        conf.set_override('control_exchange', self._exchange)
        self._transport = oslo_messaging.get_notification_transport(
            conf, url=self._url
        )
        self.addCleanup(self._transport.cleanup)

    def publish(self, step):
        """Publish all that nova published in a recorded step, in order.

        :param step: the name of a recording, for instance ``28-delete``
        """
        for notification in test_events.load(step):
            self.publish_one(notification)

    def publish_one(self, notification, payload=None):
        """Publish one notification.

        Versioned ones are on a topic of their own, and tell it by their
        publisher: ``nova-compute:host`` and not ``compute.host``.
        """
        is_versioned = ':' in notification['publisher_id']
        notifier = oslo_messaging.Notifier(
            self._transport,
            notification['publisher_id'],
            driver='messagingv2',
            topics=[
                'versioned_notifications' if is_versioned else 'notifications'
            ],
            serializer=test_worker.ContextSerializer(),
            retry=5,
        )
        getattr(notifier, notification['priority'])(
            test_worker.Context(
                request_id=notification.get('ctxt', {}).get('request_id'),
                auth_token=notification.get('ctxt', {}).get('auth_token'),
                overwrite=False,
            ),
            notification['event_type'],
            notification.get('payload', {}) if payload is None else payload,
        )
