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
"""Sphinx configuration of the documentation."""

# Chooses threads for oslo.service before anything else imports it.
import novajoin  # noqa: F401

project = 'novajoin'
copyright = '2026, OpenStack Foundation'  # noqa: A001

extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'oslo_policy.sphinxext',
    'oslo_policy.sphinxpolicygen',
    'sphinx.ext.autodoc',
]

config_generator_config_file = [
    ('../../etc/novajoin/config-generator.conf', '_static/join'),
]
policy_generator_config_file = [
    ('../../etc/novajoin/policy-generator.conf', '_static/novajoin'),
]

openstackdocs_repo_name = 'openstack/novajoin'
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
openstackdocs_bug_project = 'novajoin'

root_doc = 'index'
exclude_patterns = []
add_function_parentheses = True
add_module_names = False
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
pygments_style = 'native'

html_theme = 'openstackdocs'
html_static_path = ['_static']

_MANUALS = {
    'novajoin-checkin': 'the service that instances call',
    'novajoin-manage': 'database and keys',
    'novajoin-notify': 'notifications, outbox and reconcile',
    'novajoin-server': 'the service that nova and operators call',
    'novajoin-status': 'upgrade checks',
}
man_pages = [
    (f'cli/{name}', name, description, ['OpenStack'], 1)
    for name, description in _MANUALS.items()
]
