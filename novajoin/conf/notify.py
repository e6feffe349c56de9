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
"""``[notify]``: the worker that listens, cleans up and reconciles."""

import copy

from oslo_config import cfg

GROUP = cfg.OptGroup(
    'notify',
    title='The worker',
    help="""
``novajoin-notify`` listens to nova's notifications, does and repeats the work
that others left in the outbox, compares all enrollments with nova, lets unused
credentials expire, publishes the CRL and signs the check-in service's own
certificates. Any number of them may run; where one is enough they agree on
one through the database.

Where notifications come from is set by oslo.messaging: ``transport_url`` in
``[oslo_messaging_notifications]``, or in ``[DEFAULT]``. Without either there
is no listener, and what nova does is found by the sweep only.
""",
)

OPTIONS = [
    cfg.IntOpt(
        'workers',
        default=1,
        min=1,
        help="""
How many worker processes to run on this machine. One does for a cloud in which
some instances are started and deleted per second; a second one helps when the
identity backend is slow and the machine is not busy.
""",
    ),
    cfg.ListOpt(
        'exchanges',
        default=['nova', 'neutron'],
        help="""
The exchanges on which nova and neutron publish. Change it when these services
set ``control_exchange`` to something else.
""",
    ),
    cfg.ListOpt(
        'topics',
        default=['notifications', 'versioned_notifications'],
        deprecated_opts=[
            cfg.DeprecatedOpt('notifications_topic', group='DEFAULT')
        ],
        help="""
The topics on which nova and neutron publish: nova's unversioned notifications,
and its versioned ones. Both formats are understood, and an event that comes
in both counts once. Change it when nova's ``[oslo_messaging_notifications]
topics`` or ``[notifications] versioned_notifications_topics`` were changed.
novajoin 1.3.0 listened on ``novajoin_notifications`` unless told otherwise:
name it here if your nova publishes there and nowhere else.
""",
    ),
    cfg.StrOpt(
        'notification_format',
        deprecated_opts=[
            cfg.DeprecatedOpt('notification_format', group='DEFAULT')
        ],
        deprecated_for_removal=True,
        deprecated_since='3.0.0',
        deprecated_reason="""
Both formats are always understood. The option is accepted and does nothing.
""",
        help="""
The format that novajoin 1.3.0 was to expect.
""",
    ),
    cfg.StrOpt(
        'pool',
        default='novajoin',
        help="""
The name of the queue that all workers share: each notification reaches one
of them, and other consumers (such as ceilometer) get theirs as well. Change
it only when two installations of novajoin listen to one broker: each needs a
name of its own.
""",
    ),
    cfg.IntOpt(
        'listener_threads',
        default=8,
        min=1,
        max=256,
        help="""
How many notifications a process works on at a time.
""",
    ),
    cfg.FloatOpt(
        'outbox_interval',
        default=2.0,
        min=0.05,
        help="""
How often the outbox is looked at when there was nothing to do, in seconds: for
so long may work wait that another process left behind.
""",
    ),
    cfg.IntOpt(
        'outbox_batch',
        default=20,
        min=1,
        max=1000,
        help="""
How many rows of the outbox are taken at a time.
""",
    ),
    cfg.IntOpt(
        'outbox_threads',
        default=4,
        min=1,
        max=64,
        help="""
How many threads of a process work on the outbox. They mostly wait for the
identity backend and for nova; raise it when work waits while these are idle.
""",
    ),
    cfg.FloatOpt(
        'outbox_first_delay',
        default=1.0,
        min=0.01,
        help="""
How long to wait after work failed for the first time, in seconds. Each further
failure doubles it, up to ``outbox_longest_delay``.
""",
    ),
    cfg.FloatOpt(
        'outbox_longest_delay',
        default=300.0,
        min=0.01,
        help="""
The longest time to wait between two tries of the same work, in seconds. It is
also how long it takes at most to catch up after a backend was away.
""",
    ),
    cfg.FloatOpt(
        'outbox_lease',
        default=60.0,
        min=1.0,
        help="""
After how many seconds work that a process began is taken over by another one.
It must be longer than the slowest call to the identity backend or the CA.
""",
    ),
    cfg.IntOpt(
        'outbox_attempts',
        default=1000,
        min=1,
        help="""
How often work is tried before it waits for an operator (``retry``). With the
delays above, 1000 tries take more than three days.
""",
    ),
    cfg.FloatOpt(
        'sweep_interval',
        default=600.0,
        min=1.0,
        help="""
How often all enrollments are compared with nova, in seconds. The sweep finds
what no notification told, because the broker was away or there is none. Lower
it when notifications are not available; it costs nova one list of servers.
""",
    ),
    cfg.IntOpt(
        'sweep_page',
        default=500,
        min=1,
        max=10000,
        help="""
How many servers nova is asked for at a time during a sweep. nova gives at most
its own ``[api] max_limit``.
""",
    ),
    cfg.FloatOpt(
        'sweep_timeout',
        default=60.0,
        min=1.0,
        help="""
How long a sweep waits for one page of nova's list, in seconds. Raise it, or
lower ``sweep_page``, when nova needs longer.
""",
    ),
    cfg.IntOpt(
        'sweep_most_missing',
        default=10,
        min=0,
        help="""
The brake on mass deletion, together with ``sweep_most_missing_share``: a sweep
that misses more instances in nova than both of them allow ends none of their
enrollments, logs an error and writes an event, and the next one looks again.
It is more likely that nova's database or the configuration is wrong. nova's
list being empty always brakes. What nova announced by a notification, and what
an operator orders (``release``), is not counted. Raise it for the time it
takes when so many instances really are gone.
""",
    ),
    cfg.FloatOpt(
        'sweep_most_missing_share',
        default=0.2,
        min=0.0,
        max=1.0,
        help="""
The other half of the brake on mass deletion: a fraction of all enrollments
whose instances are thought to exist. See ``sweep_most_missing``.
""",
    ),
    cfg.FloatOpt(
        'expiry_interval',
        default=30.0,
        min=1.0,
        help="""
How often credentials that were not used in time are withdrawn, in seconds. An
expired one is not accepted in any case; this clears its host's password.
""",
    ),
    cfg.FloatOpt(
        'crl_interval',
        default=15.0,
        min=1.0,
        max=60.0,
        help="""
How often it is looked whether a new CRL is due, in seconds: it is after each
revocation, and when the present one has lived for half of its time.
""",
    ),
    cfg.FloatOpt(
        'service_certificate_interval',
        default=5.0,
        min=0.5,
        help="""
How often requests of check-in processes for their own certificates are signed,
in seconds. A new check-in process is not ready before.
""",
    ),
    cfg.FloatOpt(
        'report_interval',
        default=30.0,
        min=1.0,
        max=60.0,
        help="""
How often each process notes in the database that it is alive and which keys it
has. A new key becomes the primary one only when every process that reported
within two minutes has it.
""",
    ),
    cfg.FloatOpt(
        'shutdown_timeout',
        default=10.0,
        min=0.0,
        help="""
How long a worker that is told to stop waits for the work that it is doing, in
seconds. What is not done by then stays in the outbox. Keep it well below
``graceful_shutdown_timeout``.
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
