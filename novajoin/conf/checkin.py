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
"""``[checkin]``: the application that instances talk to."""

import copy
import os

from oslo_config import cfg

GROUP = cfg.OptGroup(
    'checkin',
    title='The check-in service',
    help="""
``novajoin-checkin`` exchanges join tokens for certificates (EST, RFC 7030). It
is the only process that instances have to reach, always speaks TLS with a
certificate of novajoin's own CA, and must stand behind nothing that ends TLS.
""",
)

OPTIONS = [
    cfg.HostAddressOpt(
        'listen',
        default='0.0.0.0',  # noqa: S104 -- instances come from anywhere
        help="""
The address to listen on. Change it when only one of the machine's networks
leads to instances; ``::`` takes IPv6 and IPv4.
""",
    ),
    cfg.PortOpt(
        'port',
        default=9998,
        help="""
The TCP port to listen on. Change it, together with ``urls``, when instances
can reach another one only, for instance 443.
""",
    ),
    cfg.ListOpt(
        'urls',
        sample_default='https://<FQDN of this machine>:9998',
        help="""
Where instances find the check-in service, at most eight, best first:
``https://name:port``, separated by commas; a name is a DNS name or an address,
``https://[2001:db8::1]:9998`` with IPv6. They are part of what each instance
is given, and their names are in the service's certificate. So the value has to
be the same for ``novajoin-server``, ``novajoin-checkin`` and
``novajoin-notify``, on every machine. Set it as soon as there is more than one
machine, or a balancer (which has to pass TCP through, not end TLS). Default:
the FQDN of this machine and ``port``.
""",
    ),
    cfg.StrOpt(
        'directory',
        sample_default='<state directory>/checkin',
        help="""
Where the service keeps the key and the certificate that it serves with. The
key is made here and never leaves; the processes of one machine share it.
Default: ``checkin`` below the state directory.
""",
    ),
    cfg.IntOpt(
        'workers',
        default=min(os.cpu_count() or 1, 4),
        min=1,
        max=64,
        sample_default='<number of CPUs, at most 4>',
        help="""
How many worker processes serve. A redemption takes a few milliseconds of CPU
and two writes to the database, so raise it only where thousands of instances
start within a minute.
""",
    ),
    cfg.IntOpt(
        'threads',
        default=32,
        min=1,
        max=256,
        help="""
How many requests a worker serves at the same time. Raise it when the CA
backend is slow to sign: each redemption keeps a thread until it is done, and
so does each client that is in the middle of its handshake or request.
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
        default=5.0,
        min=0.5,
        help="""
Within how many seconds a client has to finish the TLS handshake and to send
the head of its request; it keeps one of the threads meanwhile. Raise it when
instances are behind very slow lines.
""",
    ),
    cfg.FloatOpt(
        'request_timeout',
        default=30.0,
        min=1.0,
        help="""
How many seconds one request may take once its head is there, its body and the
answer included. Keep it above the time-outs of database and CA backend.
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
        'rate_limit',
        default=3000,
        min=0,
        help="""
How many requests one address (one /64 of IPv6) may send to one worker process
in a minute; more are answered 429 with Retry-After. 0 switches the limit off.
It keeps a single sender from taking all threads and has nothing to do with
guessing tokens, which is hopeless. Raise it when many instances start at once
behind one router's address, or behind a balancer that hides theirs.
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
