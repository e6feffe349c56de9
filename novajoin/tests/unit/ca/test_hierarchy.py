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

import datetime
import logging
import multiprocessing
import shutil

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
import fixtures
import testscenarios

from novajoin import exceptions
from novajoin.ca import constraints
from novajoin.ca import hierarchy
from novajoin.ca import maker
from novajoin.ca import profiles
from novajoin.keys import authorities
from novajoin.keys import repository
from novajoin.tests import base
from novajoin.tests.unit.ca import stores
from novajoin.tests.unit.keys import interruption

KINDS = (hierarchy.ROOT, hierarchy.SERVICE, hierarchy.INSTANCE)


def get_pem(key, encryption):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption,
    )


class HierarchyTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = self.make_directory() / 'state' / 'keys'
        self.clock = base.Clock()
        self.ticks = 0.0
        self.issuers = frozenset()
        # That it is called is tested; the disks of test machines are slow.
        self.useFixture(
            fixtures.MonkeyPatch('os.fsync', lambda descriptor: None)
        )

    def make(self, names=stores.CONSTRAINTS, **changes):
        settings = {
            'create': True,
            'name': 'novajoin',
            'key_type': 'ec-p256',
            'root_lifetime': datetime.timedelta(days=7300),
            'intermediate_lifetime': datetime.timedelta(days=1825),
            'extended_key_usages': ('clientAuth', 'serverAuth'),
            'networks': (),
        }
        return hierarchy.Hierarchy(
            repository.Repository(self.path),
            maker.Settings(**settings | changes),
            names,
            list_issuers=lambda now: self.issuers,
            clock=self.clock,
            ticks=lambda: self.ticks,
        )

    def get_ids(self, known=None):
        known = known or self.make()
        return {kind: known.get_active(kind).id for kind in KINDS}

    def get_directory(self, kind):
        return self.path / kind / self.get_ids()[kind]


