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
"""Where this machine's check-in processes keep key and certificate.

* ``certificate.pem``: key, certificate and service intermediate in one file,
  so that it is replaced as a whole or not at all;
* ``pending.json``: the next key and the id of its request, which outlives a
  restart, so that one request is made and not one per start;
* ``lock``: held by the one process that asks. The others see the file change.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from typing import Final

from oslo_log import log as logging

from novajoin import exceptions
from novajoin.checkin import certificate

LOG = logging.getLogger(__name__)

_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077


@dataclasses.dataclass(frozen=True, slots=True)
class Pending:
    """A request that has no answer yet.

    :ivar key: PEM, PKCS#8
    :ivar names: what it asks for, sorted
    :ivar id: id of the request; None when it may not have been left
    """

    key: str = dataclasses.field(repr=False)
    names: tuple[str, ...]
    id: str | None


class Files:
    """The files of the state directory.

    :param directory: made when it is missing
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.certificate = directory / 'certificate.pem'
        self._directory = directory
        self._pending = directory / 'pending.json'
        self._lock = directory / 'lock'

    def setup(self) -> None:
        """Make the directory.

        :raises ConfigurationError: it cannot be made or used
        """
        try:
            self._directory.mkdir(
                mode=_DIRECTORY_MODE, parents=True, exist_ok=True
            )
            self._lock.touch(mode=_FILE_MODE)
        except OSError as error:
            raise exceptions.ConfigurationError(
                '[checkin] directory',
                '%s cannot be used: %s' % (self._directory, error.strerror),
            ) from None

    def get_signature(self) -> tuple[int, ...] | None:
        """Return what changes with the certificate's file, or None."""
        try:
            status = self.certificate.stat()
        except FileNotFoundError:
            return None
        return (status.st_ino, status.st_size, status.st_mtime_ns)

    def read_certificate(self) -> bytes:
        """Return key and certificates, PEM.

        :raises OSError: there is none
        :raises ValueError: others may read it, so it is no secret
        """
        if self.certificate.stat().st_mode & _OTHERS:
            raise ValueError('other users can read the key')
        return self.certificate.read_bytes()

    def write_certificate(self, text: bytes) -> None:
        """Replace key and certificates, PEM."""
        self._write(self.certificate, text)

    def find_pending(self) -> Pending | None:
        """Return the request that waits; None also for a broken file."""
        try:
            read = json.loads(self._pending.read_bytes())
            certificate.load_key(read['key'])
            return Pending(read['key'], tuple(read['names']), read['id'])
        except FileNotFoundError:
            return None
        except (AttributeError, KeyError, TypeError, ValueError):
            LOG.warning('%s is broken; a new request is made', self._pending)
            return None

    def write_pending(self, pending: Pending) -> None:
        """Keep the request that waits."""
        text = json.dumps(dataclasses.asdict(pending))
        self._write(self._pending, text.encode())

    def drop_pending(self) -> None:
        """Forget the request that waits."""
        self._pending.unlink(missing_ok=True)

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Tell whether this process is the one that asks for now."""
        with self._lock.open('wb') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _write(self, path: pathlib.Path, text: bytes) -> None:
        temporary = path.with_name('%s.%d.tmp' % (path.name, os.getpid()))
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(
                os.open(temporary, flags, _FILE_MODE), 'wb'
            ) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
