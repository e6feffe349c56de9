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
"""Bring a database to the schema of this release. Forward only."""

import contextlib
import fcntl
import os
from typing import Any
from typing import Final

from alembic import command
from alembic import config
from alembic import script
from alembic.runtime import migration
import sqlalchemy

from novajoin import exceptions
from novajoin.db import engine

#: What MariaDB and PostgreSQL call the lock of a migration in progress.
_LOCK_NAME: Final = 'novajoin-db-sync'
_LOCK_NUMBER: Final = 6_015_702_114_312_031_341


def _make_config() -> config.Config:
    settings = config.Config()
    settings.set_main_option('script_location', 'novajoin.db:migrations')
    settings.set_main_option('path_separator', 'os')
    return settings


def get_head() -> str:
    """Return the revision that this release needs."""
    head = script.ScriptDirectory.from_config(_make_config())
    revision = head.get_current_head()
    if revision is None:
        raise AssertionError('the package has no migrations')
    return revision


def find_version(database: engine.Database) -> str | None:
    """Return the revision that a database is at, None for an empty one.

    :raises DatabaseUnavailable: the database is away
    """

    def read(tx: engine.Transaction) -> str | None:
        return migration.MigrationContext.configure(tx).get_current_revision()

    return database.read(read)


@contextlib.contextmanager
def _lock(database: engine.Database, connection: Any) -> Any:
    # Several processes may start on one empty database at once.
    if database.path is not None:
        lock = database.path.with_name(database.path.name + '.lock')
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
        return
    name = database.engine.dialect.name
    if name in ('mysql', 'mariadb'):
        take = sqlalchemy.text('SELECT GET_LOCK(:name, 600)')
        give = sqlalchemy.text('SELECT RELEASE_LOCK(:name)')
        arguments: dict[str, Any] = {'name': _LOCK_NAME}
    else:
        take = sqlalchemy.text('SELECT pg_advisory_lock(:number)')
        give = sqlalchemy.text('SELECT pg_advisory_unlock(:number)')
        arguments = {'number': _LOCK_NUMBER}
    connection.execute(take, arguments)
    try:
        yield
    finally:
        connection.execute(give, arguments)


def sync(database: engine.Database) -> str:
    """Migrate a database to this release's schema; again is no error.

    Processes that do this at the same time wait for each other.

    :returns: the revision that it is at now
    :raises DatabaseUnavailable: the database is away
    :raises ConfigurationError: the database is of a newer release
    """
    head = get_head()
    with database.engine.connect() as guard, _lock(database, guard):
        version = find_version(database)
        if version == head:
            return head
        known = {
            revision.revision
            for revision in script.ScriptDirectory.from_config(
                _make_config()
            ).walk_revisions()
        }
        if version is not None and version not in known:
            raise exceptions.ConfigurationError(
                '[database] connection',
                'the database is at revision %s, which this release does '
                'not know; run the release that made it, or a newer one'
                % version,
            )

        def migrate(tx: engine.Transaction) -> None:
            settings = _make_config()
            settings.attributes['connection'] = tx
            command.upgrade(settings, 'head')

        database.write(migrate)
        return head
