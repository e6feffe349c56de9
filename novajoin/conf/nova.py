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
"""``[nova]``: how nova is asked."""

import copy

from oslo_config import cfg

from novajoin.conf import peer

GROUP = cfg.OptGroup(
    'nova',
    title='Asking nova about instances',
    help="""
Before novajoin gives an instance an identity, and before it takes one away,
it asks nova. The account is that of ``[service_credentials]``.
""",
)

OPTIONS = [
    *peer.make_catalog_options(
        'nova',
        service_type='compute',
        region_help="""
The region whose nova is asked. Set it when the catalog has more than one: with
another region's nova all instances seem to be gone, and only the brake on mass
deletion (``[notify] sweep_most_missing``) keeps them their identities.
""",
    ),
    cfg.URIOpt(
        'endpoint_override',
        schemes=['http', 'https'],
        help="""
The URL of nova, used instead of the one in the catalog; with its version, for
instance ``https://nova.example.com:8774/v2.1``. Set it when the catalog's URL
cannot be used from here.
""",
    ),
    *peer.make_waiting_options(
        timeout=5.0,
        timeout_help="""
How long the worker and the health check wait for one answer of nova, in
seconds. What nova itself waits for (``POST /v1/``) has a shorter budget of its
own. Raise it when a list of servers takes longer in your cloud.
""",
        retries_help="""
How often a connection that nova did not accept is tried again within the same
question. All work is retried later in any case, so that 0 is right unless
nova's balancer refuses connections now and then.
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
