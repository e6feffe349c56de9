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
"""Options of the section [injectors]: ways to hand the payload over."""

import copy

from oslo_config import cfg

GROUP = cfg.OptGroup('injectors', title='Ways to hand the payload over')

OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        'enabled',
        default=['vendordata'],
        help="""
The injectors in use, by their names in the namespace ``novajoin.injectors``;
the order is the order of work. Nova's call is answered by the first of them
that can render vendordata.
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
