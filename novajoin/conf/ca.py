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
"""Options of the section [ca]: the CA backend."""

import copy

from oslo_config import cfg

GROUP = cfg.OptGroup('ca', title='The CA backend')

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'backend',
        default='embedded',
        help="""
Who issues the instances' certificates: the name of exactly one driver of the
namespace ``novajoin.ca``. ``embedded`` is a CA of novajoin's own. A change
takes hold of what is issued from then on; instances keep trusting the root
that they were given at their first boot.
""",
    ),
    cfg.IntOpt(
        'certificate_lifetime',
        default=2592000,
        min=3600,
        max=34128000,
        help="""
Seconds for which an instance's certificate is valid. Instances renew theirs at
two thirds of it, so it is also the longest that the check-in service may be
away. Lower it to need revocation less; raise it where instances are often shut
off for longer, as one that wakes up with an expired certificate needs a
reissue by an operator. It never outlives the certificate of its issuer.
Default: 30 days.
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
