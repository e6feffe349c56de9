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
"""Where novajoin keeps its state, and in which database."""

import os
import pathlib
from typing import Any

from oslo_config import cfg
from oslo_db import options as db_options

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'state_path',
        sample_default='/var/lib/novajoin',
        help="""
The directory for the SQLite file and the key repository, where these have no
place of their own (``[database] connection``, ``[keys] directory``). The
default is ``/var/lib/novajoin`` for root and for accounts that may write
there, and ``$XDG_STATE_HOME/novajoin`` for others.
""",
    ),
]

_SYSTEM = pathlib.Path('/var/lib/novajoin')


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register ``state_path`` and oslo.db's options."""
    conf.register_opts(OPTIONS)
    conf.register_opts(db_options.database_opts, 'database')


def list_opts() -> list[tuple[Any, list[cfg.Opt]]]:
    """Return the options for the sample configuration; oslo.db lists its
    own."""
    return [(None, OPTIONS)]


def get_state_path(conf: cfg.ConfigOpts) -> pathlib.Path:
    """Return the state directory; it need not exist yet."""
    if conf.state_path:
        return pathlib.Path(conf.state_path)
    if os.geteuid() == 0 or os.access(_SYSTEM, os.W_OK):
        return _SYSTEM
    home = os.environ.get('XDG_STATE_HOME') or os.path.expanduser(
        '~/.local/state'
    )
    return pathlib.Path(home) / 'novajoin'


def get_database_url(conf: cfg.ConfigOpts) -> str:
    """Return the URL of the database; the default is a SQLite file."""
    return conf.database.connection or 'sqlite:///%s' % (
        get_state_path(conf) / 'novajoin.sqlite'
    )


def get_engine_options(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return oslo.db's engine options as they are configured."""
    database = conf.database
    return {
        'mysql_sql_mode': database.mysql_sql_mode,
        'mysql_wsrep_sync_wait': database.mysql_wsrep_sync_wait,
        'connection_recycle_time': database.connection_recycle_time,
        'max_pool_size': database.max_pool_size,
        'max_overflow': database.max_overflow,
        'pool_timeout': database.pool_timeout,
    }
