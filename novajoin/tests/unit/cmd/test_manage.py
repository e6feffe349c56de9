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
import contextlib
import datetime
import io
import json
import os
import stat
from unittest import mock
import uuid

from cryptography import x509
import fixtures

from novajoin import models
from novajoin.checkin import certificate as own_certificate
from novajoin.cmd import assembly
from novajoin.cmd import manage
from novajoin.cmd import reports
from novajoin.db import certificates
from novajoin.db import engine
from novajoin.db import events
from novajoin.db import processes
from novajoin.db import service_certificates
from novajoin.enrollment import reconciliation as reconciliation_module
from novajoin.keys import authorities
from novajoin.keys import repository
from novajoin.tests import base
from novajoin.tests.unit.cmd import conf as test_conf


class ManageCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = self.make_directory()
        self.path = test_conf.write(self.directory)
        self.parts = assembly.Assembly(test_conf.read(self.directory))

    def run_command(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = manage.main(['--config-file', str(self.path), *arguments])
        return status, out.getvalue(), err.getvalue()


class ManageTest(ManageCase):
    def test_db_sync_is_idempotent(self):
        status, out, _ = self.run_command('db', 'version')
        self.assertEqual(0, status)
        self.assertIn('empty', out)
        status, out, _ = self.run_command('db', 'sync')
        self.assertEqual(0, status)
        self.assertIn('The database was empty and is at 0', out)
        status, out, _ = self.run_command('db', 'sync')
        self.assertEqual(0, status)
        self.assertIn('already', out)
        path = self.directory / 'state' / 'novajoin.sqlite'
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))

    def test_keys_setup_is_idempotent(self):
        self.run_command('db', 'sync')
        status, first, _ = self.run_command('keys', 'setup')
        self.assertEqual(0, status)
        status, second, _ = self.run_command('keys', 'setup')
        self.assertEqual(0, status)
        # The first also logs what it made.
        self.assertEqual(first[first.index('The key repository') :], second)
        _, listed, _ = self.run_command('keys', 'list')
        self.assertIn('primary', listed)
        self.assertIn('staged', listed)

    def test_keys_never_show_their_contents(self):
        self.run_command('db', 'sync')
        _, out, err = self.run_command('keys', 'setup')
        folder = self.directory / 'state' / 'keys' / 'credential'
        for path in folder.iterdir():
            self.assertNotIn(path.read_text().strip(), out + err)

    def test_rotation_waits_for_every_process(self):
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        self._report('elsewhere', ['0123456789abcdef'])
        before = self._list_key_files()
        status, out, err = self.run_command('keys', 'rotate')
        self.assertEqual(0, status, err)
        self.assertIn('promoted: none', out)
        self.assertIn('not yet known to 1 of 1', out)
        # It has had two minutes by now: the key does not get there.
        self._make_older('credential/0')
        status, out, err = self.run_command('keys', 'rotate')
        self.assertEqual(1, status)
        self.assertEqual('', out)
        self.assertEqual(1, len(err.splitlines()), err)
        self.assertEqual(before, self._list_key_files())
        self._report('elsewhere', self._get_key_ids())
        status, out, err = self.run_command('keys', 'rotate')
        self.assertEqual(0, status, err)
        self.assertIn('promoted', out)

    def test_rotation_is_idempotent(self):
        """Two in a row are one, as long as a process is running."""
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        self._report('elsewhere', self._get_key_ids())
        status, out, err = self.run_command('keys', 'rotate')
        self.assertEqual(0, status, err)
        self.assertNotIn('promoted: none', out)
        before = self._list_key_files()
        for _ in range(2):
            status, out, err = self.run_command('keys', 'rotate')
            self.assertEqual(0, status, err)
            self.assertIn('promoted: none', out)
            self.assertEqual(before, self._list_key_files())

    def test_rotation_of_an_intermediate_mends_the_configuration(self):
        """What the start-up check says to run helps."""
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        before = self.parts.ca.get_chain()
        self.path = test_conf.write(
            self.directory, {'naming': {'domain': 'example.com'}}
        )
        status, _, err = self.run_command('keys', 'setup')
        self.assertEqual(1, status)
        self.assertIn('keys rotate ca/instance', err)
        status, out, err = self.run_command('keys', 'rotate', 'ca/instance')
        self.assertEqual(0, status, err)
        status, out, err = self.run_command('keys', 'setup')
        self.assertEqual(0, status, err)
        self.assertIn('retiring', out)
        self.assertIn(before.root.id, out)
        self.assertIn(before.instance.id, out)

    def test_a_running_process_gets_to_know_an_intermediate_first(self):
        """IDENTITY 6: staged, then active."""
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        running = reports.Reporter(
            self.parts,
            'checkin',
            (authorities.INSTANCE, authorities.SERVICE),
        )
        running.report()
        _, out, err = self.run_command('keys', 'rotate', 'ca/instance')
        self.assertIn('promoted: none', out, err)
        status, out, err = self.run_command('keys', 'rotate', 'ca/instance')
        self.assertEqual(0, status, err)
        self.assertIn('promoted: none', out)
        self.assertIn('not yet known', out)
        self._make_older('ca/instance/*/certificate.pem')
        status, out, err = self.run_command('keys', 'rotate', 'ca/instance')
        self.assertEqual(1, status)
        self.assertIn('not yet known', err)
        running.report()
        status, out, err = self.run_command('keys', 'rotate', 'ca/instance')
        self.assertEqual(0, status, err)
        self.assertIn('staged:   none', out)

    def test_who_has_no_key_of_a_ca_is_not_waited_for(self):
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        folder = self.directory / 'state' / 'keys' / 'ca' / 'service'
        (key,) = folder.glob('*/key.pem')
        data = key.read_bytes()
        key.unlink()
        reports.Reporter(
            self.parts, 'checkin', (authorities.SERVICE,)
        ).report()
        key.write_bytes(data)
        key.chmod(0o600)
        status, out, err = self.run_command('keys', 'rotate', 'ca/service')
        self.assertEqual(0, status, err)
        self.assertIn('staged:   none', out)

    def test_an_unknown_kind_is_not_rotated(self):
        self.assertRaises(
            SystemExit, self.run_command, 'keys', 'rotate', 'ca/root'
        )

    def _report(self, process, key_ids):
        self.parts.database.write(
            lambda tx: processes.report(
                tx,
                process,
                'server',
                'host',
                {repository.CREDENTIAL: key_ids},
                self.parts.clock(),
            )
        )

    def _list_key_files(self):
        folder = self.directory / 'state' / 'keys' / 'credential'
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def _make_older(self, pattern):
        paths = list((self.directory / 'state' / 'keys').glob(pattern))
        self.assertNotEqual([], paths)
        for path in paths:
            made = path.stat().st_mtime - 121
            os.utime(path, (made, made))

    def _get_key_ids(self):
        return sorted(self.parts.keys.get_ids(repository.CREDENTIAL))

    def test_compromise_lists_the_dead(self):
        """A compromised key: every open credential of it is dead."""
        self.parts.prepare()
        instance = str(uuid.uuid4())
        answer = self.parts.admission.answer(
            models.VendordataPost(
                instance, 'project', None, 'vm-1', {'ipa_enroll': 'true'}
            ),
            models.Caller('req-1'),
        )
        key_id = self.parts.keys.get_primary(repository.CREDENTIAL).id
        status, out, err = self.run_command('keys', 'compromise', key_id)
        self.assertEqual(0, status, err)
        self.assertIn(instance, out)
        again = self.parts.admission.answer(
            models.VendordataPost(
                instance, 'project', None, 'vm-1', {'ipa_enroll': 'true'}
            ),
            models.Caller('req-2'),
        )
        self.assertNotEqual(
            answer['bootstrap']['payload'], again['bootstrap']['payload']
        )

    def test_compromise_of_an_unknown_key(self):
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        status, _, err = self.run_command('keys', 'compromise', 'f' * 16)
        self.assertEqual(1, status)
        self.assertIn('No key of any kind has the id ' + 'f' * 16, err)
        self.assertIn('keys list', err)

    def find_entries(self, issuer):
        crl = x509.load_der_x509_crl(self.parts.ca.find_crl(issuer).der)
        return [entry.serial_number for entry in crl]

    def test_setup_publishes_what_the_root_key_signs(self):
        """It may be taken offline before any process runs."""
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        chain = self.parts.ca.get_chain()
        for record in (chain.root, chain.service):
            self.assertEqual([], self.find_entries(record.id))

    def test_compromise_of_an_intermediate(self):
        """It is on the root's CRL, and another one issues."""
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        chain = self.parts.ca.get_chain()
        for record in (chain.service, chain.instance):
            status, out, err = self.run_command(
                'keys', 'compromise', record.id
            )
            self.assertEqual(0, status, err)
            self.assertIn(record.id, out)
        self.assertEqual(
            {
                x509.load_der_x509_certificate(record.der).serial_number
                for record in (chain.service, chain.instance)
            },
            set(self.find_entries(chain.root.id)),
        )
        _, out, _ = self.run_command('keys', 'list')
        self.assertEqual(2, out.count('retiring'))

    def test_compromise_of_the_root(self):
        self.run_command('db', 'sync')
        self.run_command('keys', 'setup')
        root = self.parts.ca.get_chain().root.id
        status, _, err = self.run_command('keys', 'compromise', root)
        self.assertEqual(1, status)
        self.assertIn('cannot be revoked', err)

    def sign_service_certificate(self):
        csr = own_certificate.make_csr(
            own_certificate.make_key(), self.parts.checkin_names
        )
        self.parts.service_certificates.request(csr, 'host1')
        self.parts.service_certificates.sign_pending(
            self.parts.ca, self.parts.checkin_names
        )
        (row,) = self.parts.service_certificates.list_valid()
        return row

    def test_compromise_of_a_check_in_key(self):
        """By the id that the list shows; it is on the service CA's CRL."""
        self.parts.prepare()
        row = self.sign_service_certificate()
        _, out, _ = self.run_command('keys', 'list')
        self.assertIn(row.key_id, out)
        self.assertIn('issued, on host1', out)
        status, out, err = self.run_command('keys', 'compromise', row.key_id)
        self.assertEqual(0, status, err)
        self.assertIn('host1', out)
        _, out, _ = self.run_command('keys', 'list')
        self.assertIn('revoked, on host1', out)
        self.parts.ca.publish_other_crls(self.parts.clock())
        self.assertEqual([int(row.serial, 16)], self.find_entries(row.issuer))

    def test_an_intermediate_stays_as_long_as_check_in_uses_it(self):
        self.parts.prepare()
        row = self.sign_service_certificate()
        for _ in range(2):
            status, out, err = self.run_command('keys', 'rotate', 'ca/service')
            self.assertEqual(0, status, err)
        self.assertIn('kept:     %s' % row.issuer, out)

    def test_list_without_a_database(self):
        """Nothing is made by being looked at."""
        self.parts.keys.setup(repository.CREDENTIAL)
        status, _, err = self.run_command('keys', 'list')
        self.assertEqual((0, ''), (status, err))
        self.assertFalse(
            (self.directory / 'state' / 'novajoin.sqlite').exists()
        )

    def test_guest_vendordata(self):
        """Nova's StaticJSON takes it as it is."""
        status, out, _ = self.run_command('guest', 'vendordata')
        self.assertEqual(0, status)
        self.assertIn('cloud-init', json.loads(out))

    def test_a_place_that_cannot_be_used(self):
        """One line, with the option to change."""
        file = self.directory / 'file'
        file.write_text('')
        for options, option in (
            ({'keys': {'directory': str(file)}}, '[keys] directory'),
            ({'keys': {'directory': '%s/x/y' % file}}, '[keys] directory'),
            ({'keys': {'directory': '/proc/nope'}}, '[keys] directory'),
            ({'DEFAULT': {'state_path': str(file)}}, 'state_path'),
            ({'DEFAULT': {'state_path': '/proc/nope'}}, 'state_path'),
            (
                {'database': {'connection': 'sqlite:///%s/x' % file}},
                '[database] connection',
            ),
        ):
            self.path = test_conf.write(self.make_directory(), options)
            for command in ('setup', 'list'):
                status, _, err = self.run_command('keys', command)
                self.assertEqual(1, status, options)
                self.assertEqual(1, err.count('\n'), err)
                if command == 'setup':
                    self.assertIn(option, err)

    def test_what_is_wrong_is_one_line(self):
        self.path = test_conf.write(
            self.directory, {'naming': {'domain': 'not a domain'}}
        )
        status, _, err = self.run_command('keys', 'setup')
        self.assertEqual(1, status)
        self.assertEqual(1, len(err.splitlines()), err)
        self.assertIn('[naming] domain', err)

    def assert_one_line(self, words, *command):
        status, out, err = self.run_command(*command)
        self.assertEqual(1, status)
        self.assertEqual('', out)
        self.assertEqual(1, len(err.splitlines()), err)
        for word in words:
            self.assertIn(word, err)

    def test_a_database_without_a_schema(self):
        self.parts.keys.setup(repository.CREDENTIAL)
        path = self.directory / 'state' / 'novajoin.sqlite'
        for command in (
            ('db', 'purge'),
            ('keys', 'rotate', 'credential'),
            ('keys', 'compromise', 'f' * 16),
        ):
            self.assert_one_line(
                ('schema', str(path), 'run "novajoin-manage db sync"'),
                *command,
            )

    def test_a_database_that_is_away(self):
        """Where it should be is told, and never the password."""
        url = 'mysql+pymysql://joe:hidden@127.0.0.1:1/novajoin'
        self.path = test_conf.write(
            self.directory, {'database': {'connection': url}}
        )
        for command in (('db', 'sync'), ('db', 'version'), ('db', 'purge')):
            self.assert_one_line(
                ('novajoin at 127.0.0.1:1', 'cannot be reached', 'see that'),
                *command,
            )
            self.assertNotIn('hidden', self.run_command(*command)[2])

    def test_database_of_a_newer_release(self):
        self.run_command('db', 'sync')
        database = engine.Database(
            'sqlite:///%s' % (self.directory / 'state' / 'novajoin.sqlite')
        )
        database.write(
            lambda tx: tx.exec_driver_sql(
                "UPDATE alembic_version SET version_num = '9999'"
            )
        )
        status, _, err = self.run_command('db', 'sync')
        self.assertEqual(1, status)
        self.assertIn('9999', err)


