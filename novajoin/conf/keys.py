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
"""Options of the section [keys]: the key repository."""

import copy

from oslo_config import cfg

GROUP = cfg.OptGroup(
    'keys',
    title='The key repository',
    help="""
Keys are in files that only the service's account can read. They are made at
the first start; ``novajoin-manage keys`` rotates them.
""",
)

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'directory',
        sample_default='<state directory>/keys',
        help="""
The directory of the key repository. Give each process a directory of its own
when they run under different accounts, and put only the keys into it that the
process needs: ``credential`` for ``novajoin-server`` and ``novajoin-notify``,
the ``key.pem`` files of ``ca/instance`` for ``novajoin-checkin`` and
``novajoin-notify``, those of ``ca/service`` for ``novajoin-notify`` alone.
Every process needs all the rest of ``ca``: each ``states.json`` and
``certificate.pem``, which are not secret. With several
hosts, copy the repository from the one that made it before the others start,
and again after each rotation. Default: ``keys`` below the state directory.
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
