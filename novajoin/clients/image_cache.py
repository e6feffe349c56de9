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
"""A cache of image properties, by image id.

Nova posts for every instance of the cloud, and for each that does not ask in
its own metadata the image is looked at: some thousand instances share a few
images.
"""

from collections.abc import Callable
from collections.abc import Mapping
from concurrent import futures
import threading
import time

import cachetools

from novajoin import exceptions
from novajoin.clients import base

_Properties = Mapping[str, str] | None


class ImageCache(base.ImageClient):
    """Remember what an image client said.

    One thread asks for an image while others wait for its answer. That
    there is no such image is remembered too; that glance was away is not.

    :param client: who is asked
    :param size: how many images are remembered; the one that was not used
        for longest goes first
    :param ttl: for how long, in seconds: as old may a property be
    :param timer: a clock that never goes back, in seconds
    """

    def __init__(
        self,
        client: base.ImageClient,
        *,
        size: int,
        ttl: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: cachetools.TTLCache[str, _Properties] = (
            cachetools.TTLCache(size, ttl, timer=timer)
        )
        self._flights: dict[str, futures.Future[_Properties]] = {}

    def check(self) -> None:
        """Ask the client; see the base class."""
        self._client.check()

    def find_properties(self, image: str, *, timeout: float) -> _Properties:
        """Return what is known, or ask; see the base class."""
        with self._lock:
            if image in self._known:
                return self._known[image]
            flight = self._flights.get(image)
            is_mine = flight is None
            if flight is None:
                flight = self._flights[image] = futures.Future()
        if is_mine:
            return self._ask(image, flight, timeout)
        try:
            return flight.result(timeout)
        except TimeoutError:
            raise exceptions.ImageUnavailable(
                'The image service (glance) does not answer in time.'
            ) from None
        except exceptions.ImageUnavailable as error:
            # An error of one's own: several threads raise it at once.
            raise exceptions.ImageUnavailable(error.message) from None

    def _ask(
        self,
        image: str,
        flight: futures.Future[_Properties],
        timeout: float,
    ) -> _Properties:
        try:
            properties = self._client.find_properties(image, timeout=timeout)
        except BaseException as error:
            self._land(image)
            flight.set_exception(error)
            raise
        self._land(image, properties, is_known=True)
        flight.set_result(properties)
        return properties

    def _land(
        self,
        image: str,
        properties: _Properties = None,
        *,
        is_known: bool = False,
    ) -> None:
        with self._lock:
            if is_known:
                self._known[image] = properties
            del self._flights[image]
