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
import threading
import uuid

from novajoin import exceptions
from novajoin import models
from novajoin.cmd import assembly
from novajoin.cmd import reports
from novajoin.cmd import server
from novajoin.db import processes
from novajoin.enrollment import naming
from novajoin.keys import repository
from novajoin.tests import base
from novajoin.tests.unit.cmd import conf as test_conf

PROJECT = 'ab' * 16
NINE_URLS = ','.join('https://join%d.test' % i for i in range(9))


class AssemblyTest(base.TestCase):
    def make(self, **options):
        return assembly.Assembly(
            test_conf.read(self.make_directory(), options)
        )

    def assertOption(self, option, function, *arguments):
        error = self.assertRaises(
            exceptions.ConfigurationError, function, *arguments
        )
        self.assertEqual(option, error.option)

    def test_embedded_defaults_need_no_step(self):
        """An empty directory is enough, also for several at once."""
        directory = self.make_directory()
        conf = test_conf.read(directory)
        errors = []

        def prepare():
            try:
                assembly.Assembly(conf).prepare()
            except Exception as error:  # noqa: BLE001 whichever it is
                errors.append(error)

        threads = [threading.Thread(target=prepare) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        roots = {
            assembly.Assembly(conf).ca.get_chain().root.der for _ in range(3)
        }
        self.assertEqual(1, len(roots))

    def test_a_bad_setting_names_its_option(self):
        for option, options in (
            ('[naming] domain', {'naming': {'domain': '-.example'}}),
            ('[identity] backend', {'identity': {'backend': 'nowhere'}}),
            ('[ca] backend', {'ca': {'backend': 'nowhere'}}),
            ('[injectors] enabled', {'injectors': {'enabled': 'pigeon'}}),
            ('[injectors] enabled', {'injectors': {'enabled': ''}}),
            ('[naming] domain', {'naming': {'domain': 'a..b'}}),
            ('[checkin] urls', {'checkin': {'urls': 'http://plain.test'}}),
            ('[checkin] urls', {'checkin': {'urls': NINE_URLS}}),
            ('[checkin] urls', {'checkin': {'urls': 'https://a..b'}}),
            ('[project:AAAA]', {'project:AAAA': {'allowed_zones': 'a.test'}}),
            ('[api] auth_strategy', {'api': {'listen': '0.0.0.0'}}),
            (
                '[keystone_authtoken] auth_type',
                {'api': {'auth_strategy': 'keystone'}},
            ),
        ):
            conf = test_conf.read(self.make_directory(), options)
            self.assertOption(option, server.validate, conf)

    def test_a_database_that_cannot_be_spoken_to(self):
        """Told before the process forks; nobody is connected to."""
        for url in (
            'nonsense',
            'nosuch://novajoin:swordfish@controller/novajoin',
            'mysql+nosuch://novajoin:swordfish@controller/novajoin',
            # Its driver is in none of our requirements.
            'oracle+cx_oracle://novajoin:swordfish@controller/novajoin',
            'mysql+pymysql://novajoin:swordfish@controller:port/novajoin',
        ):
            parts = self.make(database={'connection': url})
            error = self.assertRaises(
                exceptions.ConfigurationError, parts.prepare
            )
            self.assertEqual('[database] connection', error.option)
            self.assertNotIn('swordfish', str(error))

    def test_a_zone_that_is_no_name(self):
        """An empty one would let the CA name every host there is."""
        section = 'project:%s' % PROJECT
        for zone in ('.', '*.foo.org', 'a..b', 'foo_bar.org', 'x' * 64):
            parts = self.make(
                **{section: {'allowed_zones': 'good.test, %s' % zone}}
            )
            error = self.assertRaises(
                exceptions.ConfigurationError, lambda parts: parts.zones, parts
            )
            self.assertEqual('[%s] allowed_zones' % section, error.option)
            self.assertIn(repr(zone), error.message)

    def test_names_are_made_ascii(self):
        parts = self.make(
            **{
                'naming': {'domain': 'M\xfcn.Example'},
                'checkin': {
                    'urls': 'https://J\xf6in.example.com.:9998/,'
                    'https://[fe80::1%25eth0]:9998'
                },
                'project:%s' % PROJECT: {'allowed_zones': 'm\xfcn.org'},
            }
        )
        self.assertEqual('xn--mn-xka.example', parts.domain)
        self.assertEqual({parts.domain, 'xn--mn-xka.org'}, parts.zones)
        self.assertEqual(
            [
                'https://xn--jin-sna.example.com:9998',
                'https://[fe80::1%25eth0]:9998',
            ],
            [url.url for url in parts.checkin_urls],
        )
        self.assertEqual(
            {'xn--jin-sna.example.com', 'fe80::1'}, parts.checkin_names
        )
        parts.prepare()

    def test_keystone_without_an_account_to_ask_with(self):
        parts = self.make(api={'auth_strategy': 'keystone'})
        self.assertOption(
            '[service_credentials] auth_type', lambda: parts.session
        )

    def test_noauth_stays_on_loopback(self):
        for address in ('127.0.0.1', '127.1.2.3', '::1'):
            server.validate(
                test_conf.read(
                    self.make_directory(), {'api': {'listen': address}}
                )
            )

    def test_validation_opens_nothing(self):
        directory = self.make_directory()
        server.validate(test_conf.read(directory))
        self.assertFalse((directory / 'state').exists())

    def test_check_in_names_are_reserved(self):
        """An instance never gets the check-in service's own name."""
        parts = self.make(
            naming={'domain': 'example.com'},
            checkin={'urls': 'https://join.example.com:9998'},
        )
        self.assertIsInstance(parts.naming, naming.Naming)
        for name in ('join', 'JOIN', 'join.example.com'):
            self.assertRaises(
                exceptions.InvalidHostname,
                parts.naming.get_fqdn,
                name,
                'project',
            )
        self.assertEqual(
            'joint.example.com', parts.naming.get_fqdn('joint', 'project')
        )

    def test_zones_of_projects(self):
        parts = self.make(
            **{
                'naming': {'domain': 'example.com'},
                'project:%s' % PROJECT: {
                    'allowed_zones': 'Zone.Test., other.test'
                },
            }
        )
        self.assertEqual(
            {'example.com', 'zone.test', 'other.test'}, parts.zones
        )
        self.assertEqual(
            'vm.zone.test', parts.naming.get_fqdn('vm.zone.test', PROJECT)
        )
        self.assertRaises(
            exceptions.InvalidHostname,
            parts.naming.get_fqdn,
            'vm.zone.test',
            'another',
        )


class AllowListTest(base.TestCase):
    """Sections by id, and those of novajoin 1.x by name."""

    CLASSES = {'allowed_classes': 'webserver'}

    def make(self, **options):
        made = assembly.Assembly(
            test_conf.read(self.make_directory(), options)
        )
        self.asked = []

        def find(project):
            self.asked.append(project)
            return self.projects[project]

        made.find_project = find
        self.projects = {
            PROJECT: models.Project('tripleo', 'default'),
            'other': models.Project('tripleo', 'another domain'),
            'third': models.Project('demo', 'default'),
            'unknown': None,
        }
        return made

    def test_none(self):
        """Nobody asks keystone for nothing."""
        parts = self.make()
        self.assertEqual(
            models.AllowList(PROJECT), parts.get_allow_list(PROJECT)
        )
        self.assertEqual([], self.asked)

    def test_by_name(self):
        """Only where names are unique: in the domain default."""
        parts = self.make(tripleo=self.CLASSES)
        self.assertEqual(
            models.AllowList(PROJECT, classes=('webserver',)),
            parts.get_allow_list(PROJECT),
        )
        for project in ('other', 'third', 'unknown'):
            self.assertEqual(
                models.AllowList(project), parts.get_allow_list(project)
            )

    def test_by_id(self):
        """It says everything that is to be said of the project."""
        parts = self.make(
            **{
                'tripleo': self.CLASSES,
                'project:%s' % PROJECT: {'allowed_services': 'http'},
            }
        )
        self.assertEqual(
            models.AllowList(PROJECT, services=('http',)),
            parts.get_allow_list(PROJECT),
        )
        self.assertEqual([], self.asked)

    def test_refusal(self):
        """NJ11: the class of a section by name is let pass, another not."""
        parts = self.make(tripleo=self.CLASSES)
        parts.prepare()
        metadata = {'ipa_enroll': 'true', 'ipa_hostclass': 'webserver'}

        def post(project, name='vm'):
            return parts.admission.answer(
                models.VendordataPost(
                    str(uuid.uuid4()), project, None, name, metadata
                ),
                models.Caller('req-1'),
            )

        self.assertIn('bootstrap', post(PROJECT))
        self.assertRaises(exceptions.IdentityRefused, post, 'other')
        self.asked.clear()
        del metadata['ipa_hostclass']
        self.assertIn('bootstrap', post('third', 'vm2'))
        self.assertEqual([], self.asked)

    def test_without_keystone(self):
        """Its id is then a project's name."""
        parts = assembly.Assembly(
            test_conf.read(self.make_directory(), {'tripleo': self.CLASSES})
        )
        self.assertEqual(
            ('webserver',), parts.get_allow_list('tripleo').classes
        )
        self.assertEqual('tripleo', parts.find_project_name('tripleo'))


class ReporterTest(base.TestCase):
    def test_report(self):
        parts = assembly.Assembly(test_conf.read(self.make_directory()))
        parts.prepare()
        reporter = reports.Reporter(parts, 'server', (repository.CREDENTIAL,))
        reporter.report()
        reporter.report()
        known = parts.database.read(
            lambda tx: processes.list_keys(
                tx, repository.CREDENTIAL, parts.clock().replace(year=2000)
            )
        )
        self.assertEqual([parts.keys.get_ids(repository.CREDENTIAL)], known)

    def test_a_dead_database_ends_no_thread(self):
        parts = assembly.Assembly(
            test_conf.read(
                self.make_directory(),
                {'database': {'connection': 'sqlite:////proc/none/db'}},
            )
        )
        reporter = reports.Reporter(parts, 'server', ())
        reporter.start()
        reporter.stop()
        reporter.wait()
