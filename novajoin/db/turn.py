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
"""Whose turn it is to write to a SQLite file.

SQLite has one writer. Those that wait for it poll, sleeping longer and longer,
so that one process can keep another from writing for seconds. Threads and
processes that wait in line write as much and none of them waits long.

A turn is good manners and protects nothing: SQLite itself does that.
"""

from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib
import threading
import time
from typing import Final

#: Seconds between two looks at a turn that another process has.
_LOOK: Final = 0.001

#: Seconds after which somebody who has the turn is thought to be frozen.
_PATIENCE: Final = 5.0


class Turn:
    """One line for the threads of this process, one for the processes.

    :param path: the SQLite file, None for one in memory
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        self._path = (
            None if path is None else path.with_name(path.name + '.turn')
        )
        self._threads = threading.RLock()
        self._descriptor: int | None = None

    @contextlib.contextmanager
    def take_here(self) -> Iterator[None]:
        """Take the turn among the threads of this process."""
        with self._threads:
            yield

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Take the turn among all processes; a write does, once."""
        with self._threads:
            descriptor = self._open()
            has_it = descriptor is not None and _lock(descriptor)
            try:
                yield
            finally:
                if descriptor is not None and has_it:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _open(self) -> int | None:
        if self._descriptor is None and self._path is not None:
            try:
                self._descriptor = os.open(
                    self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
                )
            except OSError:
                # Without one, as on a full disk; the write says what is
                # wrong if anything is.
                return None
        return self._descriptor

    def close(self) -> None:
        """Close the file; the next turn opens it again."""
        with self._threads:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _lock(descriptor: int) -> bool:
    """Wait for a lock.

    :returns: whether it was had in time
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK)
        except OSError:  # a file system without locks
            return False
        else:
            return True
