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
"""What oslo.messaging calls with each notification."""

from collections.abc import Callable
import logging
import time
from typing import Final

import oslo_messaging

from novajoin import exceptions
from novajoin import models
from novajoin.notify import events

LOG = logging.getLogger(__name__)

_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0


class InstanceEndpoint:
    """Hand hints from nova on.

    With both formats on, each event comes twice, and with several workers
    also at two of them at once: acting on a hint is idempotent, so that it
    counts once.

    :param take: what acts on a hint; takes the hint and a request id
    :param sleep: waits for some seconds
    """

    filter_rule = oslo_messaging.NotificationFilter(
        event_type=events.EVENT_TYPE
    )

    def __init__(
        self,
        take: Callable[[models.Hint, str | None], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._take = take
        self._sleep = sleep

    def info(
        self,
        context: object,
        publisher: object,
        event_type: object,
        payload: object,
        metadata: object,
    ) -> str:
        """Take one notification of priority info.

        It is acknowledged whatever happens: sent again at once, it would
        come back as fast as it fails. Only while the database is away does
        it wait here, unacknowledged: the broker gives it to another worker
        when this one goes.

        :param context: holds, for some events, a live token: never logged
        """
        try:
            hint = events.parse(event_type, payload)
            if hint is not None:
                self._insist(hint, events.find_request_id(context))
        except Exception:
            # The one place where a notification's failure ends.
            LOG.exception(
                'A notification could not be acted on; the next sweep looks '
                'at its instance.'
            )
        return str(oslo_messaging.NotificationResult.HANDLED)

    def _insist(self, hint: models.Hint, request_id: str | None) -> None:
        """Hand a hint on, however long the database is away."""
        delay = _FIRST_DELAY
        while True:
            try:
                self._take(hint, request_id)
            except exceptions.DatabaseUnavailable as error:
                LOG.warning(
                    'The %s of instance %s has to wait: %s',
                    hint.kind,
                    hint.instance,
                    error.message,
                )
            else:
                return
            self._sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)
