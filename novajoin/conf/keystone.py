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
"""``[keystone]``: how keystone is asked about projects."""

import copy

from oslo_config import cfg

from novajoin.conf import peer

GROUP = cfg.OptGroup(
    'keystone',
    title='Asking keystone about projects',
    help="""
Keystone is asked for the names of projects, and only with
``project_subdomain`` or where a section of novajoin 1.x says what the project
of that name may ask for.
The account is that of ``[service_credentials]``; who may post and read is
decided by ``[keystone_authtoken]``.
""",
)

OPTIONS = [
    *peer.make_catalog_options('keystone'),
    cfg.URIOpt(
        'endpoint_override',
        schemes=['http', 'https'],
        help="""
The URL of keystone, used instead of the one in the catalog. Set it when the
catalog's URL cannot be used from here.
""",
    ),
    *peer.make_waiting_options(
        timeout=1.0,
        timeout_help="""
How long to wait for an answer of keystone, in seconds.
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
