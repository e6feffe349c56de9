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
"""Look at a nova.conf: would this nova ask novajoin, and tell it?

What is looked at is what nova (nova/conf/api.py, vendordata.py,
notifications.py) and oslo.messaging read, with their defaults.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import enum
import json
import pathlib
import socket
from typing import Any
from typing import Final
from urllib import parse

from keystoneauth1 import loading
from oslo_config import cfg

from novajoin import exceptions

_AUTH: Final = 'vendordata_dynamic_auth'
_MESSAGING: Final = 'oslo_messaging_notifications'
_TARGET: Final = 'join'
_LOOPBACK: Final = frozenset({'localhost', '127.0.0.1', '::1'})

#: Seconds for a connection on the same machine.
_PATIENCE: Final = 2

#: A read time-out below this leaves nothing for a busy moment, in seconds.
_READ_TIMEOUT: Final = 30

_API_OPTIONS: Final = (
    cfg.ListOpt('vendordata_providers', default=['StaticJSON']),
    cfg.ListOpt('vendordata_dynamic_targets', default=[]),
    cfg.StrOpt('vendordata_dynamic_ssl_certfile', default=''),
    cfg.IntOpt('vendordata_dynamic_connect_timeout', default=5),
    cfg.IntOpt('vendordata_dynamic_read_timeout', default=5),
    cfg.BoolOpt('vendordata_dynamic_failure_fatal', default=False),
    cfg.StrOpt('vendordata_jsonfile_path'),
)
_NOTIFICATIONS_OPTIONS: Final = (
    cfg.StrOpt('notification_format', default='unversioned'),
    cfg.ListOpt(
        'versioned_notifications_topics', default=['versioned_notifications']
    ),
)
_MESSAGING_OPTIONS: Final = (
    cfg.MultiStrOpt('driver', default=[]),
    cfg.ListOpt('topics', default=['notifications']),
)
_DEFAULT_OPTIONS: Final = (
    # nova sets it so, where oslo.messaging has ``openstack``.
    cfg.StrOpt('control_exchange', default='nova'),
)


class Severity(enum.IntEnum):
    """How bad it is.

    ``WRONG``: instances get no identity. ``POOR``: they do, and something
    else is amiss.
    """

    POOR = 1
    WRONG = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """What is missing or wrong in a nova.conf.

    :ivar option: for instance ``[api] vendordata_providers``
    :ivar message: what is wrong and what to set
    """

    severity: Severity
    option: str
    message: str

    def __str__(self) -> str:
        return '%s: %s' % (self.option, self.message)


@dataclasses.dataclass(frozen=True, slots=True)
class Expectation:
    """What novajoin's own configuration asks of nova's.

    :ivar budget: seconds within which novajoin answers
    :ivar is_noauth: whether novajoin takes posts without a token
    :ivar has_user_ids: whether novajoin names the users that may post
    :ivar topics: the topics on which novajoin listens
    :ivar exchanges: the exchanges on which novajoin listens
    """

    budget: float
    is_noauth: bool
    has_user_ids: bool
    topics: frozenset[str]
    exchanges: frozenset[str]


def read(paths: Sequence[pathlib.Path]) -> cfg.ConfigOpts:
    """Read nova's configuration files, a later one wins.

    :raises ConfigurationError: one cannot be read or is no such file
    """
    conf = cfg.ConfigOpts()
    conf.register_opts(_DEFAULT_OPTIONS)
    conf.register_opts(_API_OPTIONS, group='api')
    # Nova does not read these any more: to tell that they are in vain.
    conf.register_opts([cfg.StrOpt(each.name) for each in _API_OPTIONS])
    conf.register_opts(_NOTIFICATIONS_OPTIONS, group='notifications')
    conf.register_opts(_MESSAGING_OPTIONS, group=_MESSAGING)
    loading.register_auth_conf_options(conf, _AUTH)
    arguments = [
        word for path in paths for word in ('--config-file', str(path))
    ]
    name = ', '.join(str(path) for path in paths)
    try:
        conf(arguments, default_config_files=[], default_config_dirs=[])
        for group, option in _list_all():
            (conf[group] if group else conf)[option.dest]
    except cfg.ConfigFilesNotFoundError as error:
        raise exceptions.ConfigurationError(
            name, 'there is no such file, or it may not be read'
        ) from error
    except (cfg.Error, ValueError, OSError) as error:
        raise exceptions.ConfigurationError(name, str(error)) from error
    return conf


def _list_all() -> Iterator[tuple[str | None, cfg.Opt]]:
    for group, options in (
        (None, _DEFAULT_OPTIONS),
        ('api', _API_OPTIONS),
        ('notifications', _NOTIFICATIONS_OPTIONS),
        (_MESSAGING, _MESSAGING_OPTIONS),
    ):
        for option in options:
            yield group, option


def list_faults(conf: cfg.ConfigOpts, expected: Expectation) -> list[Fault]:
    """Return what is missing or wrong.

    :param conf: what :func:`read` returned
    :returns: the worst first
    """
    faults = [
        *_check_old_names(conf),
        *_check_providers(conf.api),
        *_check_targets(conf.api),
        *_check_time(conf.api, expected),
        *_check_failure(conf),
        *_check_account(conf, expected),
        *_check_notifications(conf, expected),
    ]
    return sorted(faults, key=lambda fault: -fault.severity)


def list_deaf_targets(conf: cfg.ConfigOpts) -> list[Fault]:
    """Connect to the targets on this machine; return those where none listens.

    :param conf: what :func:`read` returned
    """
    faults = []
    for target in conf.api.vendordata_dynamic_targets:
        parts = parse.urlsplit(target.partition('@')[2])
        if parts.hostname not in _LOOPBACK:
            continue
        try:
            port = parts.port or (443 if parts.scheme == 'https' else 80)
            socket.create_connection((parts.hostname, port), _PATIENCE).close()
        except (OSError, ValueError):
            faults.append(
                Fault(
                    Severity.POOR,
                    '[api] vendordata_dynamic_targets',
                    'nobody listens at %s on this machine; where this is '
                    "nova's configuration, run a novajoin-server here or set "
                    'the address of one' % parts.geturl(),
                )
            )
    return faults


def _is_set(conf: cfg.ConfigOpts, name: str, group: str | None) -> bool:
    location = conf.get_location(name, group)
    return (
        location is not None
        and location.location is not cfg.Locations.opt_default
    )


def _check_old_names(conf: cfg.ConfigOpts) -> Iterator[Fault]:
    for option in _API_OPTIONS:
        if _is_set(conf, option.dest, None):
            yield Fault(
                Severity.POOR,
                '[DEFAULT] %s' % option.name,
                'nova does not read it there any more; move it to [api]',
            )


def _check_providers(api: Any) -> Iterator[Fault]:
    option = '[api] vendordata_providers'
    if 'DynamicJSON' not in api.vendordata_providers:
        yield Fault(
            Severity.WRONG,
            option,
            'nova asks nobody; set it to StaticJSON,DynamicJSON',
        )
    if 'StaticJSON' not in api.vendordata_providers:
        yield Fault(
            Severity.POOR,
            option,
            'the guest client is not handed out; set it to '
            'StaticJSON,DynamicJSON, unless it is in your images',
        )
        return
    option = '[api] vendordata_jsonfile_path'
    if not api.vendordata_jsonfile_path:
        yield Fault(
            Severity.POOR,
            option,
            'the guest client is not handed out; name the file with it, '
            'unless it is in your images',
        )
        return
    path = pathlib.Path(api.vendordata_jsonfile_path)
    try:
        json.loads(path.read_text())
    except OSError as error:
        yield Fault(
            Severity.POOR,
            option,
            'the file cannot be read: %s' % (error.strerror or error),
        )
    except ValueError:
        yield Fault(
            Severity.POOR,
            option,
            'the file is not JSON: nova ignores it, and the guest client is '
            'not handed out',
        )


def _check_targets(api: Any) -> Iterator[Fault]:
    option = '[api] vendordata_dynamic_targets'
    targets = [
        target.partition('@')[::2] for target in api.vendordata_dynamic_targets
    ]
    urls = [url for name, url in targets if name == _TARGET]
    if not urls:
        yield Fault(
            Severity.WRONG,
            option,
            'there is no target with the name %s; set it to '
            '%s@http://127.0.0.1:9999/v1/ or to where novajoin-server is'
            % (_TARGET, _TARGET),
        )
    if len(urls) > 1:
        yield Fault(
            Severity.WRONG,
            option,
            'there are %d targets with the name %s, of which nova asks one '
            'only' % (len(urls), _TARGET),
        )
    for url in urls:
        yield from _check_url(api, option, url)


def _check_url(api: Any, option: str, url: str) -> Iterator[Fault]:
    parts = parse.urlsplit(url)
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        yield Fault(Severity.WRONG, option, '%s is not a URL' % url)
        return
    if parts.path.rstrip('/').rpartition('/')[2] != 'v1':
        yield Fault(
            Severity.WRONG,
            option,
            '%s does not end in /v1/, where novajoin-server takes posts' % url,
        )
    elif not parts.path.endswith('/'):
        yield Fault(
            Severity.POOR,
            option,
            'the URL of the resource has a slash at its end: %s/' % url,
        )
    if parts.scheme == 'http' and parts.hostname not in _LOOPBACK:
        yield Fault(
            Severity.POOR,
            option,
            'join tokens cross the network unencrypted; use https, or a '
            'novajoin-server on this machine',
        )
    certificates = api.vendordata_dynamic_ssl_certfile
    if certificates and not pathlib.Path(certificates).exists():
        yield Fault(
            Severity.WRONG,
            '[api] vendordata_dynamic_ssl_certfile',
            'there is no file %s' % certificates,
        )


def _check_time(api: Any, expected: Expectation) -> Iterator[Fault]:
    option = '[api] vendordata_dynamic_read_timeout'
    seconds = api.vendordata_dynamic_read_timeout
    if seconds <= expected.budget:
        yield Fault(
            Severity.WRONG,
            option,
            'nova waits for %d s, and novajoin answers within %g s ([api] '
            'budget of join.conf): nova would give up first; set it to %d'
            % (seconds, expected.budget, _READ_TIMEOUT),
        )
    elif seconds < _READ_TIMEOUT:
        yield Fault(
            Severity.POOR,
            option,
            'nova waits for %d s only; set it to %d, so that a busy moment '
            'does not leave an instance without its identity'
            % (seconds, _READ_TIMEOUT),
        )
    if api.vendordata_dynamic_connect_timeout < 3:
        yield Fault(
            Severity.POOR,
            '[api] vendordata_dynamic_connect_timeout',
            'nova takes no less than 3 s; set it to 5',
        )


def _check_failure(conf: cfg.ConfigOpts) -> Iterator[Fault]:
    if not _is_set(conf, 'vendordata_dynamic_failure_fatal', 'api'):
        yield Fault(
            Severity.POOR,
            '[api] vendordata_dynamic_failure_fatal',
            'it is not set, so that an instance boots without an identity '
            'when novajoin cannot be asked, and nobody is told; set it to '
            'true to have nova fail the build instead, or to false if this '
            'is what you want',
        )


def _check_account(
    conf: cfg.ConfigOpts, expected: Expectation
) -> Iterator[Fault]:
    if expected.is_noauth:
        return
    if not conf[_AUTH].auth_type:
        yield Fault(
            Severity.WRONG,
            '[%s] auth_type' % _AUTH,
            'nova posts without a token, which novajoin refuses; give it the '
            'account of nova, as in [keystone_authtoken]',
        )
        return
    try:
        auth = loading.load_auth_from_conf_options(conf, _AUTH)
    except Exception as error:  # noqa: BLE001 - a plugin's own ways to refuse
        yield Fault(
            Severity.WRONG,
            '[%s]' % _AUTH,
            'nova cannot get a token with it: %s' % error,
        )
        return
    user = getattr(auth, '_username', None)
    if user not in (None, 'nova') and not expected.has_user_ids:
        yield Fault(
            Severity.WRONG,
            '[%s] username' % _AUTH,
            'novajoin takes posts of the user nova of the domain default '
            'only; put the id of %s into [api] vendordata_user_ids of '
            'join.conf' % user,
        )


def _check_notifications(
    conf: cfg.ConfigOpts, expected: Expectation
) -> Iterator[Fault]:
    messaging = conf[_MESSAGING]
    if not {'messaging', 'messagingv2'} & set(messaging.driver):
        yield Fault(
            Severity.POOR,
            '[%s] driver' % _MESSAGING,
            'nova does not notify: what it deletes is noticed by the sweep '
            'only; set it to messagingv2',
        )
        return
    notifications = conf.notifications
    topics: set[str] = set()
    if notifications.notification_format in ('unversioned', 'both'):
        topics.update(messaging.topics)
    if notifications.notification_format in ('versioned', 'both'):
        topics.update(notifications.versioned_notifications_topics)
    if not topics & expected.topics:
        yield Fault(
            Severity.POOR,
            '[notifications] notification_format',
            'nova notifies on %s, and novajoin listens on %s ([notify] '
            'topics of join.conf)'
            % (
                ', '.join(sorted(topics)) or 'no topic',
                ', '.join(sorted(expected.topics)),
            ),
        )
    if conf.control_exchange not in expected.exchanges:
        yield Fault(
            Severity.POOR,
            '[DEFAULT] control_exchange',
            'nova notifies on the exchange %s, and novajoin listens on %s '
            '([notify] exchanges of join.conf)'
            % (conf.control_exchange, ', '.join(sorted(expected.exchanges))),
        )
