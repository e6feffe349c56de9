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
"""``[api]``: the control plane, which nova and operators talk to."""

import copy
import ipaddress

from oslo_config import cfg

from novajoin import exceptions

GROUP = cfg.OptGroup(
    'api',
    title='The control plane',
    help="""
``novajoin-server`` answers nova's dynamic vendordata and the REST API of the
operators. Nothing but nova and operators has to reach it.
""",
)

OPTIONS = [
    cfg.HostAddressOpt(
        'listen',
        default='127.0.0.1',
        deprecated_group='DEFAULT',
        deprecated_name='join_listen',
        help="""
The address to listen on. The default is right when nova's API and metadata
services run on this machine. Any other than a loopback address needs
``tls_certificate``, or ``insecure_http`` behind something that ends TLS, and
is refused with ``auth_strategy = noauth``.
""",
    ),
    cfg.PortOpt(
        'port',
        default=9999,
        min=0,
        deprecated_group='DEFAULT',
        deprecated_name='join_listen_port',
        help="""
The TCP port to listen on; nova's ``[api] vendordata_dynamic_targets`` names
it. novajoin 1.3.0 listened on 9090 unless told otherwise. 0 takes a free one
and writes it to the log.
""",
    ),
    cfg.StrOpt(
        'auth_strategy',
        default='keystone',
        choices=[
            (
                'keystone',
                'Tokens are checked as ``[keystone_authtoken]`` says.',
            ),
            (
                'noauth',
                'Everybody who can connect is an administrator. For trying '
                'novajoin out on one machine; refuses to listen on anything '
                'but a loopback address.',
            ),
        ],
        deprecated_group='DEFAULT',
        deprecated_name='auth_strategy',
        help="""
How callers are known.
""",
    ),
    cfg.StrOpt(
        'tls_certificate',
        help="""
File with the server's certificate and its intermediates, PEM. Set it, with
``tls_key``, when nova is on another machine. The files are read again when
they change.
""",
    ),
    cfg.StrOpt(
        'tls_key',
        help="""
File with the private key of ``tls_certificate``, PEM, without a passphrase.
""",
    ),
    cfg.BoolOpt(
        'insecure_http',
        default=False,
        help="""
Whether plain HTTP is spoken on an address that others can reach. The answers
to nova hold the credentials of instances: set it only where a proxy on the
same machine, or a network that nobody else is in, protects them.
""",
    ),
    cfg.ListOpt(
        'vendordata_user_ids',
        default=[],
        help="""
The keystone user ids that may post instances, beside having the role
``service``: the user in ``[vendordata_dynamic_auth]`` of nova. Empty: the user
``nova`` of the keystone domain whose id is ``default``. Set it when nova's
account is called otherwise, or when more than one account has that role.
""",
    ),
    cfg.FloatOpt(
        'budget',
        default=2.0,
        min=0.2,
        max=30.0,
        help="""
Within how many seconds nova is answered, whatever glance, nova's own API or
the identity backend do. Keep it below nova's
``[api] vendordata_dynamic_read_timeout``, which is 5 s unless it was changed.
""",
    ),
    cfg.IntOpt(
        'max_waiting',
        min=0,
        sample_default='<half of threads>',
        help="""
How many requests of one worker may wait for the identity backend's verdict at
the same time, so that nova can be told about a refusal. Those above it are
answered at once and their hosts are made from the outbox. 0: nobody waits.
Default: half of ``threads``.
""",
    ),
    cfg.IntOpt(
        'workers',
        min=1,
        max=64,
        sample_default='<number of CPUs, at most 4>',
        help="""
How many worker processes serve. nova posts once for each read of an instance's
metadata, so raise it where many instances poll it. Default: the number of
CPUs, at most 4.
""",
    ),
    cfg.IntOpt(
        'threads',
        default=16,
        min=1,
        max=256,
        help="""
How many requests a worker serves at the same time. Raise it when many wait for
a slow identity backend.
""",
    ),
    cfg.IntOpt(
        'connections',
        default=1000,
        min=1,
        help="""
How many connections a worker keeps open. Those that are idle cost memory and
no thread.
""",
    ),
    cfg.FloatOpt(
        'client_timeout',
        default=10.0,
        min=0.5,
        help="""
Within how many seconds a client has to finish the TLS handshake and to send
the head of its request.
""",
    ),
    cfg.FloatOpt(
        'request_timeout',
        default=30.0,
        min=1.0,
        help="""
How many seconds one request may take once its head is there, its body and the
answer included. Keep it above ``budget``.
""",
    ),
    cfg.IntOpt(
        'keepalive_timeout',
        default=15,
        min=0,
        help="""
For how many seconds an idle connection is kept open; 0 closes each one after
its answer.
""",
    ),
    cfg.IntOpt(
        'max_body',
        default=262144,
        min=4096,
        help="""
The largest body of a request, in bytes. nova posts up to 64 KiB of user data
and the instance's metadata. Raise it when instances have very much metadata.
""",
    ),
    cfg.IntOpt(
        'max_page',
        default=1000,
        min=1,
        help="""
How many items one page of a list may have.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options of this section."""
    # A copy: oslo.config keeps what is registered within the group.
    conf.register_group(copy.deepcopy(GROUP))
    conf.register_opts(OPTIONS, group=GROUP.name)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for the sample configuration."""
    return [(GROUP, OPTIONS)]


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only.

    :param host: an IP address. A name is none, ``localhost`` included:
        what it stands for is decided elsewhere.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, 'ipv4_mapped', None)
    return bool((mapped or address).is_loopback)


def validate(conf: cfg.ConfigOpts) -> None:
    """Check the section as a whole, before anything listens.

    :raises ConfigurationError: naming the option at fault
    """
    api = conf.api
    if bool(api.tls_certificate) != bool(api.tls_key):
        missing = 'tls_key' if api.tls_certificate else 'tls_certificate'
        raise exceptions.ConfigurationError(
            '[api] %s' % missing,
            'a certificate and its key are set together',
        )
    if api.budget >= api.request_timeout:
        raise exceptions.ConfigurationError(
            '[api] request_timeout', 'has to be above [api] budget'
        )
    if is_loopback(api.listen):
        return
    if api.auth_strategy == 'noauth':
        raise exceptions.ConfigurationError(
            '[api] auth_strategy',
            'noauth makes everybody an administrator and listens on a '
            'loopback address only, for instance 127.0.0.1; [api] listen is '
            '%s' % api.listen,
        )
    if not api.tls_certificate and not api.insecure_http:
        raise exceptions.ConfigurationError(
            '[api] tls_certificate',
            'plain HTTP on %s would show the credentials of instances: set '
            'tls_certificate and tls_key, or insecure_http = true where '
            'something else protects them' % api.listen,
        )
