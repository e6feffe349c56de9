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
"""Work that is done again and again, each in a thread of its own."""

from collections.abc import Callable
import logging
import random
import threading

from novajoin import exceptions

LOG = logging.getLogger(__name__)

#: A body that keeps failing is tried at least this often, in seconds.
LONGEST_DELAY = 60.0


class Loop:
    """Call a function at intervals until told to stop.

    Whatever the function raises is logged and ends that call only. While it
    keeps failing, the intervals grow up to :data:`LONGEST_DELAY`.

    :param name: for the log and the thread
    :param interval: seconds between two calls; they vary by a tenth, so that
        processes that started together do not stay together
    :param body: returns whether there is more to do at once
    :param farewell: called once in the end, in the same thread
    """

    def __init__(
        self,
        name: str,
        interval: float,
        body: Callable[[], bool],
        *,
        farewell: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._interval = interval
        self._body = body
        self._farewell = farewell
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=name, daemon=True
        )

    def start(self) -> None:
        """Start; the first call is made at once."""
        self._thread.start()

    def wake(self) -> None:
        """Call the function now and not at the end of the interval."""
        self._woken.set()

    def stop(self) -> None:
        """Let the present call be the last one; returns at once."""
        self._stopping.set()
        self._woken.set()

    def join(self, timeout: float) -> bool:
        """Wait for the end.

        :param timeout: for how long, in seconds
        :returns: whether it has ended
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._woken.clear()
            if self._stopping.is_set():
                break
            has_more = self._call(self._body)
            failures = failures + 1 if has_more is None else 0
            if not has_more:
                self._woken.wait(self._get_delay(failures))
        if self._farewell is not None:
            self._call(self._farewell)

    def _call(self, function: Callable[[], bool | None]) -> bool | None:
        """Return what the function did, or None when it failed."""
        try:
            return bool(function())
        except exceptions.Unavailable as error:
            LOG.warning('%s has to wait: %s', self.name, error.message)
        except Exception:
            # Nothing that is wrong today may end what is done tomorrow.
            LOG.exception('%s failed; it is tried again.', self.name)
        return None

    def _get_delay(self, failures: int) -> float:
        longest = max(self._interval, LONGEST_DELAY)
        delay = min(self._interval * 2.0 ** min(failures, 30), longest)
        return delay * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
