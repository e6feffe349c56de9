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
"""Report that a process is alive, with the keys that it has."""

from collections.abc import Iterable
from collections.abc import Sequence
import logging
import socket
import threading
from typing import Final

from novajoin import exceptions
from novajoin.cmd import assembly as parts
from novajoin.db import engine
from novajoin.db import processes
from novajoin.keys import authorities

LOG = logging.getLogger(__name__)

#: Seconds between two reports; a rotation asks for the last two minutes.
_INTERVAL: Final = 30.0


def list_keys(
    assembly: parts.Assembly, kinds: Iterable[str]
) -> dict[str, list[str]]:
    """Return the key ids that a process knows, by kind.

    A process without a single key of a kind of CA does not sign for it: a
    rotation need not wait for it, and the kind is left out.

    :param kinds: the kinds of keys that the process may need
    """
    keys = {kind: sorted(assembly.keys.get_ids(kind)) for kind in kinds}
    return {
        kind: key_ids
        for kind, key_ids in keys.items()
        if key_ids or kind not in authorities.KINDS
    }


class Reporter:
    """Write one row, again and again, in a thread of its own.

    :param role: ``server``, ``checkin`` or ``notify``
    :param kinds: the kinds of keys that the process needs
    """

    def __init__(
        self, assembly: parts.Assembly, role: str, kinds: Sequence[str]
    ) -> None:
        self._assembly = assembly
        self._role = role
        self._kinds = tuple(kinds)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def report(self) -> None:
        """Write the row now.

        :raises DatabaseUnavailable: it could not be written
        """
        assembly = self._assembly
        keys = list_keys(assembly, self._kinds)
        try:
            assembly.database.write(
                lambda tx: processes.report(
                    tx,
                    assembly.process,
                    self._role,
                    socket.gethostname(),
                    keys,
                    assembly.clock(),
                )
            )
        except engine.DuplicateRow:
            LOG.debug('Another thread reported at the same moment.')

    def start(self) -> None:
        """Report from now on."""
        self._thread = threading.Thread(
            target=self._run, name='report', daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Report no more; idempotent."""
        self._stop.set()

    def wait(self) -> None:
        """Return when the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = _INTERVAL
            try:
                self.report()
            except exceptions.NovajoinError as exc:
                LOG.warning('This process could not be reported: %s', exc)
