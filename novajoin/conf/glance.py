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
"""``[glance]``: how glance is asked."""

import copy

from oslo_config import cfg

from novajoin.conf import peer

GROUP = cfg.OptGroup(
    'glance',
    title='Asking glance about images',
    help="""
An instance that does not ask for an identity itself does so when its image
has the property ``ipa_enroll``. The account is that of
``[service_credentials]``.
""",
)

OPTIONS = [
    *peer.make_catalog_options('glance', service_type='image'),
    cfg.ListOpt(
        'api_servers',
        deprecated_opts=[
            cfg.DeprecatedOpt('glance_api_servers', group='DEFAULT')
        ],
        help="""
URLs of glance, without a version, used instead of the one in the catalog and
tried in this order; ``host:port`` means ``http://host:port``. Set it when the
catalog's URL cannot be used from here; a single URL of a balancer is better
than a list.
""",
    ),
    cfg.IntOpt(
        'num_retries',
        default=0,
        min=0,
        max=10,
        deprecated_opts=[
            cfg.DeprecatedOpt('glance_num_retries', group='DEFAULT')
        ],
        help="""
How often all servers are tried again when none can be reached, within the same
``timeout``.
""",
    ),
    *peer.make_waiting_options(
        timeout=1.0,
        timeout_help="""
How long to wait for glance while nova waits for us, in seconds. It is part of
the budget of the whole answer: an image that is not known by then makes the
answer a 503, so that nova tells the instance nothing wrong.
""",
        retries_help="""
How often a connection that glance did not accept is tried again before the
next server is.
""",
    ),
    cfg.IntOpt(
        'cache_size',
        default=1000,
        min=1,
        help="""
How many images' properties each process remembers. Raise it when instances
are started from more images than this at a time.
""",
    ),
    cfg.FloatOpt(
        'cache_ttl',
        default=300.0,
        min=0.0,
        help="""
For how long the properties of an image are remembered, in seconds: a change
of ``ipa_enroll`` on an image takes effect after at most this time. Lower it
for tests; with a higher one more instances are answered while glance is away.
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