class TestCreate(HierarchyTestCase):
    def test_layout(self):
        ids = self.get_ids()
        for kind, authority_id in ids.items():
            directory = self.path / kind
            self.assertEqual(
                {authority_id, 'states.json'},
                {path.name for path in directory.iterdir()},
            )
            names = {p.name for p in (directory / authority_id).iterdir()}
            self.assertEqual({'key.pem', 'certificate.pem'}, names)
        for path in self.path.rglob('*'):
            mode = path.stat().st_mode & 0o777
            self.assertEqual(0o700 if path.is_dir() else 0o600, mode, path)

    def test_is_idempotent(self):
        self.assertEqual(self.get_ids(), self.get_ids())

    def test_several_processes_agree_on_one_root(self):
        """Server, check-in and notify start together on a new machine."""
        context = multiprocessing.get_context('fork')
        queue = context.SimpleQueue()
        barrier = context.Barrier(6)

        def start():
            known = self.make()
            barrier.wait(30)
            try:
                queue.put(tuple(self.get_ids(known).values()))
            except BaseException as error:
                queue.put(repr(error))
                raise

        processes = [context.Process(target=start) for _ in range(6)]
        for process in processes:
            process.start()
        answers = {queue.get() for _ in processes}
        for process in processes:
            process.join(30)
        self.assertEqual(1, len(answers))
        for kind in KINDS:
            self.assertEqual(2, len(list((self.path / kind).iterdir())))

    def test_not_where_it_is_turned_off(self):
        error = self.assertRaises(
            exceptions.CAUnavailable,
            self.make(create=False).get_active,
            hierarchy.ROOT,
        )
        self.assertIn('[ca_embedded] create', error.message)
        self.assertFalse(self.path.exists())
        ids = self.get_ids()
        self.assertEqual(ids, self.get_ids(self.make(create=False)))

    def test_not_where_another_host_has_made_one(self):
        """A lost or unmounted directory does not split the cloud."""
        self.issuers = frozenset({'0123456789abcdef'})
        error = self.assertRaises(
            exceptions.CAUnavailable, self.make().get_active, hierarchy.ROOT
        )
        self.assertIn('0123456789abcdef', error.message)
        self.assertFalse((self.path / 'ca').exists())
        self.issuers = frozenset()
        self.issuers = {self.get_ids()[hierarchy.INSTANCE]}
        self.get_ids()

    def test_not_while_the_database_is_away(self):
        def list_issuers(now):
            raise exceptions.DatabaseUnavailable

        known = self.make()
        known._list_issuers = list_issuers
        self.assertRaises(
            exceptions.DatabaseUnavailable, known.get_active, hierarchy.ROOT
        )
        ids = self.get_ids()
        # Nobody asks it once there is a root.
        self.assertEqual(ids, self.get_ids(known))

    def test_check_makes_nothing(self):
        self.make().check()
        self.assertFalse(self.path.exists())

    def test_certificates(self):
        known = self.make()
        root, service, instance = (
            known.get_active(kind).certificate for kind in KINDS
        )
        now = self.clock()
        for certificate, days, length in (
            (root, 7300, 1),
            (service, 1825, 0),
            (instance, 1825, 0),
        ):
            self.assertEqual(
                now + datetime.timedelta(days=days),
                certificate.not_valid_after_utc,
            )
            self.assertLess(certificate.not_valid_before_utc, now)
            self.assertLess(0, certificate.serial_number)
            self.assertLessEqual(certificate.serial_number.bit_length(), 127)
            extensions = certificate.extensions
            limits = extensions.get_extension_for_class(x509.BasicConstraints)
            self.assertTrue(limits.critical)
            self.assertEqual(length, limits.value.path_length)
            usage = extensions.get_extension_for_class(x509.KeyUsage)
            self.assertTrue(usage.critical)
            self.assertEqual(
                profiles.make_key_usage('key_cert_sign', 'crl_sign'),
                usage.value,
            )
        for certificate, usages in (
            (service, ['serverAuth']),
            (instance, ['clientAuth', 'serverAuth']),
        ):
            names = certificate.extensions.get_extension_for_class(
                x509.NameConstraints
            )
            self.assertTrue(names.critical)
            self.assertEqual(
                list(profiles.get_extended_key_usages(usages)),
                list(
                    certificate.extensions.get_extension_for_class(
                        x509.ExtendedKeyUsage
                    ).value
                ),
            )

    def test_instance_constraints_to_the_letter(self):
        """IDENTITY 5, with nothing about URIs."""
        value = (
            self.make()
            .get_active(hierarchy.INSTANCE)
            .certificate.extensions.get_extension_for_class(
                x509.NameConstraints
            )
            .value
        )
        self.assertEqual(
            ['cloud.example.org', 'example.com'],
            [name.value for name in value.permitted_subtrees],
        )
        self.assertEqual(
            ['join.example.com', '0.0.0.0/0', '::/0'],
            [str(name.value) for name in value.excluded_subtrees],
        )

    def test_an_intermediate_does_not_outlive_its_root(self):
        known = self.make(
            root_lifetime=datetime.timedelta(days=30),
            intermediate_lifetime=datetime.timedelta(days=60),
        )
        self.assertEqual(
            known.get_active(hierarchy.ROOT).not_after,
            known.get_active(hierarchy.INSTANCE).not_after,
        )

    def test_a_root_without_a_zone_is_not_made(self):
        names = constraints.Constraints(frozenset(), frozenset({'j.x'}))
        self.assertRaises(
            exceptions.ConfigurationError, self.make(names).check
        )
        self.assertRaises(
            exceptions.CAUnavailable, self.make(names).get_active, KINDS[0]
        )


class TestKeyTypes(testscenarios.WithScenarios, HierarchyTestCase):
    scenarios = [(name, {'name': name}) for name in profiles.KEY_TYPES]

    def test_key_type(self):
        known = self.make(key_type=self.name, name='Example Cloud')
        for kind in KINDS:
            authority = known.get_active(kind)
            self.assertEqual(
                self.name, profiles.find_key_type(authority.key).name
            )
            self.assertEqual(
                profiles.KEY_TYPES[self.name].hash.name,
                authority.certificate.signature_hash_algorithm.name,
            )
            self.assertIn(
                'CN=Example Cloud ',
                authority.certificate.subject.rfc4514_string(),
            )


