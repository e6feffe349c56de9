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
"""Files that hold secrets: how they are written, read, locked and checked.

A file of the key repository is either not there, or whole: it is written
beside its place, brought to the disk, renamed into its place, and the
directory is brought to the disk too. Whoever dies on the way leaves at most
a temporary file behind, which the next writer removes.
"""

from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib
import secrets
import stat
import time
from typing import Final

from novajoin import exceptions

#: Larger than any key or certificate that we keep.
MAX_SIZE: Final = 65536

OPTION: Final = '[keys] directory'

_LOCK_TIMEOUT: Final = 60.0
_LOCK_POLL: Final = 0.02


def check_directory(path: pathlib.Path) -> None:
    """Refuse a directory that other users of the machine can enter.

    :raises ConfigurationError: with what to do; also when it cannot be read
    :raises FileNotFoundError: when there is none
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise exceptions.ConfigurationError(
            OPTION, '%s cannot be read: %s.' % (path, error.strerror)
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise exceptions.ConfigurationError(
            OPTION, '%s is not a directory (links are not followed).' % path
        )
    _check_mode(path, status, 0o700)


def make_directory(path: pathlib.Path) -> None:
    """Make a directory of mode 0700, and what is missing above it.

    When root does it, it belongs to whom its parent belongs to: ``keys
    setup`` run by root must not lock the service out.

    :raises ConfigurationError: something else is in its place, or other
        users can enter it
    :raises OSError: no space, no permission
    """
    try:
        check_directory(path)
        return
    except FileNotFoundError:
        pass
    if not path.parent.is_dir():
        make_directory(path.parent)
    # Another process may be a moment ahead of us.
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        _inherit_owner(path)
        sync_directory(path.parent)
    check_directory(path)


def read(path: pathlib.Path) -> bytes:
    """Return the content of a file that only its owner can read.

    :raises ConfigurationError: others can read or change it, or it is no
        ordinary file, or far too large
    :raises FileNotFoundError: when there is none
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise exceptions.ConfigurationError(
            OPTION, '%s cannot be read: %s.' % (path, error.strerror)
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise exceptions.ConfigurationError(
                OPTION, '%s is not an ordinary file.' % path
            )
        _check_mode(path, status, 0o600)
        with os.fdopen(descriptor, 'rb', closefd=False) as file:
            data = file.read(MAX_SIZE + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_SIZE:
        raise exceptions.ConfigurationError(
            OPTION, '%s is too large to be a key.' % path
        )
    return data


def write(path: pathlib.Path, data: bytes) -> None:
    """Put a file of mode 0600 into its place, whole or not at all.

    :raises OSError: no space, no permission; what was there is still there
    """
    temporary = prepare(path, data)
    try:
        os.rename(temporary, path)
    except OSError:
        remove(temporary)
        raise
    sync_directory(path.parent)


def prepare(path: pathlib.Path, data: bytes) -> pathlib.Path:
    """Write a file beside its later place and return where.

    :raises OSError: no space, no permission; nothing is left behind
    """
    temporary = path.with_name(
        '.%s.%s.tmp' % (path.name, secrets.token_hex(8))
    )
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _inherit_owner(temporary)
    except OSError:
        remove(temporary)
        raise
    return temporary


def remove(path: pathlib.Path) -> None:
    """Remove a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def remove_leftovers(directory: pathlib.Path) -> None:
    """Remove the temporary files of writers that died.

    Only for who holds the lock: they may be those of a living writer.
    """
    for path in directory.glob('.*.tmp'):
        if path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                remove(inner)
            os.rmdir(path)
        else:
            remove(path)


def sync_directory(path: pathlib.Path) -> None:
    """Bring the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(
    path: pathlib.Path, *, timeout: float = _LOCK_TIMEOUT
) -> Iterator[None]:
    """Hold a lock against other processes and threads of this machine.

    The system releases it when its holder dies. It is not re-entrant.

    :param path: the lock file; it is made and stays
    :param timeout: seconds to wait for it
    :raises KeyUnavailable: another process holds on to it
    :raises OSError: no space, no permission
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            _inherit_owner(path)
        give_up = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise exceptions.KeyUnavailable(
                        'Another process holds the lock of the key '
                        'repository; try again.'
                    ) from None
                time.sleep(_LOCK_POLL)
        yield
    finally:
        os.close(descriptor)


def _check_mode(
    path: pathlib.Path, status: os.stat_result, allowed: int
) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise exceptions.ConfigurationError(
            OPTION,
            '%s has mode %04o, so users other than its owner can use it; if '
            'nobody did, run "chmod %04o %s", else replace the keys.'
            % (path, mode, allowed, path),
        )


def _inherit_owner(path: pathlib.Path) -> None:
    if os.geteuid() == 0:
        parent = os.stat(path.parent)
        os.chown(path, parent.st_uid, parent.st_gid)
