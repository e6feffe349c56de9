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
"""Sections [project:<id>]: what each project may ask for; default: nothing."""

import re
from typing import Final

from oslo_config import cfg

from novajoin import exceptions
from novajoin import models

_PREFIX: Final = 'project:'
#: Keystone's ids; some old ones have the dashes of a uuid.
_ID: Final = re.compile('[0-9a-f]{32}|' + models.UUID_PATTERN)

OPTIONS: list[cfg.Opt] = [
    cfg.ListOpt(
        'allowed_classes',
        default=[],
        help="""
Host classes (``ipa_hostclass``) that instances of the project may be in;
``*`` stands for any.
""",
    ),
    cfg.ListOpt(
        'allowed_services',
        default=[],
        help="""
Services, by the first part of their principals, that instances of the project
may have. Shown by ``GET /v1/allow-lists`` only: this release makes none.
""",
    ),
    cfg.ListOpt(
        'allowed_subhosts',
        default=[],
        help="""
Labels of the networks under which instances of the project may have further
host names. Shown by ``GET /v1/allow-lists`` only: this release makes no such
names.
""",
    ),
    cfg.ListOpt(
        'allowed_zones',
        default=[],
        help="""
DNS zones, besides its own, in which the project may name instances with a full
host name; no wildcards. The embedded CA is constrained to ``[naming] domain``
and to the zones named here when its instance intermediate is made.
""",
    ),
]

#: What novajoin 1.x had in sections by the names of projects.
_OLD_OPTION: Final = cfg.ListOpt('allowed_classes')


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options for the sample configuration."""
    return [('project:uuid', OPTIONS)]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register nothing: the sections are known once the files are read."""


def list_projects(conf: cfg.ConfigOpts) -> dict[str, models.AllowList]:
    """Return the allow-lists of all projects that have a section.

    :returns: allow-lists by project id; zones are as they were written
    :raises ConfigurationError: a section is not of a project id
    """
    found = {}
    for section in conf.list_all_sections():
        if not section.startswith(_PREFIX):
            continue
        project = section.removeprefix(_PREFIX).strip()
        if _ID.fullmatch(project) is None:
            raise exceptions.ConfigurationError(
                '[%s]' % section,
                'this is not the id of a project, which has 32 lower-case '
                'hexadecimal digits',
            )
        conf.register_opts(OPTIONS, group=section)
        values = conf[section]
        found[project] = models.AllowList(
            project=project,
            classes=tuple(values.allowed_classes),
            services=tuple(values.allowed_services),
            subhosts=tuple(values.allowed_subhosts),
            zones=tuple(values.allowed_zones),
        )
    return found


def list_old_classes(conf: cfg.ConfigOpts) -> dict[str, tuple[str, ...]]:
    """Return ``allowed_classes`` of the sections ``[<project name>]``.

    Such a section is of the project of that name in keystone's domain
    ``default``. A name that is one of our own sections is none of a project.

    :returns: host classes by the names of projects
    """
    found = {}
    for section in conf.list_all_sections():
        if section.startswith(_PREFIX) or section == 'DEFAULT':
            continue
        if section in conf and _OLD_OPTION.dest not in conf[section]:
            continue
        conf.register_opt(_OLD_OPTION, group=section)
        classes = conf[section][_OLD_OPTION.dest]
        if classes is not None:
            found[section] = tuple(classes)
    return found
