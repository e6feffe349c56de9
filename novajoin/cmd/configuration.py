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
"""Read join.conf and set up the log, the same way for every process."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import contextvars
import pathlib
import sys
from typing import Final

from oslo_config import cfg
from oslo_log import log as logging
from oslo_policy import opts as policy_opts

from novajoin import exceptions
from novajoin import version
from novajoin.conf import opts
from novajoin.conf import project

LOG = logging.getLogger(__name__)

#: Where the README of the first novajoin had its options.
_OLD_FILE: Final = pathlib.Path('/etc/nova/join.conf')
_QUIET: Final = (
    'alembic=WARN',
    'keystonemiddleware=INFO',
    'stevedore=WARN',
    'urllib3=WARN',
)
#: What they say of a database is in its error, too.
_TOLD: Final = ('novajoin.db.engine', 'oslo_db.sqlalchemy.exc_filters')

_IS_HUSHED: Final = contextvars.ContextVar('is_hushed', default=False)


def _find_files() -> list[str]:
    """Return the files to read unless the command line names others."""
    found: list[str] = cfg.find_config_files(project='novajoin', prog='join')
    if not found and _OLD_FILE.exists():
        return [str(_OLD_FILE)]
    return found


class Options(cfg.ConfigOpts):
    """All options.

    :ivar arguments: the command line that they were read with
    :ivar description: what ``--help`` says that the program does
    """

    arguments: tuple[str, ...] = ()
    description: str = ''


def make_conf(description: str = '') -> Options:
    """Return all options, registered and not yet read.

    :param description: what ``--help`` says that the program does
    """
    conf = Options()
    conf.description = description
    opts.register_opts(conf)
    logging.register_options(conf)
    policy_opts._register(conf)
    return conf


def read(conf: Options, arguments: Sequence[str]) -> None:
    """Read the command line and the files.

    ``/etc/novajoin/join.conf`` and ``join.conf.d``; where there is none, the
    old ``/etc/nova/join.conf``. :func:`set_up_log` warns of it.

    :raises ConfigurationError: a file cannot be read or an option is wrong
    """
    conf.arguments = tuple(arguments)
    try:
        conf(
            list(arguments),
            project='novajoin',
            # What --help shows; the files are called join.conf all the same.
            prog=pathlib.Path(sys.argv[0]).name,
            version=version.get_version(),
            description=conf.description,
            default_config_files=_find_files(),
            default_config_dirs=cfg.find_config_dirs(
                project='novajoin', prog='join'
            ),
        )
    except cfg.ConfigFilesNotFoundError as exc:
        raise exceptions.ConfigurationError(
            '--config-file', 'not found: %s' % ', '.join(exc.config_files)
        ) from exc
    except (cfg.Error, ValueError) as exc:
        raise exceptions.ConfigurationError('join.conf', str(exc)) from exc
    check(conf)


def _warn(conf: cfg.ConfigOpts) -> None:
    """Name what was read and is of novajoin 1.x."""
    where = conf.get_location('config_file')
    is_default = where is None or not where.location.is_user_controlled
    if is_default and conf.config_file == [str(_OLD_FILE)]:
        LOG.warning(
            '%s is read for the last time in this release; move it to '
            '/etc/novajoin/join.conf.',
            _OLD_FILE,
        )
    for name in project.list_old_classes(conf):
        LOG.warning(
            '[%s] allowed_classes is taken for the project of that name in '
            "keystone's domain default. Put it into the section "
            '[project:<id of the project>]: the name is read for the last '
            'time in this release.',
            name,
        )


def check(conf: cfg.ConfigOpts) -> None:
    """Look at every value: oslo.config checks some at their first use.

    :raises ConfigurationError: naming the option
    """
    for module in opts.MODULES:
        for group, options in module.list_opts():
            name = None if group is None else str(group)
            if name is not None and name not in conf:
                continue  # one section for each project, or of a plugin
            for option in options:
                _check_value(conf, name, option)


def _check_value(
    conf: cfg.ConfigOpts, group: str | None, option: cfg.Opt
) -> None:
    values = conf if group is None else conf[group]
    if option.dest not in values:
        return
    try:
        values[option.dest]
    except (cfg.Error, ValueError) as exc:
        raise exceptions.ConfigurationError(
            '[%s] %s' % (group or 'DEFAULT', option.dest), str(exc)
        ) from exc


def read_again(conf: Options) -> Options:
    """Read the same files again (SIGHUP), into new options.

    The old ones stay as they are, so that what turns out to be wrong later
    leaves nothing behind.

    :raises ConfigurationError: they cannot be read or an option is wrong
    """
    fresh = make_conf()
    read(fresh, conf.arguments)
    _warn(fresh)
    return fresh


def set_up_log(conf: cfg.ConfigOpts) -> None:
    """Let the log go where the options say, with warnings about them."""
    logging.set_defaults(
        default_log_levels=[*logging.get_default_log_levels(), *_QUIET]
    )
    # What a command prints is for the next program, not its log.
    conf.set_default('use_stderr', True)
    logging.setup(conf, 'novajoin')
    _warn(conf)


@contextlib.contextmanager
def hush_database(conf: cfg.ConfigOpts) -> Iterator[None]:
    """Keep quiet the loggers whose errors the command itself tells.

    With ``--debug`` they go on talking.
    """
    for name in _TOLD:
        # Once: a filter that is there already is not added again.
        logging.getLogger(name).logger.addFilter(_is_news)
    token = _IS_HUSHED.set(not conf.debug)
    try:
        yield
    finally:
        _IS_HUSHED.reset(token)


def _is_news(record: object) -> bool:
    return not _IS_HUSHED.get()


def start(
    arguments: Sequence[str] | None = None, *, description: str = ''
) -> Options:
    """Read everything, or end the process with one line.

    :param arguments: without the program's name; the default is argv's
    :param description: what ``--help`` says that the program does
    """
    conf = make_conf(description)
    try:
        read(conf, sys.argv[1:] if arguments is None else arguments)
        set_up_log(conf)
    except exceptions.ConfigurationError as exc:
        program = pathlib.Path(sys.argv[0]).stem or 'novajoin'
        sys.exit('%s: %s' % (program, exc))
    return conf
