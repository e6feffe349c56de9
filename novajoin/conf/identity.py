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
"""Options of the section [identity]: the identity backend."""

import copy

from oslo_config import cfg

GROUP = cfg.OptGroup('identity', title='The identity backend')

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'backend',
        default='embedded',
        help="""
Who owns the hosts: the name of exactly one driver of the namespace
``novajoin.identity``. ``embedded`` keeps them in novajoin's own database.
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
