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
"""Rule 5: what projects may ask for; the default is nothing."""

from oslo_config import cfg

from novajoin import exceptions
from novajoin import models
from novajoin.conf import project
from novajoin.tests import base

ONE = 'a' * 32
TWO = 'b' * 32


class ProjectTestCase(base.TestCase):
    def read(self, text):
        path = self.make_directory() / 'join.conf'
        path.write_text(text)
        conf = cfg.ConfigOpts()
        project.register_opts(conf)
        conf(['--config-file', str(path)])
        return project.list_projects(conf)

    def test_none(self):
        self.assertEqual({}, self.read('[naming]\ndomain = x\n'))

    def test_default_deny(self):
        """A section that allows nothing allows nothing."""
        found = self.read('[project:%s]\n' % ONE + 'other = 1\n')
        self.assertEqual({ONE: models.AllowList(ONE)}, found)

    def test_values(self):
        found = self.read(
            '[project:%s]\n'
            'allowed_classes = web, db\n'
            'allowed_services = HTTP\n'
            'allowed_subhosts = internal\n'
            'allowed_zones = Lab.Example.ORG., x.test\n'
            '[project:%s]\n'
            'allowed_classes = *\n' % (ONE, TWO)
        )
        self.assertEqual(
            models.AllowList(
                project=ONE,
                classes=('web', 'db'),
                services=('HTTP',),
                subhosts=('internal',),
                zones=('Lab.Example.ORG.', 'x.test'),
            ),
            found[ONE],
        )
        self.assertEqual(('*',), found[TWO].classes)
        self.assertEqual((), found[TWO].zones)

    def test_blanks(self):
        found = self.read('[project: %s ]\nallowed_classes = web\n' % ONE)
        self.assertEqual({ONE}, found.keys())

    def test_what_is_no_project(self):
        """A section that no project has would allow nothing, unnoticed."""
        for name in ('', 'AAAA', 'A' * 32, 'a' * 31, 'admin', ONE + ',' + TWO):
            error = self.assertRaises(
                exceptions.ConfigurationError,
                self.read,
                '[project:%s]\nallowed_classes = web\n' % name,
            )
            self.assertEqual('[project:%s]' % name, error.option)

    def test_dashes(self):
        name = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'
        self.assertEqual({name}, self.read('[project:%s]\n' % name).keys())

    def test_sample(self):
        """The sample shows one section, with every option explained."""
        ((section, options),) = project.list_opts()
        self.assertEqual('project:uuid', section)
        for option in options:
            self.assertTrue(option.help)
            self.assertEqual([], option.default)
