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
"""``novajoin-status``: is this installation ready for an upgrade?"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import pathlib
import sys
import textwrap
from typing import Final

from keystoneauth1 import exceptions as ksa_exceptions
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from novajoin import exceptions
from novajoin import models
from novajoin.ca import base as ca_base
from novajoin.clients import keystone
from novajoin.cmd import assembly
from novajoin.cmd import configuration
from novajoin.cmd import nova_conf
from novajoin.conf import api as conf_api
from novajoin.db import migration
from novajoin.db import outbox
from novajoin.keys import authorities
from novajoin.keys import repository
from novajoin.notify import listener

Code = upgradecheck.Code
Result = upgradecheck.Result

_DESCRIPTION: Final = (
    'Tell whether this installation of novajoin fits together and is ready '
    'for an upgrade. Nothing is changed.'
)
_AT_START: Final = 'It is made at the first start.'
_NOVA_CONF: Final = pathlib.Path('/etc/nova/nova.conf')

OPTIONS: Final = (
    cfg.MultiStrOpt(
        'nova-conf',
        default=[],
        metavar='PATH',
        help='A nova.conf to look at: that of the metadata API or of a '
        'compute. May be given more than once, as nova itself is started '
        'with several files; a later one wins. Default: %s, if it is there.'
        % _NOVA_CONF,
    ),
)

#: So many pieces of failed work are named.
_SHOWN: Final = 5


class Checks(upgradecheck.UpgradeCommands):
    """What is looked at, in this order.

    :param conf: all options; read when the checks are run
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__()
        self._conf = conf
        self._parts = assembly.Assembly(conf)

    def _get_details(self, upgrade_check_result: Result) -> str | None:
        """Keep apart what is on lines of its own."""
        if upgrade_check_result.details is None:
            return None
        return '\n'.join(
            textwrap.fill(line, 60, subsequent_indent='  ')
            for line in upgrade_check_result.details.splitlines()
        )

    def check_configuration(self) -> Result:
        """The options fit together, and every plugin takes its own."""
        conf_api.validate(self._conf)
        listener.find_url(self._conf)
        for part in ('naming', 'identity', 'ca', 'renderer', 'checkin_urls'):
            getattr(self._parts, part)
        if self._conf.api.auth_strategy == 'noauth':
            return Result(
                Code.WARNING,
                '[api] auth_strategy is noauth: whoever reaches the API is '
                'believed to be nova. This is for trying novajoin out.',
            )
        return Result(Code.SUCCESS)

    @functools.cached_property
    def _is_new(self) -> bool:
        """Whether the embedded database is still to be made."""
        path = self._parts.database.path
        return path is not None and not path.exists()

    def check_database(self) -> Result:
        """The schema is the one of this release."""
        if self._is_new:
            return Result(Code.SUCCESS, _AT_START)
        database = self._parts.database
        version = migration.find_version(database)
        head = migration.get_head()
        if version == head:
            return Result(Code.SUCCESS)
        if database.is_embedded:
            return Result(Code.SUCCESS, 'It is upgraded at the next start.')
        return Result(
            Code.FAILURE,
            'The database is %s and this release needs %s: run '
            '"novajoin-manage db sync" before any process is started.'
            % ('at ' + version if version else 'empty', head),
        )

    def check_keys(self) -> Result:
        """The key repository is there, complete and private."""
        if self._is_new:
            return Result(Code.SUCCESS, _AT_START)
        self._parts.keys.check(repository.CREDENTIAL)
        return Result(Code.SUCCESS)

    def check_ca(self) -> Result:
        """The CA backend can issue, and its CRLs are not about to run out."""
        if self._conf.ca.backend == 'embedded' and not any(
            self._parts.keys.authorities.list(kind)
            for kind in authorities.KINDS
        ):
            # To ask it would make it, with this account's files.
            return Result(Code.SUCCESS, _AT_START)
        ca = self._parts.ca
        ca.check()
        if isinstance(ca, ca_base.CrlPublisher):
            faults = ca.list_crl_faults(self._parts.clock())
            if faults:
                return Result(Code.WARNING, '\n'.join(faults))
        return Result(Code.SUCCESS)

    def check_account(self) -> Result:
        """Novajoin's account may ask nova and glance about everything."""
        session = self._parts.session
        if session is None:
            return Result(
                Code.WARNING,
                'There is no account in [service_credentials]: nova is not '
                'asked about anything.',
            )
        try:
            with keystone.limit_time(self._conf.nova.timeout):
                roles = keystone.find_roles(session)
        except ksa_exceptions.ClientException as error:
            return Result(
                Code.FAILURE,
                'keystone gives the account of [service_credentials] no '
                'token: %s' % error,
            )
        missing = {'admin', 'service'} - (roles or set())
        if roles is not None and 'admin' in missing:
            return Result(
                Code.FAILURE,
                'The account of [service_credentials] lacks the role admin, '
                'without which nova and glance hide what belongs to other '
                'projects.',
            )
        self._parts.compute.check()
        self._parts.images.check()
        return Result(Code.SUCCESS)

    def check_notifications(self) -> Result:
        """There is somewhere to listen."""
        if listener.find_url(self._conf) is not None:
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            'There is no transport_url: what nova deletes is noticed by the '
            'sweep only, every %g s ([notify] sweep_interval).'
            % self._conf.notify.sweep_interval,
        )

    def check_outbox(self) -> Result:
        """Nothing waits for an operator."""
        database = self._parts.database
        if self._is_new or migration.find_version(database) is None:
            return Result(Code.SUCCESS)
        dead = database.read(outbox.count_by_state).get(
            models.RowState.DEAD, 0
        )
        if not dead:
            return Result(Code.SUCCESS)
        rows = database.read(lambda tx: outbox.list_dead(tx, limit=_SHOWN))
        return Result(
            Code.WARNING,
            '%d pieces of work have failed for good; POST '
            '/v1/enrollments/INSTANCE/retry tries again. The oldest: %s'
            % (
                dead,
                '; '.join(
                    '%s of %s: %s'
                    % (row.operation, row.instance, row.last_error)
                    for row in rows
                ),
            ),
        )

    def check_nova(self) -> Result:
        """A nova.conf asks novajoin and tells it (NJ5)."""
        paths = [pathlib.Path(path) for path in self._conf.nova_conf]
        if not paths:
            if not _NOVA_CONF.exists():
                return Result(
                    Code.SUCCESS,
                    'There is no nova on this machine; run this with '
                    '--nova-conf where there is.',
                )
            paths = [_NOVA_CONF]
        api = self._conf.api
        conf = nova_conf.read(paths)
        faults = nova_conf.list_faults(
            conf,
            nova_conf.Expectation(
                budget=api.budget,
                is_noauth=api.auth_strategy == 'noauth',
                has_user_ids=bool(api.vendordata_user_ids),
                topics=frozenset(self._conf.notify.topics),
                exchanges=frozenset(self._conf.notify.exchanges),
            ),
        )
        faults += nova_conf.list_deaf_targets(conf)
        if not faults:
            return Result(Code.SUCCESS)
        is_wrong = faults[0].severity is nova_conf.Severity.WRONG
        return Result(
            Code.FAILURE if is_wrong else Code.WARNING,
            '\n'.join('%s.' % fault for fault in faults),
        )

    @staticmethod
    def _guard(
        check: Callable[['Checks'], Result],
    ) -> Callable[['Checks'], Result]:
        """Make a failure of what our own error says."""

        def run(self: 'Checks') -> Result:
            try:
                return check(self)
            except exceptions.NovajoinError as error:
                return Result(Code.FAILURE, error.cause)

        return run

    _upgrade_checks = (
        ('Configuration', _guard(check_configuration)),
        ('Database', _guard(check_database)),
        ('Keys', _guard(check_keys)),
        ('Certificate authority', _guard(check_ca)),
        ('Account in keystone', _guard(check_account)),
        ('Notifications', _guard(check_notifications)),
        ('Outbox', _guard(check_outbox)),
        ('nova.conf', _guard(check_nova)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks.

    :param arguments: without the program's name; the default is argv's
    :returns: the exit status: 0, 1 or 2, the worst of the results, or 255
    """
    conf = configuration.make_conf(_DESCRIPTION)
    conf.register_cli_opts(OPTIONS)
    upgradecheck.register_cli_options(conf, Checks(conf))
    try:
        configuration.read(
            conf, sys.argv[1:] if arguments is None else arguments
        )
    except exceptions.ConfigurationError as error:
        print('novajoin-status: %s' % error, file=sys.stderr)
        return Code.FAILURE
    configuration.set_up_log(conf)
    # Where oslo.upgradecheck looks for --json.
    upgradecheck.CONF = conf
    with configuration.hush_database(conf):
        return upgradecheck.run(conf)


if __name__ == '__main__':
    sys.exit(main())
