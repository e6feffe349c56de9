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
"""The engine, and transactions that are tried again where that is right."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import random
import sqlite3
import threading
import time
from typing import Any
from typing import Final
from typing import TypeAlias
from typing import TypeVar

from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import engines
from oslo_db.sqlalchemy import exc_filters
from oslo_log import log as logging
import sqlalchemy
from sqlalchemy import event

from novajoin import exceptions
from novajoin.db import faults
from novajoin.db import turn

LOG = logging.getLogger(__name__)

#: What the functions of this package take; opaque to everybody else.
Transaction: TypeAlias = sqlalchemy.Connection

_T = TypeVar('_T')

#: How often a transaction that lost a deadlock is run again.
_ATTEMPTS: Final = 10

#: Seconds that a statement waits for SQLite's only writer.
_SQLITE_BUSY: Final = 20


class DuplicateRow(Exception):
    """A unique index forbids the row; the transaction was rolled back.

    :ivar columns: the columns of the index, where the database tells
    """

    def __init__(self, columns: list[str]) -> None:
        super().__init__('duplicate row: %s' % ', '.join(columns))
        self.columns = columns


def _set_journal(dbapi: Any) -> None:
    """Switch a file to the write-ahead log, once in its life.

    SQLite does not wait for others where it switches: of several processes
    that start on an empty directory all but one have to come again.
    """
    end = time.monotonic() + _SQLITE_BUSY
    while True:
        try:
            dbapi.execute('PRAGMA journal_mode=WAL')
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def _open_sqlite(url: sqlalchemy.URL) -> sqlalchemy.Engine:
    # oslo.db gives SQLite files a pool that opens the file for each
    # transaction and a BEGIN that takes the write lock only at the first
    # write, where it can fail at once. Both are fine for a test database
    # and not for one that serves, so the engine is made here and shares
    # oslo.db's exceptions.
    engine = sqlalchemy.create_engine(
        url,
        pool_size=32,
        max_overflow=64,
        connect_args={
            'timeout': _SQLITE_BUSY,
            'check_same_thread': False,
        },
    )

    @event.listens_for(engine, 'connect')
    def connect(dbapi: Any, record: Any) -> None:
        dbapi.isolation_level = None
        _set_journal(dbapi)
        dbapi.execute('PRAGMA synchronous=FULL')
        dbapi.execute('PRAGMA foreign_keys=ON')

    exc_filters.register_engine(engine)
    return engine


def _begin_writing(transaction: Transaction) -> None:
    """Take SQLite's only write lock now, not at the first write.

    Past SQLAlchemy, which would do as much for it as for a statement.

    :raises DatabaseUnavailable: somebody else does not give it back
    """
    dbapi: Any = transaction.connection.dbapi_connection
    try:
        dbapi.execute('BEGIN IMMEDIATE')
    except sqlite3.Error as exc:
        cause = faults.explain(exc, transaction.engine.url)
        LOG.error('%s', cause)
        raise exceptions.DatabaseUnavailable(cause=cause) from exc


def _open(url: sqlalchemy.URL, options: dict[str, Any]) -> sqlalchemy.Engine:
    if url.get_backend_name() == 'sqlite':
        return _open_sqlite(url)
    engine: sqlalchemy.Engine = engines.create_engine(url, **options)
    return engine


def validate_url(url: str) -> None:
    """Check that a database of this kind can be spoken to; connects to none.

    :raises ConfigurationError: it is no URL, or its driver is not installed
    """
    option = '[database] connection'
    try:
        sqlalchemy.make_url(url).get_dialect().import_dbapi()
    except sqlalchemy.exc.NoSuchModuleError as exc:
        raise exceptions.ConfigurationError(
            option, 'SQLAlchemy knows no database of this kind: %s' % exc
        ) from exc
    except (sqlalchemy.exc.ArgumentError, ValueError) as exc:
        # What SQLAlchemy says may quote the password.
        raise exceptions.ConfigurationError(
            option, 'this is not a database URL of SQLAlchemy'
        ) from exc
    except ImportError as exc:
        raise exceptions.ConfigurationError(
            option,
            "the database's driver cannot be loaded (%s); install novajoin "
            'with its extra "mysql" or "postgresql"' % exc,
        ) from exc


class Database:
    """One database, used by any number of threads of one process.

    Build it after the process has forked. Nothing is opened before the
    first use.

    :param url: SQLAlchemy URL; a SQLite file's directory is made on demand
    :param options: further arguments of oslo.db's ``create_engine``
    :ivar has_failed: whether a write found the database away or full since
        somebody set this to False
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url = sqlalchemy.make_url(url)
        self.has_failed = False
        self._options = {'max_retries': 0, **options}
        self._lock = threading.Lock()
        self._turn = turn.Turn(self.path) if self.is_embedded else None
        self._engine: sqlalchemy.Engine | None = None
        self._reader: sqlalchemy.Engine | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether this is a SQLite file, the embedded default."""
        return self.url.get_backend_name() == 'sqlite'

    @property
    def path(self) -> pathlib.Path | None:
        """The SQLite file, or None for a server."""
        if not self.is_embedded or not self.url.database:
            return None
        return pathlib.Path(self.url.database)

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The SQLAlchemy engine, opened at first use."""
        with self._lock:
            if self._engine is None:
                if self.path is not None:
                    _make_private_file(self.path)
                self._engine = _open(self.url, self._options)
                # SQLite has no BEGIN to spare; setting the level for each
                # use would cost more than most reads.
                self._reader = (
                    self._engine
                    if self.is_embedded
                    else self._engine.execution_options(
                        isolation_level='AUTOCOMMIT'
                    )
                )
            return self._engine

    def read(self, function: Callable[[Transaction], _T]) -> _T:
        """Run a function that only reads, and hold no lock afterwards.

        Each statement sees what was committed when it began.

        :param function: takes the transaction; may run more than once
        :returns: what the function returned
        :raises DatabaseUnavailable: the database is away
        """
        self.engine  # noqa: B018 opens it
        assert self._reader is not None  # noqa: S101 for the type checker
        return self._run(self._reader.connect, function)

    def write(self, function: Callable[[Transaction], _T]) -> _T:
        """Run a function in one transaction and commit it.

        Whatever the function raises rolls everything back. A transaction
        that lost a deadlock, or could not be serialised, runs again.

        :param function: takes the transaction; may run more than once
        :returns: what the function returned
        :raises DuplicateRow: a unique index forbids a row
        :raises DatabaseUnavailable: the database is away, or full
        """
        self.engine  # noqa: B018 opens it
        try:
            return self._run(self._begin, function)
        except exceptions.DatabaseUnavailable:
            self.has_failed = True
            raise

    def take_turn(self) -> contextlib.AbstractContextManager[object]:
        """Return what keeps other threads from writing meanwhile.

        Around a few short steps that end with a write. On SQLite the thread
        would wait in line for the write anyway; before that, threads that
        fight for the interpreter at each statement use as much CPU for it
        as for the statements. On a server it does nothing. It is no
        transaction and protects nothing.
        """
        if self._turn is None:
            return contextlib.nullcontext()
        return self._turn.take_here()

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sqlalchemy.Connection]:
        if self._turn is None:
            with self.engine.begin() as transaction:
                yield transaction
            return
        with self._turn.take(), self.engine.begin() as transaction:
            _begin_writing(transaction)
            yield transaction

    def _run(
        self,
        begin: Callable[
            [], contextlib.AbstractContextManager[sqlalchemy.Connection]
        ],
        function: Callable[[Transaction], _T],
    ) -> _T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with begin() as transaction:
                    return function(transaction)
            except db_exception.DBDuplicateEntry as exc:
                raise DuplicateRow(list(exc.columns)) from exc
            except db_exception.DBDeadlock as exc:
                if attempt == _ATTEMPTS:
                    raise exceptions.DatabaseUnavailable(
                        'The database is too busy.'
                    ) from exc
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 jitter
            except (
                db_exception.DBError,
                db_exception.DBConnectionError,
                # What oslo.db does not know it passes on: a full disk, a
                # file that is locked or read-only.
                sqlalchemy.exc.DBAPIError,
                sqlalchemy.exc.TimeoutError,
            ) as exc:
                cause = faults.explain(exc, self.url)
                LOG.error('%s', cause)
                raise exceptions.DatabaseUnavailable(cause=cause) from exc
        raise AssertionError('unreachable')

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            if self._turn is not None:
                self._turn.close()
            self._engine = self._reader = None


def _make_private_file(path: pathlib.Path) -> None:
    try:
        make_private_directory(path.parent)
        # SQLite gives its journals the mode of the file.
        os.close(os.open(path, os.O_CREAT, 0o600))
    except OSError as exc:
        cause = (
            'The database %s cannot be used: %s. Set state_path or '
            '[database] connection to a place that can be written.'
            % (path, exc.strerror)
        )
        LOG.error('%s', cause)
        raise exceptions.DatabaseUnavailable(cause=cause) from exc


def make_private_directory(path: pathlib.Path) -> None:
    """Make a directory, and those above it, for this user only.

    :param path: the directory; it may be there
    """
    if path.is_dir():
        return
    previous = os.umask(0o077)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    finally:
        os.umask(previous)
