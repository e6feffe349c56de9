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
"""DESIGN 6: one loader for all kinds, also for drivers of other packages."""

import sys

import fixtures
from oslo_config import cfg
from stevedore import extension

from novajoin import exceptions
from novajoin import plugins
from novajoin.ca import embedded as ca_embedded
from novajoin.conf import opts
from novajoin.identity import embedded as identity_embedded
from novajoin.injectors import vendordata
from novajoin.tests import base

ENTRY_POINTS = """\
[novajoin.identity]
other = {module}:OtherIdentity
broken = {module}_that_is_not_there:Identity
missing = {module}:NoSuchClass
function = {module}:function
foreign = {module}:OtherInjector

[novajoin.ca]
broken = {module}_that_is_not_there:CA

[novajoin.injectors]
other = {module}:OtherInjector
picky = {module}:PickyInjector
"""

MODULE = """\
from oslo_config import cfg

from novajoin import exceptions
from novajoin.identity import embedded
from novajoin.injectors import base


class OtherIdentity(embedded.EmbeddedIdentity):
    options = [cfg.StrOpt('server', default='ldap.example.com')]


class OtherInjector(base.Injector):
    direction = base.Direction.TWO_WAY
    options = [cfg.IntOpt('speed', default=115200, min=1)]

    def validate(self):
        pass

    def check(self):
        pass


class PickyInjector(OtherInjector):
    def validate(self):
        raise exceptions.ConfigurationError(
            '[injector_picky] speed', 'it is too slow'
        )


def function(settings, store):
    return None
"""

MODULE_NAME = 'driver_of_another_package'


class PluginsTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.install()
        self.conf = cfg.ConfigOpts()
        opts.register_opts(self.conf)
        self.conf([])

    def install(self):
        """Put a package with drivers on the path, as pip would."""
        path = self.make_directory()
        (path / (MODULE_NAME + '.py')).write_text(MODULE)
        info = path / 'driver_of_another_package-1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            'Metadata-Version: 2.1\nName: driver-of-another-package\n'
            'Version: 1.0\n'
        )
        (info / 'entry_points.txt').write_text(
            ENTRY_POINTS.format(module=MODULE_NAME)
        )
        self.useFixture(
            fixtures.MonkeyPatch('sys.path', [str(path), *sys.path])
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'stevedore.extension.ExtensionManager.ENTRY_POINT_CACHE', {}
            )
        )
        # Its cache is the user's own.
        self.useFixture(
            fixtures.MonkeyPatch('stevedore._cache._c._disable_caching', True)
        )
        self.addCleanup(sys.modules.pop, MODULE_NAME, None)
        self.assertEqual({}, extension.ExtensionManager.ENTRY_POINT_CACHE)

    def read(self, text):
        path = self.make_directory() / 'join.conf'
        path.write_text(text)
        self.conf(['--config-file', str(path)])

    def fail_with(self, option, *words, load=plugins.load_identity):
        error = self.assertRaises(
            exceptions.ConfigurationError, load, self.conf, None
        )
        self.assertEqual(option, error.option)
        for word in words:
            self.assertIn(word, error.message)

    def test_defaults(self):
        identity = plugins.load_identity(self.conf, 'store')
        self.assertIsInstance(identity, identity_embedded.EmbeddedIdentity)
        self.assertEqual('store', identity.store)
        (injector,) = plugins.load_injectors(self.conf)
        self.assertIsInstance(injector, vendordata.VendordataInjector)

    def test_ca(self):
        """The CA is validated, with its own group as its settings."""
        validated = []
        self.useFixture(
            fixtures.MonkeyPatch(
                'novajoin.ca.embedded.EmbeddedCA.validate',
                lambda backend: validated.append(backend),
            )
        )
        made = plugins.load_ca(self.conf, 'store')
        self.assertIsInstance(made, ca_embedded.EmbeddedCA)
        self.assertEqual([made], validated)

    def test_unknown(self):
        """One line that names the option and what there is instead."""
        self.conf.set_override('backend', 'nothing', group='identity')
        self.fail_with('[identity] backend', "'nothing'", 'embedded', 'other')
        self.conf.set_override('backend', '../x', group='ca')
        self.fail_with('[ca] backend', 'embedded', load=plugins.load_ca)
        self.conf.set_override(
            'enabled', ['vendordata', 'nothing'], group='injectors'
        )
        error = self.assertRaises(
            exceptions.ConfigurationError, plugins.load_injectors, self.conf
        )
        self.assertEqual('[injectors] enabled', error.option)

    def test_broken(self):
        """One that is enabled and cannot be loaded says why."""
        self.conf.set_override('backend', 'broken', group='identity')
        self.fail_with(
            '[identity] backend',
            'cannot be loaded',
            'ModuleNotFoundError',
            MODULE_NAME,
        )
        self.conf.set_override('backend', 'missing', group='identity')
        self.fail_with('[identity] backend', 'NoSuchClass')

    def test_broken_and_not_enabled(self):
        """Nobody is bothered by what he does not use."""
        plugins.load_identity(self.conf, None)

    def test_not_of_the_kind(self):
        for name in ('function', 'foreign'):
            self.conf.set_override('backend', name, group='identity')
            self.fail_with('[identity] backend', 'IdentityBackend')

    def test_another_package(self):
        """A driver's own options are read from its own group."""
        self.read(
            '[identity]\nbackend = other\n'
            '[identity_other]\nserver = ipa.example.com\n'
            '[injectors]\nenabled = other, vendordata\n'
            '[injector_other]\nspeed = 9600\n'
        )
        identity = plugins.load_identity(self.conf, None)
        self.assertEqual('ipa.example.com', identity.settings.server)
        other, vendor = plugins.load_injectors(self.conf)
        self.assertEqual(9600, other.settings.speed)
        self.assertIsInstance(vendor, vendordata.VendordataInjector)

    def test_defaults_of_another_package(self):
        self.conf.set_override('backend', 'other', group='identity')
        identity = plugins.load_identity(self.conf, None)
        self.assertEqual('ldap.example.com', identity.settings.server)
        # Loading it again, as a reload does, is no error.
        plugins.load_identity(self.conf, None)

    def test_validated(self):
        """A wrong setting of a driver stops the process."""
        self.conf.set_override('enabled', ['picky'], group='injectors')
        error = self.assertRaises(
            exceptions.ConfigurationError, plugins.load_injectors, self.conf
        )
        self.assertEqual('[injector_picky] speed', error.option)
