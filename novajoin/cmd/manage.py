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
"""``novajoin-manage``: what an operator does on a machine of the service."""

import argparse
from collections.abc import Callable
import datetime
import sys
import uuid

from oslo_config import cfg
import prettytable

from novajoin import exceptions
from novajoin.bootstrap import vendordata_part
from novajoin.ca import base as ca_base
from novajoin.ca import embedded as ca_embedded
from novajoin.cmd import assembly as parts
from novajoin.cmd import configuration
from novajoin.db import certificates
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import events
from novajoin.db import migration
from novajoin.db import outbox
from novajoin.db import processes
from novajoin.db import service_certificates
from novajoin.db import stores
from novajoin.keys import authorities
from novajoin.keys import repository

_DESCRIPTION = 'Look after the database and the keys of novajoin.'
#: Seconds within which a process must have been seen to count.
_SEEN = 120
#: So many periods of the CRL a certificate row outlives its certificate.
_CRL_PERIODS = 2
#: A century: no row is older, and every clock can be set back by it.
_MOST_DAYS = 36500

Command = Callable[[parts.Assembly, argparse.Namespace], None]


def db_sync(assembly: parts.Assembly, arguments: argparse.Namespace) -> None:
    """Bring the database to the schema of this release."""
    before = migration.find_version(assembly.database)
    after = migration.sync(assembly.database)
    if before == after:
        print('The database is at %s already.' % after)
    else:
        print(
            'The database was %s and is at %s.'
            % ('at %s' % before if before else 'empty', after)
        )


def db_version(
    assembly: parts.Assembly, arguments: argparse.Namespace
) -> None:
    """Show the schema that the database has and the one that is needed."""
    version = migration.find_version(assembly.database)
    print('database: %s' % (version or 'empty'))
    print('release:  %s' % migration.get_head())


def db_purge(assembly: parts.Assembly, arguments: argparse.Namespace) -> None:
    """Drop rows that are of no use any more."""
    now = assembly.clock()
    before = now - datetime.timedelta(days=arguments.days)
    crl_lifetime = assembly.conf.ca_embedded.crl_lifetime
    unlisted = now - _CRL_PERIODS * datetime.timedelta(seconds=crl_lifetime)

    def purge(tx: engine.Transaction) -> dict[str, int]:
        return {
            'finished work': outbox.purge(tx, before),
            'events': events.purge(tx, before),
            'expired certificates': certificates.purge(
                tx, min(before, unlisted)
            ),
            'requests for service certificates': (
                service_certificates.purge(tx, min(before, unlisted))
            ),
            'processes': processes.purge(tx, before),
        }

    for what, count in assembly.database.write(purge).items():
        print('%s: %d' % (what, count))


def _read_days(text: str) -> int:
    """Return an age in days, at least one: running processes reported within
    less, and a rotation counts on what they said.

    :raises argparse.ArgumentTypeError: it is no number, or out of bounds
    """
    try:
        days = int(text)
    except ValueError:
        days = 0
    if not 1 <= days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(
            '%s is not a number from 1 to %d' % (ascii(text[:40]), _MOST_DAYS)
        )
    return days


def keys_setup(
    assembly: parts.Assembly, arguments: argparse.Namespace
) -> None:
    """Make the keys that are missing."""
    assembly.keys.setup(repository.CREDENTIAL)
    assembly.ca.get_chain()
    if isinstance(assembly.ca, ca_base.CrlPublisher):
        # The root's key may be taken away before novajoin-notify sees it.
        assembly.ca.publish_other_crls(assembly.clock())
    print('The key repository %s is set up.' % assembly.keys.directory)
    _print_keys(assembly)


def keys_list(assembly: parts.Assembly, arguments: argparse.Namespace) -> None:
    """Show the keys by id, never their contents."""
    _print_keys(assembly)


def _print_keys(assembly: parts.Assembly) -> None:
    table = prettytable.PrettyTable(['kind', 'key id', 'state', 'made at'])
    table.align = 'l'
    for entry in assembly.keys.list(repository.CREDENTIAL):
        table.add_row(
            [
                entry.kind,
                entry.id,
                entry.state.value,
                entry.created_at.isoformat(timespec='seconds'),
            ]
        )
    for kind in sorted(authorities.KINDS):
        for authority in assembly.keys.authorities.list(kind):
            table.add_row(
                [
                    kind,
                    authority.id,
                    authority.state.value
                    + ('' if authority.has_key else ', key elsewhere'),
                    authority.created_at.isoformat(timespec='seconds'),
                ]
            )
    for row in _list_checkin_keys(assembly):
        table.add_row(row)
    print(table)


