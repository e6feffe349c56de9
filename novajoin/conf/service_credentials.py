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
"""``[service_credentials]``: the account with which novajoin asks others."""

import copy

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = cfg.OptGroup(
    'service_credentials',
    title='The account of novajoin itself',
    help="""
The keystone account with which novajoin asks nova about instances, glance
about images and keystone about projects. Besides the role ``service`` it needs
``admin``: other accounts see neither the servers nor the private images of
other projects, and are told that these do not exist.

Without ``auth_type`` there is nobody to ask. That is fit for trying novajoin
out with ``auth_strategy = noauth``, and refused otherwise.

Each authentication plugin has options of its own; those of ``password`` are
``auth_url``, ``username``, ``password``, ``user_domain_name``,
``project_name`` and ``project_domain_name``.
""",
)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options of this section.

    The options of the plugin that ``auth_type`` names are registered by
    keystoneauth when the plugin is loaded.
    """
    # A copy: oslo.config keeps what is registered within the group.
    conf.register_group(copy.deepcopy(GROUP))
    loading.register_session_conf_options(conf, GROUP.name)
    loading.register_auth_conf_options(conf, GROUP.name)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for the sample configuration."""
    options = [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_auth_plugin_conf_options('password'),
    ]
    return [(GROUP, options)]
