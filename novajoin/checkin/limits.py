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
"""How often one address may ask, in one worker process."""

from collections.abc import Callable
import ipaddress
import threading
import time
from typing import Final

import cachetools

from novajoin import exceptions

_MINUTE: Final = 60.0
#: Beyond that, the addresses that were quiet for longest are forgotten.
_ADDRESSES: Final = 16384


class RateLimit:
    """A bucket of requests for each address; it refills in a minute.

    Memory only: it keeps one sender from taking all threads of a worker and
    is no defence of the tokens, which need none. A guest may have a whole
    IPv6 /64 to send from, so that is what counts as one address.

    :param per_minute: how many requests; 0 switches the limit off
    :param timer: seconds, monotonic
    """

    def __init__(
        self, per_minute: int, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = float(per_minute)
        self._timer = timer
        self._lock = threading.Lock()
        self._buckets: cachetools.LRUCache[str, tuple[float, float]] = (
            cachetools.LRUCache(_ADDRESSES)
        )

    def take(self, address: str) -> None:
        """Count one request.

        :param address: of the TCP connection, as text
        :raises TooManyRequests: the bucket is empty
        """
        if not self._capacity:
            return
        key = _get_sender(address)
        now = self._timer()
        with self._lock:
            level, at = self._buckets.get(key, (self._capacity, now))
            level += (now - at) * self._capacity / _MINUTE
            level = min(level, self._capacity)
            is_empty = level < 1
            self._buckets[key] = (level if is_empty else level - 1, now)
        if is_empty:
            raise exceptions.TooManyRequests()


def _get_sender(address: str) -> str:
    if ':' not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition('%')[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