def _list_checkin_keys(assembly: parts.Assembly) -> list[list[str]]:
    """Return what the database knows of the keys of check-in processes."""
    database = assembly.database
    try:
        if database.path is not None and not database.path.exists():
            return []
        if migration.find_version(database) is None:
            return []
        found = assembly.service_certificates.list_valid()
    except exceptions.DatabaseUnavailable as error:
        print(
            'Without the keys of check-in: %s' % error.cause, file=sys.stderr
        )
        return []
    return [
        [
            'checkin',
            row.key_id or '',
            '%s, on %s'
            % ('revoked' if row.revoked_at else 'issued', row.host),
            row.created_at.isoformat(timespec='seconds'),
        ]
        for row in found
    ]


def keys_rotate(
    assembly: parts.Assembly, arguments: argparse.Namespace
) -> None:
    """Promote the staged key of a kind and stage a new one.

    Done again while the processes have not had the time to report what is
    staged, it does nothing. Later it fails: the key does not get to a host.
    """
    now = assembly.clock()
    since = now - datetime.timedelta(seconds=_SEEN)
    kind = arguments.kind
    try:
        rotation = _rotate(assembly, kind, now, since)
    except exceptions.Conflict as exc:
        if not _has_staged_since(assembly, kind, since):
            raise
        print('promoted: none')
        print(exc.message)
        return
    print('promoted: %s' % (rotation.promoted or 'none; rotate again later'))
    print('staged:   %s' % (rotation.staged or 'none'))
    for key_id in rotation.removed:
        print('removed:  %s' % key_id)
    for key_id in rotation.kept:
        print('kept:     %s' % key_id)


def _rotate(
    assembly: parts.Assembly,
    kind: str,
    now: datetime.datetime,
    since: datetime.datetime,
) -> repository.Rotation:
    reported = assembly.database.read(
        lambda tx: processes.list_keys(tx, kind, since)
    )
    if kind == repository.CREDENTIAL:
        return assembly.keys.rotate(
            kind,
            reported=reported,
            in_use=assembly.database.read(enrollments.list_key_ids),
        )
    return _get_embedded_ca(assembly).rotate(
        kind,
        reported=reported,
        in_use=assembly.database.read(
            lambda tx: (
                certificates.list_issuers(tx, now)
                | service_certificates.list_issuers(tx, now)
            )
        ),
    )


def _has_staged_since(
    assembly: parts.Assembly, kind: str, since: datetime.datetime
) -> bool:
    """Tell whether the staged key of a kind was made after a time."""
    if kind == repository.CREDENTIAL:
        return any(
            entry.created_at > since
            for entry in assembly.keys.list(kind)
            if entry.state is repository.KeyState.STAGED
        )
    return any(
        authority.created_at > since
        for authority in assembly.keys.authorities.list(kind)
        if authority.state is authorities.AuthorityState.STAGED
    )


def _get_embedded_ca(assembly: parts.Assembly) -> ca_embedded.EmbeddedCA:
    """Return the CA without validating it: a rotation is what mends one
    that does not fit the zones or the check-in URLs any more.

    :raises ConfigurationError: another one is configured
    """
    if assembly.conf.ca.backend != 'embedded':
        raise exceptions.ConfigurationError(
            '[ca] backend', 'only the embedded CA is rotated here.'
        )
    return ca_embedded.EmbeddedCA(
        assembly.conf.ca_embedded,
        ca_embedded.make_store(
            stores.CAStore(assembly.database),
            assembly.keys,
            assembly.constraints,
        ),
        clock=assembly.clock,
    )


def keys_compromise(
    assembly: parts.Assembly, arguments: argparse.Namespace
) -> None:
    """Stop using a key, and make what hangs on it useless.

    A key that credentials are derived from, that of an intermediate of the
    embedded CA, or that of a check-in process.
    """
    key_id = arguments.key_id
    kind = assembly.keys.authorities.find_kind(key_id)
    if kind is not None:
        _compromise_authority(assembly, kind, key_id)
        return
    request_id = 'req-%s' % uuid.uuid4()
    hosts = assembly.service_certificates.compromise(key_id, request_id)
    if hosts:
        print(
            'The certificate of the check-in service on %s is revoked; it '
            'gets another one by itself.' % ', '.join(hosts)
        )
        return
    _compromise_credential(assembly, key_id, request_id)


def _compromise_authority(
    assembly: parts.Assembly, kind: str, authority_id: str
) -> None:
    active = _get_embedded_ca(assembly).compromise(kind, authority_id)
    print(
        "The CA %s (%s) is on the root's CRL, and %s issues from now on. "
        'Copy the key repository to the other hosts at once: until then '
        'they issue nothing. What the old one issued is to be replaced.'
        % (authority_id, kind, active)
    )


