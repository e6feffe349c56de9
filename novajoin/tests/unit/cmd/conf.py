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
"""A configuration for tests: the embedded defaults in a directory."""

from collections.abc import Mapping
import pathlib

from oslo_config import cfg

from novajoin.cmd import configuration


def write(
    directory: pathlib.Path,
    options: Mapping[str, Mapping[str, str]] | None = None,
) -> pathlib.Path:
    """Write a join.conf and return its path."""
    sections: dict[str, dict[str, str]] = {
        'DEFAULT': {'state_path': str(directory / 'state')},
        'api': {'auth_strategy': 'noauth'},
        'checkin': {'urls': 'https://localhost:9998'},
    }
    for section, values in (options or {}).items():
        sections.setdefault(section, {}).update(values)
    path = directory / 'join.conf'
    path.write_text(
        '\n'.join(
            '[%s]\n%s'
            % (
                section,
                '\n'.join('%s = %s' % item for item in values.items()),
            )
            for section, values in sections.items()
        )
    )
    return path


def read(
    directory: pathlib.Path,
    options: Mapping[str, Mapping[str, str]] | None = None,
) -> cfg.ConfigOpts:
    """Write a join.conf and return it, read."""
    conf = configuration.make_conf()
    configuration.read(conf, ['--config-file', str(write(directory, options))])
    return conf
