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
"""What an error of a database means to its operator, and what to do."""

from typing import Final

from oslo_db import exception as db_exception
import sqlalchemy

# Numbers are those of MariaDB (its reference, "MariaDB error codes"; from
# 2000 on those of its clients), texts of five those of PostgreSQL (its
# manual, appendix A).
_SCHEMA: Final = frozenset({1054, 1146, '42703', '42P01'})
_ACCOUNT: Final = frozenset({1044, 1045, 1698, '28000', '28P01', '42501'})
_NO_DATABASE: Final = frozenset({1049, '3D000'})
_AWAY: Final = frozenset({2002, 2003, 2005, 2006, 2013})

# SQLite has one number for all of these, and psycopg2 none before there is a
# connection: only the words tell.
_SCHEMA_WORDS: Final = ('no such table', 'no such column')
_ACCOUNT_WORDS: Final = (
    'authentication failed',
    'pg_hba.conf',
    'FATAL: role "',
)
_NO_DATABASE_WORDS: Final = ('FATAL: database "',)
_AWAY_WORDS: Final = ('connection to server', 'could not translate host name')


def explain(error: BaseException, url: sqlalchemy.URL) -> str:
    """Return what is wrong and what to do about it, on one line.

    It names hosts and accounts, and is for the operator only. The parameters
    of a statement may be somebody's data: of the error only the database's
    own message is shown.

    :param error: of oslo.db or SQLAlchemy
    :param url: of the database
    """
    inner = getattr(error, 'inner_exception', None) or error
    origin = getattr(inner, 'orig', None) or inner
    text = ' '.join(str(origin).split())
    what = '%s: %s' % (type(origin).__name__, text)
    code = _get_code(origin)
    if code in _SCHEMA or text.startswith(_SCHEMA_WORDS):
        return (
            'The database %s has not the schema of this release (%s); run '
            '"novajoin-manage db sync".' % (_get_name(url), what)
        )
    if code in _NO_DATABASE or _has(text, _NO_DATABASE_WORDS):
        return (
            'There is no database %s (%s); create it, or correct [database] '
            'connection.' % (_get_name(url), what)
        )
    if code in _ACCOUNT or _has(text, _ACCOUNT_WORDS):
        return (
            'The database %s refuses the account of [database] connection '
            '(%s); correct it, or what it is granted.' % (_get_name(url), what)
        )
    if (
        code in _AWAY
        or isinstance(error, db_exception.DBConnectionError)
        or _has(text, _AWAY_WORDS)
    ):
        return (
            'The database %s cannot be reached (%s); see that it runs, and '
            'that [database] connection names it.' % (_get_name(url), what)
        )
    return 'The database %s failed: %s' % (_get_name(url), what)


def _get_code(origin: BaseException) -> int | str | None:
    code: str | None = getattr(origin, 'pgcode', None)
    if code is not None:
        return code
    first = origin.args[0] if origin.args else None
    return first if isinstance(first, int) else None


def _has(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _get_name(url: sqlalchemy.URL) -> str:
    if url.host is None:
        return str(url.database)
    port = '' if url.port is None else ':%d' % url.port
    return '%s at %s%s' % (url.database, url.host, port)