def _compromise_credential(
    assembly: parts.Assembly, key_id: str, request_id: str
) -> None:
    try:
        assembly.keys.retire(repository.CREDENTIAL, key_id)
    except exceptions.KeyUnavailable as exc:
        raise exceptions.KeyUnavailable(
            'No key of any kind has the id %s, neither in the key repository '
            'nor of a check-in process; "novajoin-manage keys list" shows '
            'those that there are.' % key_id
        ) from exc
    dead = assembly.operations.compromise(key_id, request_id)
    print(
        'The key %s is used for nothing new. %d open credentials are dead; '
        'a config drive that carries one is dead with it:'
        % (key_id, len(dead))
    )
    for instance in dead:
        print('  %s' % instance)


def reconcile(assembly: parts.Assembly, arguments: argparse.Namespace) -> None:
    """Compare every living enrollment with nova and show what differs.

    novajoin-notify then asks nova for each of them before anything ends.
    """
    if assembly.compute.is_null:
        raise exceptions.ConfigurationError(
            '[service_credentials] auth_url',
            'there is no nova to compare with; set the account to ask with',
        )
    reconciliation = assembly.reconciliation
    if arguments.dry_run:
        result = reconciliation.compare()
    else:
        result = reconciliation.sweep('req-%s' % uuid.uuid4())
    table = prettytable.PrettyTable(['instance', 'hostname', 'state', 'nova'])
    table.align = 'l'
    for difference in result.missing + result.changed:
        table.add_row(
            [
                difference.instance,
                difference.hostname,
                difference.state.value,
                difference.status or 'not on the list',
            ]
        )
    if result.missing or result.changed:
        print(table)
    print(
        '%d enrollments compared: %d are not on the list, %d have changed'
        % (result.compared, len(result.missing), len(result.changed))
    )
    if result.is_braked:
        raise exceptions.Conflict(
            'too many are not on the list, and nothing is done. Look at nova '
            'and [nova] region_name, or raise [notify] sweep_most_missing '
            'and sweep_most_missing_share.'
        )


def guest_vendordata(
    assembly: parts.Assembly, arguments: argparse.Namespace
) -> None:
    """Print the document for nova's ``vendordata_jsonfile_path``."""
    sys.stdout.write(vendordata_part.render())


def _add_command(
    subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]',
    name: str,
    function: Command,
) -> argparse.ArgumentParser:
    text = (function.__doc__ or '').strip()
    parser = subparsers.add_parser(name, help=text, description=text)
    parser.set_defaults(function=function)
    return parser


def _add_commands(
    subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]',
) -> None:
    database = subparsers.add_parser(
        'db', help='the database', description='The database.'
    ).add_subparsers(dest='command', required=True)
    _add_command(database, 'sync', db_sync)
    _add_command(database, 'version', db_version)
    purge = _add_command(database, 'purge', db_purge)
    purge.add_argument(
        '--days',
        type=_read_days,
        default=90,
        help='how old rows must be, in days, 1 at least '
        '(default: %(default)s)',
    )
    keys = subparsers.add_parser(
        'keys', help='the key repository', description='The key repository.'
    ).add_subparsers(dest='command', required=True)
    _add_command(keys, 'setup', keys_setup)
    _add_command(keys, 'list', keys_list)
    rotate = _add_command(keys, 'rotate', keys_rotate)
    rotate.add_argument(
        'kind',
        nargs='?',
        default=repository.CREDENTIAL,
        choices=[
            repository.CREDENTIAL,
            authorities.INSTANCE,
            authorities.SERVICE,
        ],
        help='what to rotate: the key that credentials are derived from, or '
        'an intermediate of the embedded CA (default: %(default)s)',
    )
    compromise = _add_command(keys, 'compromise', keys_compromise)
    compromise.add_argument('key_id', help='16 hex digits, see "keys list"')
    _add_command(subparsers, 'reconcile', reconcile).add_argument(
        '--dry-run', action='store_true', help='show, and do nothing'
    )
    guest = subparsers.add_parser(
        'guest',
        help="the instances' side",
        description="The instances' side.",
    ).add_subparsers(dest='command', required=True)
    _add_command(guest, 'vendordata', guest_vendordata)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    :param arguments: without the program's name; the default is argv's
    :returns: the exit status: 0, or 1 with one line on stderr
    """
    conf = configuration.make_conf(_DESCRIPTION)
    conf.register_cli_opt(
        cfg.SubCommandOpt(
            'topic',
            title='Commands',
            help='what to work on; "novajoin-manage <topic> --help" tells '
            'more',
            handler=_add_commands,
        )
    )
    try:
        configuration.read(
            conf, sys.argv[1:] if arguments is None else arguments
        )
        configuration.set_up_log(conf)
        with configuration.hush_database(conf):
            conf.topic.function(parts.Assembly(conf), conf.topic)
    except exceptions.NovajoinError as exc:
        print('novajoin-manage: %s' % exc.cause, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