class PurgeTest(ManageCase):
    """What is of use goes at no age that can be asked for."""

    def setUp(self):
        super().setUp()
        self.parts.prepare()
        self.now = self.parts.clock()

    def write(self, function, *arguments, **named):
        return self.parts.database.write(
            lambda tx: function(tx, *arguments, **named)
        )

    def get_time(self, days):
        """Return the time so many days ago."""
        return self.now - datetime.timedelta(days=days)

    def purge(self, days):
        """Purge, and return what is printed: counts by the kind of row."""
        status, out, err = self.run_command('db', 'purge', '--days', str(days))
        self.assertEqual((0, ''), (status, err))
        lines = [line.rpartition(': ') for line in out.splitlines()]
        return {what: int(count) for what, _, count in lines}

    def insert_certificate(self, serial, not_after):
        self.write(
            certificates.insert,
            models.Certificate(
                serial=serial,
                instance=self.instance,
                epoch=1,
                generation=1,
                public_key_sha256=serial.encode() * 32,
                public_key=b'key',
                issuer='a' * 16,
                not_before=self.get_time(30),
                not_after=not_after,
                created_at=self.get_time(30),
            ),
        )

    def insert_service_certificate(self, name, not_after=None):
        self.write(
            service_certificates.insert,
            models.ServiceCertificate(name, 'host', b'csr', self.get_time(30)),
        )
        if not_after is not None:
            issued = models.IssuedCertificate(
                0xABC, 'a' * 16, b'der', self.get_time(30), not_after
            )
            self.write(
                service_certificates.put_certificate, name, issued, 'b' * 16
            )

    def test_nothing(self):
        self.assertEqual({0}, set(self.purge(1).values()))

    def test_events(self):
        for days in (0, 2):
            self.write(events.insert, 'test', self.get_time(days))
        self.assertEqual(0, self.purge(3)['events'])
        self.assertEqual(1, self.purge(1)['events'])
        self.assertEqual(0, self.purge(1)['events'])

    def test_processes(self):
        """Those that run hold a rotation up until they have the key."""
        for name, days in (('old', 2), ('running', 0)):
            self.write(
                processes.report,
                name,
                'server',
                'host',
                {repository.CREDENTIAL: [name]},
                self.get_time(days),
            )
        self.assertEqual(1, self.purge(1)['processes'])
        self.assertEqual(
            [frozenset({'running'})],
            self.write(
                processes.list_keys, repository.CREDENTIAL, self.get_time(9)
            ),
        )

    def test_certificates(self):
        """A row stays until no CRL with it is in use any more."""
        self.instance = str(uuid.uuid4())
        self.parts.admission.answer(
            models.VendordataPost(
                self.instance, 'project', None, 'vm', {'ipa_enroll': 'true'}
            ),
            models.Caller('req-1'),
        )
        lifetime = self.parts.conf.ca_embedded.crl_lifetime / 86400
        for serial, days in (
            ('a', -1),
            ('b', 2 * lifetime - 0.1),
            ('c', 2 * lifetime + 0.1),
        ):
            self.insert_certificate(serial, self.get_time(days))
            self.insert_service_certificate(serial, self.get_time(days))
        self.insert_service_certificate('unanswered')
        found = self.purge(1)
        self.assertEqual(1, found['expired certificates'])
        self.assertEqual(2, found['requests for service certificates'])
        self.assertEqual(0, self.purge(1)['expired certificates'])

    def test_days(self):
        """Less than a day would take what running processes reported."""
        self.write(events.insert, 'test', self.get_time(0.5))
        for days in ('0', '-1', '36501', '99999999999', 'x', '', '1.5'):
            self.assertRaises(
                SystemExit, self.run_command, 'db', 'purge', '--days=' + days
            )
        self.assertEqual(0, self.purge(36500)['events'])
        self.assertEqual(0, self.purge(1)['events'])


