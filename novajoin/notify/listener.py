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
"""Listen to notifications, whether or not there is a broker at the moment."""

import contextlib
from importlib import metadata
import logging
import threading
from typing import Any

from oslo_config import cfg
import oslo_messaging
from oslo_messaging import opts as messaging_opts

from novajoin import exceptions

LOG = logging.getLogger(__name__)

_NOTIFICATIONS = 'oslo_messaging_notifications'

#: How many notifications the broker hands out before one is acknowledged.
#: By its own default it hands out all that it has.
PREFETCH = 100


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options that say where notifications come from."""
    for group, options in messaging_opts.list_opts():
        if group in (None, _NOTIFICATIONS):
            conf.register_opts(options, group=group)


def find_url(conf: cfg.ConfigOpts) -> str | None:
    """Return the URL of the broker.

    oslo.messaging itself takes an unset URL for a RabbitMQ on this machine
    with a guest account; here it means that there is none.

    :raises ConfigurationError: it is not a URL that oslo.messaging takes
    """
    register_opts(conf)
    url: str | None = conf[_NOTIFICATIONS].transport_url
    option = '[%s] transport_url' % _NOTIFICATIONS
    if not url:
        option = '[DEFAULT] transport_url'
        location = conf.get_location('transport_url')
        if location and location.location is cfg.Locations.opt_default:
            return None
        url = conf.transport_url
    if not url:
        return None
    _check_url(conf, option, url)
    return url


def _check_url(conf: cfg.ConfigOpts, option: str, url: str) -> None:
    """Look at a URL; what is wrong is told without it: it has a password.

    :raises ConfigurationError: oslo.messaging would not take it
    """
    try:
        transport = oslo_messaging.TransportURL.parse(conf, url).transport
    except (oslo_messaging.InvalidTransportURL, ValueError) as error:
        raise exceptions.ConfigurationError(
            option, 'this is not a transport URL of oslo.messaging'
        ) from error
    drivers = metadata.entry_points(group='oslo.messaging.drivers').names
    if '://' not in url or transport not in drivers:
        raise exceptions.ConfigurationError(
            option,
            'the URL has to begin with one of %s'
            % ', '.join('%s://' % name for name in sorted(drivers)),
        )


class Listener:
    """A notification listener that may be started without a broker.

    Build and start it in the process that is to listen: threads and
    connections do not survive a fork.

    :param settings: the section ``[notify]``
    :param endpoints: as oslo.messaging takes them
    """

    def __init__(
        self, conf: cfg.ConfigOpts, settings: Any, endpoints: list[Any]
    ) -> None:
        self._settings = settings
        self._url = find_url(conf)
        self._conf = conf
        self._endpoints = endpoints
        self._transport: Any = None
        self._server: Any = None
        self._is_listening = threading.Event()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._start, name='listener', daemon=True
        )

    @property
    def is_listening(self) -> bool:
        """Whether the broker was reached and the queue exists."""
        return self._is_listening.is_set()

    def start(self) -> None:
        """Begin to listen as soon as there is a broker; returns at once."""
        if self._url is None:
            LOG.warning(
                'There is no transport_url: notifications are NOT listened '
                'to. What nova deletes or rebuilds is noticed by the sweep '
                'only, every %d seconds.',
                self._settings.sweep_interval,
            )
            return
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Take no more notifications, and finish those that were taken.

        What is not finished in time was not acknowledged: the broker keeps
        it for another worker.

        :param timeout: how long to wait, in seconds
        """
        self._is_stopping.set()
        if not self.is_listening:
            # oslo.messaging's stop() would wait for start(), and that for a
            # broker. Nothing was taken: there is nothing to finish.
            return
        drain = threading.Thread(target=self._drain, daemon=True)
        drain.start()
        drain.join(timeout)
        if drain.is_alive():
            LOG.warning(
                'Not waiting any longer for the notifications that were '
                'taken; the broker gives them to another worker.'
            )

    def _drain(self) -> None:
        try:
            # In this order, or what was taken vanishes with the process.
            self._server.stop()
            self._server.wait()
            self._transport.cleanup()
        except Exception:
            # Such as a broker that went away; the process ends anyway.
            LOG.exception('The listener did not stop properly.')

    def _start(self) -> None:
        try:
            self._transport = oslo_messaging.get_notification_transport(
                self._conf, url=self._url
            )
            self._limit_prefetch()
            self._server = oslo_messaging.get_notification_listener(
                self._transport,
                [
                    oslo_messaging.Target(exchange=exchange, topic=topic)
                    for exchange in self._settings.exchanges
                    for topic in self._settings.topics
                ],
                self._endpoints,
                # A message that cannot be read would come back for ever.
                allow_requeue=False,
                pool=self._settings.pool,
            )
            self._server.start(
                override_pool_size=self._settings.listener_threads
            )
        except Exception:
            # Nobody waits for this thread: without this line, silence.
            LOG.exception(
                'The listener could not be started; the sweep finds what '
                'nova does.'
            )
            return
        self._is_listening.set()
        if self._is_stopping.is_set():
            self._drain()
            return
        LOG.info(
            'Listening for %s on %s.',
            ', '.join(self._settings.topics),
            ', '.join(self._settings.exchanges),
        )

    def _limit_prefetch(self) -> None:
        """Leave at the broker what cannot be worked on anyway."""
        with contextlib.suppress(cfg.NoSuchOptError, cfg.NoSuchGroupError):
            self._conf.set_default(
                'rabbit_qos_prefetch_count',
                PREFETCH,
                group='oslo_messaging_rabbit',
            )