class TestReading(HierarchyTestCase):
    def assertUnavailable(self, kind=hierarchy.INSTANCE):
        log = self.useFixture(fixtures.FakeLogger(level=logging.ERROR))
        error = self.assertRaises(
            exceptions.CAUnavailable, self.make().get_active, kind
        )
        # The message goes to whoever asked, the path into the log.
        self.assertNotIn(str(self.path), error.message)
        return log.output

    def test_a_process_without_one_key_does_everything_else(self):
        """The key of the service intermediate is with novajoin-notify."""
        (self.get_directory(hierarchy.SERVICE) / 'key.pem').unlink()
        known = self.make()
        known.check()
        service = known.get_active(hierarchy.SERVICE)
        self.assertRaises(exceptions.CAUnavailable, service.get_key)
        known.get_active(hierarchy.INSTANCE).get_key()

    def test_a_process_without_a_whole_intermediate(self):
        ids = self.get_ids()
        (self.get_directory(hierarchy.ROOT) / 'key.pem').unlink()
        shutil.rmtree(self.path / hierarchy.SERVICE)
        known = self.make()
        known.check()
        self.assertEqual(
            ids[hierarchy.INSTANCE], known.get_active(hierarchy.INSTANCE).id
        )
        self.assertRaises(
            exceptions.CAUnavailable, known.get_active, hierarchy.SERVICE
        )

    def test_the_root_key_may_be_offline(self):
        key = self.get_directory(hierarchy.ROOT) / 'key.pem'
        data = key.read_bytes()
        key.unlink()
        known = self.make()
        known.get_active(hierarchy.INSTANCE).get_key()
        error = self.assertRaises(
            exceptions.CAUnavailable,
            known.rotate,
            hierarchy.INSTANCE,
            reported=(),
            in_use=(),
        )
        self.assertIn('key.pem', error.message)
        key.write_bytes(data)
        key.chmod(0o600)
        # It is found again without a restart.
        known.rotate(hierarchy.INSTANCE, reported=(), in_use=())

    def test_others_may_not_read(self):
        for kind in KINDS:
            key = self.get_directory(kind) / 'key.pem'
            key.chmod(0o640)
            self.assertIn('chmod 0600', self.assertUnavailable())
            self.assertRaises(exceptions.ConfigurationError, self.make().check)
            key.chmod(0o600)
            key.parent.chmod(0o750)
            self.assertIn('chmod 0700', self.assertUnavailable())
            key.parent.chmod(0o700)
        self.make().check()

    def test_damage_is_named_and_shows_no_key(self):
        directory = self.get_directory(hierarchy.INSTANCE)
        secret = (directory / 'key.pem').read_text().splitlines()[1]
        for name in ('key.pem', 'certificate.pem'):
            good = (directory / name).read_bytes()
            for bad in (b'', b'x', good[:100], good[:-60], b'\xff' * 99):
                (directory / name).write_bytes(bad)
                output = self.assertUnavailable()
                self.assertIn(directory.name, output)
                self.assertNotIn(secret, output)
            (directory / name).write_bytes(good)
        for bad in (
            b'',
            b'[]',
            b'{"x": "active"}',
            b'{"%s": 1}' % (b'0' * 16),
        ):
            (directory.parent / 'states.json').write_bytes(bad)
            self.assertIn('states.json', self.assertUnavailable())

    def test_foreign_keys_and_certificates(self):
        directory = self.get_directory(hierarchy.INSTANCE)
        key = ed25519.Ed25519PrivateKey.generate()
        encrypted = serialization.BestAvailableEncryption(b'x')
        now = self.clock()
        certificate = (
            x509.CertificateBuilder()
            .issuer_name(x509.Name([]))
            .subject_name(x509.Name([]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, None)
            .public_bytes(serialization.Encoding.PEM)
        )
        for name, data in (
            ('key.pem', get_pem(key, serialization.NoEncryption())),
            ('key.pem', get_pem(key, encrypted)),
            ('certificate.pem', certificate),
        ):
            good = (directory / name).read_bytes()
            (directory / name).write_bytes(data)
            self.assertIn('damaged or encrypted', self.assertUnavailable())
            (directory / name).write_bytes(good)

    def test_parts_of_different_cas(self):
        service = self.get_directory(hierarchy.SERVICE)
        instance = self.get_directory(hierarchy.INSTANCE)
        for name in ('key.pem', 'certificate.pem'):
            good = (instance / name).read_bytes()
            (instance / name).write_bytes((service / name).read_bytes())
            self.assertIn('belong together', self.assertUnavailable())
            (instance / name).write_bytes(good)

    def test_a_missing_certificate(self):
        path = self.get_directory(hierarchy.ROOT) / 'certificate.pem'
        path.unlink()
        self.assertIn('is missing', self.assertUnavailable())

    def test_what_vanishes_while_it_is_used_stays_and_is_not_replaced(self):
        known = self.make()
        ids = self.get_ids(known)
        away = self.path.with_name('away')
        self.path.rename(away)
        self.ticks += 100
        self.assertEqual(ids, self.get_ids(known))
        self.assertFalse(self.path.exists())
        away.rename(self.path)
        (self.path / hierarchy.ROOT / 'states.json').chmod(0o644)
        self.ticks += 100
        self.assertEqual(ids, self.get_ids(known))

    def test_unchanged_files_are_not_read_again(self):
        known = self.make()
        first = known.get_active(hierarchy.INSTANCE)
        self.ticks += 100
        self.assertIs(first, known.get_active(hierarchy.INSTANCE))

    def test_a_key_does_not_show(self):
        known = self.make()
        authority = known.get_active(hierarchy.INSTANCE)
        self.assertNotIn('key=', repr(authority))

    def test_check_against_the_configuration(self):
        self.get_ids()
        for zones, checkin in (
            ({'example.net'}, {'join.example.com'}),
            ({'example.com'}, {'join2.example.com'}),
            ({'example.com'}, {'join.example.net'}),
        ):
            names = constraints.Constraints(
                frozenset(zones), frozenset(checkin)
            )
            self.assertRaises(
                exceptions.ConfigurationError, self.make(names).check
            )

    def test_check_against_the_usages(self):
        """What the intermediate does not permit needs another one."""
        self.make(extended_key_usages=('clientAuth',)).get_active(
            hierarchy.INSTANCE
        )
        known = self.make(
            extended_key_usages=('clientAuth', 'ipsecIKE', 'serverAuth')
        )
        error = self.assertRaises(exceptions.ConfigurationError, known.check)
        self.assertEqual('[ca_embedded] extended_key_usages', error.option)
        self.assertIn('permit ipsecIKE, serverAuth.', error.message)
        self.assertIn('novajoin-manage keys rotate ca/instance', error.message)
        known.rotate(hierarchy.INSTANCE, reported=(), in_use=())
        known.check()
        # One that may do more is no fault.
        self.make(extended_key_usages=('clientAuth',)).check()


class TestRotate(HierarchyTestCase):
    def rotate(self, known, kind=hierarchy.INSTANCE, reported=(), in_use=()):
        return known.rotate(kind, reported=reported, in_use=in_use)

    def get_states(self, kind=hierarchy.INSTANCE):
        return [
            (a.id, str(a.state))
            for a in authorities.Authorities(self.path).list(kind)
        ]

    def test_at_once_with_nobody_running(self):
        old = self.get_ids()
        rotation = self.rotate(self.make())
        self.assertIsNone(rotation.staged)
        self.assertEqual((old[hierarchy.INSTANCE],), rotation.kept)
        self.assertEqual(
            [
                (rotation.promoted, 'active'),
                (old[hierarchy.INSTANCE], 'retiring'),
            ],
            self.get_states(),
        )
        new = self.get_ids()
        self.assertEqual(rotation.promoted, new[hierarchy.INSTANCE])
        self.assertEqual(old[hierarchy.ROOT], new[hierarchy.ROOT])
        self.assertEqual(old[hierarchy.SERVICE], new[hierarchy.SERVICE])

    def test_in_two_steps_while_processes_run(self):
        known = self.make()
        old = self.get_ids(known)[hierarchy.INSTANCE]
        keys = repository.Repository(self.path)
        before = keys.get_ids(hierarchy.INSTANCE)
        first = self.rotate(known, reported=[before])
        self.assertIsNone(first.promoted)
        self.assertEqual(old, known.get_active(hierarchy.INSTANCE).id)
        self.assertRaises(
            exceptions.Conflict, self.rotate, known, reported=[before]
        )
        after = keys.get_ids(hierarchy.INSTANCE)
        self.assertEqual(before | {first.staged}, after)
        second = self.rotate(known, reported=[after])
        self.assertEqual(first.staged, second.promoted)
        self.assertEqual(second.promoted, self.get_states()[0][0])

    def test_a_retiring_one_goes_when_nothing_valid_is_of_it(self):
        known = self.make()
        first = self.get_ids(known)[hierarchy.INSTANCE]
        second = self.rotate(known).promoted
        self.rotate(known, in_use={first})
        self.assertIn((first, 'retiring'), self.get_states())
        rotation = self.rotate(known, in_use={second})
        self.assertEqual((first,), rotation.removed)
        self.assertFalse((self.path / hierarchy.INSTANCE / first).exists())
        self.assertIn((second, 'retiring'), self.get_states())

    def test_another_process_sees_it_within_ten_seconds(self):
        other = self.make()
        old = self.get_ids(other)[hierarchy.INSTANCE]
        new = self.rotate(self.make()).promoted
        self.ticks = 9.0
        self.assertEqual(old, other.get_active(hierarchy.INSTANCE).id)
        self.ticks = 11.0
        self.assertEqual(new, other.get_active(hierarchy.INSTANCE).id)
        self.assertEqual(
            [new, old], [a.id for a in other.list(hierarchy.INSTANCE)]
        )

    def test_for_a_new_zone_and_a_new_check_in_name(self):
        """What the start-up check told the operator to do helps."""
        self.get_ids()
        names = constraints.Constraints(
            frozenset({'example.net'}), frozenset({'join.example.net'})
        )
        known = self.make(names)
        self.assertRaises(exceptions.ConfigurationError, known.check)
        self.rotate(known, hierarchy.INSTANCE)
        self.assertRaises(exceptions.ConfigurationError, known.check)
        self.rotate(known, hierarchy.SERVICE)
        known.check()
        self.make(names).check()

    def test_a_root_cannot_be_rotated(self):
        known = self.make()
        for kind in (hierarchy.ROOT, 'credential', 'ca/x'):
            self.assertRaises(
                exceptions.ConfigurationError, self.rotate, known, kind
            )


class TestInterruption(HierarchyTestCase):
    """IDENTITY 6: who dies, or finds the disk full, does no harm."""

    def walk(self, action, work, prepare, verify):
        number = 0
        result = None
        while result != 0:
            number += 1
            self.path = self.make_directory() / 'keys'
            facts = prepare()
            result = interruption.run(number, action, work)
            self.assertIn(result, (0, 1, 9), number)
            verify(facts)
        self.assertGreater(number, 20)

    def create(self):
        self.get_ids()

    def verify_creation(self, _):
        root = authorities.Authorities(self.path).list(hierarchy.ROOT)
        ids = self.get_ids()
        # A root that was once to be seen is the root.
        if root:
            self.assertEqual(root[0].id, ids[hierarchy.ROOT])
        for kind in KINDS:
            self.assertEqual(
                {ids[kind], 'states.json'},
                {path.name for path in (self.path / kind).iterdir()},
            )
        self.make().check()

    def rotate(self):
        self.make().rotate(hierarchy.INSTANCE, reported=(), in_use=())

    def prepare_rotation(self):
        known = self.make()
        ids = self.get_ids(known)
        self.rotate()
        return ids

    def verify_rotation(self, first):
        known = self.make()
        ids = self.get_ids(known)
        self.assertEqual(first[hierarchy.ROOT], ids[hierarchy.ROOT])
        self.assertNotEqual(first[hierarchy.INSTANCE], ids[hierarchy.INSTANCE])
        self.rotate()
        self.rotate()
        path = self.path / hierarchy.INSTANCE
        states = authorities.Authorities(self.path).list(hierarchy.INSTANCE)
        self.assertEqual(
            {a.id for a in states} | {'states.json'},
            {entry.name for entry in path.iterdir()},
        )

    def test_killed_when_it_makes_the_cas(self):
        self.walk(
            interruption.die, self.create, lambda: None, self.verify_creation
        )

    def test_disk_full_when_it_makes_the_cas(self):
        self.walk(
            interruption.fill_disk,
            self.create,
            lambda: None,
            self.verify_creation,
        )

    def test_killed_when_it_rotates(self):
        self.walk(
            interruption.die,
            self.rotate,
            self.prepare_rotation,
            self.verify_rotation,
        )
