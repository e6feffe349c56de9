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
"""Options of the section [credential]: join tokens and one-time passwords."""

import copy

from oslo_config import cfg

GROUP = cfg.OptGroup(
    'credential',
    title='One-use credentials',
    help="""
What an instance redeems for its identity. Credentials are derived from the key
repository and are in no database.
""",
)

OPTIONS: list[cfg.Opt] = [
    cfg.IntOpt(
        'token_lifetime',
        default=3600,
        min=300,
        max=86400,
        help="""
Seconds for which a join token may be redeemed, from the moment at which nova
first asks for the instance. Raise it when machines take long from their config
drive's making to their first boot; lower it to narrow the window in which a
stolen token is of use.
""",
    ),
    cfg.StrOpt(
        'token_delivery',
        default='any',
        choices=[
            ('any', 'to whoever reads the metadata of the instance'),
            (
                'configdrive',
                'only while nova builds an instance that has a config drive',
            ),
        ],
        help="""
To whom a credential is given. ``any`` trusts every process of the guest that
can reach the metadata service until the token is redeemed. ``configdrive``
never answers a running guest, but leaves instances without a config drive
without an identity.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options of this section."""
    conf.register_group(copy.deepcopy(GROUP))
    conf.register_opts(OPTIONS, group=GROUP.name)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for the sample configuration."""
    return [(GROUP, OPTIONS)]
