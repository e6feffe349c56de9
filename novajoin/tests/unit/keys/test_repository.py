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

import base64
import dataclasses
import errno
import hashlib
import logging
import multiprocessing
import os
import pathlib
import pickle
import stat
import threading

import fixtures

from novajoin import exceptions
from novajoin.keys import files
from novajoin.keys import repository
from novajoin.tests import base
from novajoin.tests.unit.keys import interruption

KIND = repository.CREDENTIAL


class Ticks:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class RepositoryTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.path = self.make_directory() / 'state' / 'keys'
        self.ticks = Ticks()

    def make(self):
        return repository.Repository(self.path, clock=self.ticks)

    def make_ready(self):
        keys = self.make()
        keys.setup(KIND)
        return keys

    def get_names(self, kind=KIND):
        return sorted(os.listdir(self.path / kind))

    def get_states(self, keys):
        return [(entry.number, str(entry.state)) for entry in keys.list(KIND)]

    def get_mode(self, path):
        return stat.S_IMODE(os.lstat(path).st_mode)


class TestSetup(RepositoryTestCase):
    def test_lays_out_as_a_fernet_repository(self):
        keys = self.make_ready()
        self.assertEqual(['0', '1'], self.get_names())
        self.assertEqual(
            [(0, 'staged'), (1, 'primary')], self.get_states(keys)
        )
        for name in ('0', '1'):
            text = (self.path / KIND / name).read_bytes()
            self.assertEqual(32, len(base64.urlsafe_b64decode(text)))

    def test_nobody_else_may_read(self):
        """IDENTITY 6: directories 0700, files 0600, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        self.make_ready()
        for path in (self.path.parent, self.path, self.path / KIND):
            self.assertEqual(0o700, self.get_mode(path), path)
        for path in (
            self.path / '.lock',
            self.path / KIND / '0',
            self.path / KIND / '1',
        ):
            self.assertEqual(0o600, self.get_mode(path), path)

    def test_is_idempotent_and_then_writes_nothing(self):
        keys = self.make_ready()
        before = keys.list(KIND)
        self.useFixture(fixtures.MonkeyPatch('novajoin.keys.files.lock', None))
        self.make().setup(KIND)
        self.assertEqual(before, keys.list(KIND))

    def test_refuses_an_unknown_kind(self):
        for kind in ('payload', 'x', '../x', 'ca/root'):
            error = self.assertRaises(
                exceptions.ConfigurationError, self.make().setup, kind
            )
            self.assertIn('credential', error.message)
        self.assertFalse(self.path.exists())

    def test_completes_a_repository_without_a_staged_key(self):
        keys = self.make_ready()
        primary = keys.get_primary(KIND).id
        (self.path / KIND / '0').unlink()
        self.make().setup(KIND)
        self.assertEqual(['0', '1'], self.get_names())
        self.assertEqual(primary, self.make().get_primary(KIND).id)

    def test_belongs_to_the_owner_of_the_directory_above(self):
        """Root may set up what a service user then uses."""
        if os.geteuid() != 0:
            self.assertEqual(os.geteuid(), os.stat(self.path.parent).st_uid)
            return
        self.path.parent.mkdir()
        os.chown(self.path.parent, 12345, 12346)
        self.make_ready()
        for path in (
            self.path,
            self.path / '.lock',
            self.path / KIND,
            self.path / KIND / '0',
            self.path / KIND / '1',
        ):
            status = os.stat(path)
            self.assertEqual((12345, 12346), (status.st_uid, status.st_gid))

    def test_several_processes_make_one_repository(self):
        """IDENTITY 6: first start of several processes: a lock."""
        context = multiprocessing.get_context('fork')
        queue = context.SimpleQueue()
        barrier = context.Barrier(8)

        def start():
            keys = repository.Repository(self.path)
            barrier.wait(30)
            try:
                keys.setup(KIND)
                queue.put((keys.get_primary(KIND).id, keys.get_ids(KIND)))
            except BaseException as error:
                queue.put(repr(error))
                raise

        processes = [context.Process(target=start) for _ in range(8)]
        for process in processes:
            process.start()
        answers = [queue.get() for _ in processes]
        for process in processes:
            process.join(30)
        self.assertEqual(1, len(set(answers)))
        self.assertEqual(['0', '1'], self.get_names())

    def test_several_threads_make_one_repository(self):
        keys = self.make()
        threads = [
            threading.Thread(target=keys.setup, args=(KIND,)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(['0', '1'], self.get_names())


class TestReading(RepositoryTestCase):
    def test_key_id(self):
        """IDENTITY 6: the id is a digest, never the number of the file."""
        key = self.make_ready().get_primary(KIND)
        text = (self.path / KIND / '1').read_bytes()
        value = base64.urlsafe_b64decode(text)
        digest = hashlib.sha256(b'novajoin-key-id' + b'credential' + value)
        self.assertEqual(digest.hexdigest()[:16], key.id)
        self.assertEqual(value, key.secret)

    def test_nothing_there(self):
        keys = self.make()
        error = self.assertRaises(
            exceptions.KeyUnavailable, keys.get_primary, KIND
        )
        self.assertNotIn(str(self.path), error.message)
        self.assertRaises(exceptions.KeyUnavailable, keys.get, KIND, '0' * 16)
        self.assertEqual(frozenset(), keys.get_ids(KIND))
        for call in (keys.check, keys.list, keys.rotate):
            error = self.assertRaises(
                exceptions.ConfigurationError, call, KIND
            )
            self.assertIn('keys setup', error.message)

    def test_a_staged_key_alone_is_no_primary(self):
        self.make_ready()
        (self.path / KIND / '1').unlink()
        self.assertRaises(
            exceptions.KeyUnavailable, self.make().get_primary, KIND
        )
        self.assertRaises(
            exceptions.ConfigurationError, self.make().check, KIND
        )

    def test_get_finds_keys_of_every_state(self):
        keys = self.make_ready()
        keys.rotate(KIND)
        for entry in keys.list(KIND):
            self.assertEqual(entry.id, keys.get(KIND, entry.id).id)
        self.assertEqual(3, len(keys.get_ids(KIND)))

    def test_an_unknown_id_reads_again_at_once(self):
        keys = self.make_ready()
        keys.get_primary(KIND)
        other = self.make()
        staged = other.rotate(KIND).staged
        self.assertEqual(staged, keys.get(KIND, staged).id)

    def test_an_unknown_id_does_not_read_what_has_not_changed(self):
        keys = self.make_ready()
        keys.get_primary(KIND)
        self.useFixture(fixtures.MonkeyPatch('novajoin.keys.files.read', None))
        error = self.assertRaises(
            exceptions.KeyUnavailable, keys.get, KIND, 'f' * 16
        )
        self.assertIn('f' * 16, error.message)

    def test_a_new_primary_is_seen_within_ten_seconds(self):
        keys = self.make_ready()
        old = keys.get_primary(KIND).id
        new = self.make().rotate(KIND).promoted
        self.ticks.now = 9.9
        self.assertEqual(old, keys.get_primary(KIND).id)
        self.ticks.now = 10.1
        self.assertEqual(new, keys.get_primary(KIND).id)

    def test_reload_sees_it_at_once(self):
        keys = self.make_ready()
        keys.get_primary(KIND)
        new = self.make().rotate(KIND).promoted
        keys.reload()
        self.assertEqual(new, keys.get_primary(KIND).id)

    def test_other_names_are_not_keys(self):
        keys = self.make_ready()
        for name in ('00', '01', 'x', '-1', '1.bak', '.2.ab.tmp', '9' * 30):
            (self.path / KIND / name).write_text('x')
        self.assertEqual(2, len(self.make().list(KIND)))
        keys.check(KIND)

    def test_damage_is_named_and_shows_no_key(self):
        keys = self.make_ready()
        secret = (self.path / KIND / '1').read_text().strip()
        for text in ('', 'x', secret[:20], secret + 'AAAA', '\0' * 44, 'é'):
            (self.path / KIND / '1').write_text(text)
            error = self.assertRaises(
                exceptions.ConfigurationError, self.make().check, KIND
            )
            self.assertIn(str(self.path / KIND / '1'), error.message)
            self.assertNotIn(secret[:20], error.message)
            self.assertRaises(
                exceptions.KeyUnavailable, self.make().get_primary, KIND
            )
        # Who had read it before goes on.
        self.ticks.now = 100
        self.assertEqual(secret, _encode(keys.get_primary(KIND)))

    def test_a_vanished_repository_takes_nothing_away(self):
        keys = self.make_ready()
        primary = keys.get_primary(KIND).id
        self.path.rename(self.path.with_name('away'))
        self.ticks.now = 100
        self.assertEqual(primary, keys.get_primary(KIND).id)
        self.assertRaises(exceptions.KeyUnavailable, keys.get, KIND, 'x')

    def test_permissions_are_checked(self):
        """What others can read is refused, with the command that mends it."""
        self.make_ready()
        for path, good in (
            (self.path, 0o700),
            (self.path / KIND, 0o700),
            (self.path / KIND / '1', 0o600),
            (self.path / KIND / '0', 0o600),
        ):
            for bit in (0o040, 0o020, 0o004, 0o002, 0o001):
                path.chmod(good | bit)
                for call in (
                    self.make().check,
                    self.make().list,
                    self.make().setup,
                    self.make().rotate,
                ):
                    error = self.assertRaises(
                        exceptions.ConfigurationError, call, KIND
                    )
                    self.assertIn(
                        'chmod %04o %s' % (good, path), error.message
                    )
                self.assertRaises(
                    exceptions.KeyUnavailable, self.make().get_primary, KIND
                )
            path.chmod(good)
        self.make().check(KIND)

    def test_links_and_other_things_are_refused(self):
        self.make_ready()
        key = self.path / KIND / '1'
        for make in (
            lambda: key.symlink_to(self.path / KIND / '0'),
            lambda: os.mkfifo(key, 0o600),
            lambda: key.mkdir(0o700),
            lambda: (key.write_bytes(b'A' * 70000), key.chmod(0o600)),
        ):
            if key.is_dir():
                key.rmdir()
            else:
                key.unlink()
            make()
            error = self.assertRaises(
                exceptions.ConfigurationError, self.make().check, KIND
            )
            self.assertIn(str(key), error.message)

    def test_a_linked_directory_is_refused(self):
        self.make_ready()
        away = self.path.with_name('away')
        self.path.rename(away)
        self.path.symlink_to(away)
        self.assertRaises(
            exceptions.ConfigurationError, self.make().check, KIND
        )

    def test_readers_never_fail_while_a_writer_rotates(self):
        keys = self.make_ready()
        in_use = {keys.get_primary(KIND).id}
        stop = threading.Event()
        faults = []

        def read():
            while not stop.is_set():
                fresh = self.make()
                try:
                    fresh.get_primary(KIND)
                    fresh.get(KIND, *in_use)
                except exceptions.KeyUnavailable as error:
                    faults.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(20):
            keys.rotate(KIND, in_use=in_use)
        stop.set()
        reader.join()
        self.assertEqual([], faults)


class TestRotate(RepositoryTestCase):
    def test_staged_primary_secondary(self):
        keys = self.make_ready()
        first = keys.get_primary(KIND).id
        staged = keys.list(KIND)[0].id
        rotation = keys.rotate(KIND)
        self.assertEqual(staged, rotation.promoted)
        self.assertEqual((first,), rotation.kept)
        self.assertEqual((), rotation.removed)
        self.assertEqual(staged, keys.get_primary(KIND).id)
        self.assertEqual(
            [(0, 'staged'), (2, 'primary'), (1, 'secondary')],
            self.get_states(keys),
        )
        self.assertEqual(keys.list(KIND)[0].id, rotation.staged)

    def test_the_former_primary_stays_for_one_more_rotation(self):
        """A row may be written with it while the operator rotates."""
        keys = self.make_ready()
        first = keys.get_primary(KIND).id
        self.assertEqual((), keys.rotate(KIND).removed)
        self.assertEqual((first,), keys.rotate(KIND).removed)
        self.assertEqual(['0', '2', '3'], self.get_names())

    def test_a_secondary_goes_only_when_no_row_names_it(self):
        keys = self.make_ready()
        first = keys.get_primary(KIND).id
        second = keys.rotate(KIND, in_use={first}).promoted
        rotation = keys.rotate(KIND, in_use={first})
        self.assertEqual((), rotation.removed)
        self.assertEqual((first, second), rotation.kept)
        rotation = keys.rotate(KIND, in_use={first})
        self.assertEqual((second,), rotation.removed)
        self.assertEqual(first, keys.get(KIND, first).id)

    def test_a_primary_is_promoted_only_when_all_know_it(self):
        keys = self.make_ready()
        known = keys.get_ids(KIND)
        old = known - {keys.list(KIND)[0].id}
        before = self.get_names(), keys.list(KIND)
        error = self.assertRaises(
            exceptions.Conflict,
            keys.rotate,
            KIND,
            reported=[known, old, frozenset()],
        )
        self.assertIn('2 of 3', error.message)
        self.assertEqual(before, (self.get_names(), keys.list(KIND)))
        keys.rotate(KIND, reported=[known, known])

    def test_without_a_staged_key_one_is_staged_first(self):
        keys = self.make_ready()
        primary = keys.get_primary(KIND).id
        (self.path / KIND / '0').unlink()
        rotation = keys.rotate(KIND)
        self.assertIsNone(rotation.promoted)
        self.assertEqual(primary, keys.get_primary(KIND).id)
        self.assertEqual(rotation.staged, keys.rotate(KIND).promoted)

    def test_lock_is_waited_for_and_given_up(self):
        self.make_ready()
        with files.lock(self.path / '.lock'):
            held = files.lock(self.path / '.lock', timeout=0)
            self.assertRaises(exceptions.KeyUnavailable, held.__enter__)


class TestCompromise(RepositoryTestCase):
    def test_retire_a_primary(self):
        keys = self.make_ready()
        bad = keys.get_primary(KIND).id
        staged = keys.list(KIND)[0].id
        keys.retire(KIND, bad)
        self.assertEqual(staged, keys.get_primary(KIND).id)
        self.assertEqual(
            [(0, 'staged'), (2, 'primary'), (1, 'secondary')],
            self.get_states(keys),
        )
        keys.retire(KIND, bad)
        self.assertEqual(staged, keys.get_primary(KIND).id)
        keys.remove(KIND, bad)
        self.assertRaises(exceptions.KeyUnavailable, keys.get, KIND, bad)
        self.assertRaises(exceptions.KeyUnavailable, keys.remove, KIND, bad)

    def test_retire_a_primary_without_a_staged_key(self):
        keys = self.make_ready()
        bad = keys.get_primary(KIND).id
        (self.path / KIND / '0').unlink()
        keys.retire(KIND, bad)
        self.assertNotEqual(bad, keys.get_primary(KIND).id)
        self.assertEqual(['0', '1', '2'], self.get_names())

    def test_retire_a_staged_key(self):
        keys = self.make_ready()
        bad = keys.list(KIND)[0].id
        primary = keys.get_primary(KIND).id
        keys.retire(KIND, bad)
        self.assertNotIn(bad, keys.get_ids(KIND))
        self.assertEqual(primary, keys.get_primary(KIND).id)

    def test_unknown(self):
        keys = self.make_ready()
        self.assertRaises(
            exceptions.KeyUnavailable, keys.retire, KIND, 'f' * 16
        )

    def test_what_is_in_use_is_not_removed(self):
        keys = self.make_ready()
        for entry in keys.list(KIND):
            self.assertRaises(exceptions.Conflict, keys.remove, KIND, entry.id)


class TestLeaks(RepositoryTestCase):
    """NJ: a key is in no log line, representation, copy or error."""

    def test_a_key_does_not_show(self):
        key = self.make_ready().get_primary(KIND)
        for text in (repr(key), str(key), '%s' % key, f'{key}'):
            self.assertEqual("SymmetricKey(id='%s')" % key.id, text)
        self.assertRaises(TypeError, pickle.dumps, key)
        self.assertRaises(TypeError, dataclasses.asdict, key)

    def test_nothing_is_logged(self):
        log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        keys = self.make_ready()
        keys.rotate(KIND)
        (self.path / KIND / '0').chmod(0o644)
        self.assertRaises(
            exceptions.KeyUnavailable, self.make().get_primary, KIND
        )
        self.assertIn('chmod 0600', log.output)
        for name in self.get_names():
            text = (self.path / KIND / name).read_text().strip()
            self.assertNotIn(text, log.output)
            self.assertNotIn(base64.urlsafe_b64decode(text).hex(), log.output)


class TestInterruption(RepositoryTestCase):
    """Whoever dies, or finds the disk full, leaves something usable."""

    def setUp(self):
        super().setUp()
        # That it is called is tested; the disks of test machines are slow.
        self.useFixture(
            fixtures.MonkeyPatch('os.fsync', lambda descriptor: None)
        )

    def walk(self, action, code, prepare, work, verify):
        number = 0
        while True:
            number += 1
            self.path = self.make_directory() / 'state' / 'keys'
            facts = prepare()
            result = interruption.run(number, action, work)
            verify(facts)
            self.assertEqual(
                [],
                [n for n in self.get_names() if n.startswith('.')],
                'what was left behind was not removed',
            )
            if result == 0:
                break
            self.assertEqual(code, result, number)
        self.assertGreater(number, 8)

    def verify_setup(self, _):
        keys = self.make_ready()
        keys.check(KIND)
        self.assertEqual(2, len(keys.get_ids(KIND)))

    def prepare_rotation(self):
        keys = self.make_ready()
        keys.rotate(KIND)
        return keys, {str(e.state): e.id for e in keys.list(KIND)}

    def verify_rotation(self, facts):
        keys, before = facts
        fresh = self.make()
        now = {entry.id for entry in fresh.list(KIND)}
        primary = fresh.get_primary(KIND).id
        self.assertIn(primary, (before['primary'], before['staged']))
        self.assertLessEqual({before['primary'], before['staged']}, now)
        if before['secondary'] not in now:
            self.assertEqual(before['staged'], primary)
        # A process that runs all the while sees what a new one sees.
        keys.reload()
        self.assertEqual(primary, keys.get_primary(KIND).id)
        # And the next rotation works.
        fresh.setup(KIND)
        rotation = fresh.rotate(KIND, in_use=before.values())
        self.assertIsNotNone(rotation.promoted)
        self.assertEqual(rotation.promoted, fresh.get_primary(KIND).id)
        self.assertIn(before['primary'], fresh.get_ids(KIND))

    def rotate(self):
        self.make().rotate(KIND)

    def test_killed_in_setup(self):
        self.walk(
            interruption.die,
            9,
            lambda: None,
            self.make_ready,
            self.verify_setup,
        )

    def test_killed_in_rotate(self):
        self.walk(
            interruption.die,
            9,
            self.prepare_rotation,
            self.rotate,
            self.verify_rotation,
        )

    def test_disk_full_in_setup(self):
        self.walk(
            interruption.fill_disk,
            1,
            lambda: None,
            self.make_ready,
            self.verify_setup,
        )

    def test_disk_full_in_rotate(self):
        self.walk(
            interruption.fill_disk,
            1,
            self.prepare_rotation,
            self.rotate,
            self.verify_rotation,
        )

    def test_a_full_disk_is_named_and_changes_nothing(self):
        before = self.make_ready().list(KIND)

        def write(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.useFixture(fixtures.MonkeyPatch('os.write', write))
        error = self.assertRaises(exceptions.KeyUnavailable, self.rotate)
        self.assertIn(str(self.path), error.message)
        self.assertIn('No space left on device', error.message)
        self.assertEqual(before, self.make().list(KIND))

    def test_a_file_is_on_the_disk_before_it_has_its_name(self):
        self.make_ready()
        calls = []

        def record(name, function):
            def call(*args, **kwargs):
                result = function(*args, **kwargs)
                if name == 'open':
                    calls.append(('open', pathlib.Path(args[0]), result))
                else:
                    calls.append((name, *args))
                return result

            return call

        for name in ('open', 'fsync', 'rename'):
            self.useFixture(
                fixtures.MonkeyPatch(
                    'os.' + name, record(name, getattr(os, name))
                )
            )
        files.write(self.path / KIND / '7', b'x')
        names = [call[0] for call in calls]
        self.assertEqual(['open', 'fsync', 'rename', 'open', 'fsync'], names)
        self.assertEqual(calls[0][1:], (calls[2][1], calls[1][1]))
        self.assertEqual(self.path / KIND, calls[3][1])
        self.assertEqual(calls[3][2], calls[4][1])


def _encode(key):
    return base64.urlsafe_b64encode(key.secret).decode()