class ReconcileTest(ManageCase):
    """What a sweep found, in words; the sweep itself is tested elsewhere."""

    def setUp(self):
        super().setUp()
        self.run_command('db', 'sync')

    def run_with(self, result, *arguments):
        reconciliation = mock.Mock(
            spec_set=['compare', 'sweep'],
            **{'compare.return_value': result, 'sweep.return_value': result},
        )
        compute = mock.Mock(is_null=False)
        for name, value in (
            ('reconciliation', reconciliation),
            ('compute', compute),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    'novajoin.cmd.assembly.Assembly.%s' % name, value
                )
            )
        done = self.run_command('reconcile', *arguments)
        return reconciliation, *done

    def test_without_nova(self):
        status, _, err = self.run_command('reconcile')
        self.assertEqual(1, status)
        self.assertIn('[service_credentials] auth_url', err)

    def test_nothing_differs(self):
        made, status, out, _ = self.run_with(
            reconciliation_module.SweepResult(7)
        )
        self.assertEqual(0, status)
        self.assertEqual(
            '7 enrollments compared: 0 are not on the list, 0 have changed\n',
            out,
        )
        made.compare.assert_not_called()

    def test_table(self):
        result = reconciliation_module.SweepResult(
            20,
            (
                reconciliation_module.Difference(
                    'uuid-1', 'web1.example.com', models.State.ENROLLED
                ),
            ),
            (
                reconciliation_module.Difference(
                    'uuid-2',
                    'web2.example.com',
                    models.State.SUSPENDED,
                    'ACTIVE',
                ),
            ),
        )
        made, status, out, _ = self.run_with(result, '--dry-run')
        self.assertEqual(0, status)
        made.sweep.assert_not_called()
        rows = [
            [cell.strip() for cell in line.strip('| ').split('|')]
            for line in out.splitlines()
        ]
        self.assertIn(
            ['uuid-1', 'web1.example.com', 'enrolled', 'not on the list'], rows
        )
        self.assertIn(
            ['uuid-2', 'web2.example.com', 'suspended', 'ACTIVE'], rows
        )

    def test_brake(self):
        """Whoever runs it in a script hears of it."""
        difference = reconciliation_module.Difference(
            'uuid-1', 'web1.example.com', models.State.ENROLLED
        )
        _, status, out, err = self.run_with(
            reconciliation_module.SweepResult(1, (difference,), is_braked=True)
        )
        self.assertEqual(1, status)
        self.assertIn('uuid-1', out)
        self.assertIn('sweep_most_missing', err)
