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

"""The contract of the API, in files that need no Python to be read.

The application is the whole one, on the embedded defaults: SQLite, embedded
identity backend and CA, ``noauth``.
"""

import os
import pathlib
import tempfile
import warnings

from gabbi import driver
from gabbi import fixture

from novajoin.cmd import assembly
from novajoin.cmd import configuration
from novajoin.cmd import server

_CONF = """\
[DEFAULT]
state_path = %s
[api]
auth_strategy = noauth
[naming]
domain = example.com
reserved = reserved.example.com
[project:ef44c3558c6a4f1282307e52bca1fa81]
allowed_classes = web, db
allowed_zones = more.example.com
"""

_APPLICATION = None


def get_application():
    """Return an application that stands for that of the suite that runs.

    gabbi asks before any fixture has started.
    """
    return lambda environ, start_response: _APPLICATION(
        environ, start_response
    )


class Embedded(fixture.GabbiFixture):
    """A new service on an empty machine."""

    def start_fixture(self):
        """Make it."""
        global _APPLICATION
        self.directory = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.directory.name, 'join.conf')
        path.write_text(_CONF % (self.directory.name + '/state'))
        conf = configuration.make_conf()
        configuration.read(conf, ['--config-file', str(path)])
        self.assembly = assembly.Assembly(conf)
        self.assembly.prepare()
        _APPLICATION = server.build(self.assembly)

    def stop_fixture(self):
        """Take it away."""
        self.assembly.database.close()
        self.directory.cleanup()


def load_tests(loader, tests, pattern):
    """Make a test of each request in the files."""
    # httpx warns about what gabbi does with it.
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return driver.build_tests(
            os.path.join(os.path.dirname(__file__), 'gabbits'),
            loader,
            intercept=get_application,
            test_loader_name=__name__,
            fixture_module=__import__(__name__, fromlist=['Embedded']),
        )
