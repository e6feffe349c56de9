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
"""Options of the section [naming]: how instances are named."""

import copy

from oslo_config import cfg
from oslo_config import types

GROUP = cfg.OptGroup(
    'naming',
    title='Names of instances',
    help="""
Every enrolled instance has one fully qualified name, unique among the living.
""",
)

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'domain',
        default='novalocal',
        deprecated_group='DEFAULT',
        deprecated_name='domain',
        help="""
The DNS domain in which instances are named. Set it before the first instance
is enrolled: the certificates of the embedded CA are constrained to it, and a
change needs a new instance intermediate (``novajoin-manage keys rotate
ca/instance``). The default is nova's own default of ``dhcp_domain``.
""",
    ),
    cfg.BoolOpt(
        'project_subdomain',
        default=False,
        deprecated_group='DEFAULT',
        deprecated_name='project_subdomain',
        help="""
Name instances below their project: the instance ``test`` of the project
``admin`` becomes ``test.admin.example.com``. Two projects whose names lead to
one label do not share it: the first has it, the second is refused.
""",
    ),
    cfg.BoolOpt(
        'normalize_project',
        default=True,
        deprecated_group='DEFAULT',
        deprecated_name='normalize_project',
        help="""
With ``project_subdomain``, turn what a DNS label cannot hold into dashes and
drop those at the ends. Without, instances of projects with such names are
refused.
""",
    ),
    cfg.ListOpt(
        'reserved',
        default=[],
        item_type=types.Hostname(),
        help="""
Names that no instance gets, each with everything below it. The hosts of the
check-in URLs are always reserved; add identity servers, KDCs, name servers and
whatever else must not be impersonated.
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
