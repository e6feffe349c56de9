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
"""All options of novajoin, by section."""

from typing import Any
from typing import Final

from oslo_config import cfg

from novajoin.conf import api
from novajoin.conf import ca
from novajoin.conf import ca_embedded
from novajoin.conf import checkin
from novajoin.conf import credential
from novajoin.conf import glance
from novajoin.conf import identity
from novajoin.conf import injectors
from novajoin.conf import keys
from novajoin.conf import keystone
from novajoin.conf import naming
from novajoin.conf import notify
from novajoin.conf import nova
from novajoin.conf import project
from novajoin.conf import service_credentials
from novajoin.conf import state

MODULES: Final[tuple[Any, ...]] = (
    state,
    api,
    checkin,
    notify,
    naming,
    credential,
    identity,
    ca,
    ca_embedded,
    injectors,
    keys,
    nova,
    glance,
    keystone,
    service_credentials,
    project,
)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options of all sections."""
    for module in MODULES:
        module.register_opts(conf)


def list_opts() -> list[tuple[Any, list[cfg.Opt]]]:
    """Return all options, for oslo-config-generator."""
    return [entry for module in MODULES for entry in module.list_opts()]
