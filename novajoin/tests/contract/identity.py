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
"""What every identity backend keeps to.

A driver's own package tests it like this::

    class TestMyIdentity(identity.IdentityBackendContract, base.TestCase):
        def make_backend(self):
            return my_driver.MyIdentity(settings, store)

        def find_host(self, hostname):
            '''Ask the backend itself, not the driver.'''

        def add_foreign_host(self, hostname):
            '''Make a host as somebody else would; return its id.'''
"""

import concurrent.futures
import functools
import inspect
import uuid

from novajoin import exceptions
from novajoin import models
from novajoin import secret
from novajoin.identity import base

PROJECT = '1' * 32
OTP = secret.Secret('nji1' + 'a' * 32)


def make_request(hostname='web1.example.com', instance=None, **kwargs):
    return models.HostRequest(
        instance=instance or str(uuid.uuid4()),
        project=kwargs.pop('project', PROJECT),
        hostname=hostname,
        **kwargs,
    )


class IdentityBackendContract:
    """A mixin; the class beside it is a test case.

    :cvar zone: where hosts may be named
    """

    zone = 'example.com'

    def make_backend(self):
        """Return the backend, as a process of its own would make it."""
        raise NotImplementedError

    def find_host(self, hostname):
        """Return the host as the backend has it, a models.Host or None."""
        raise NotImplementedError

    def add_foreign_host(self, hostname):
        """Make a host that is not ours; return its id."""
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self.backend = self.make_backend()
        self.hostname = 'web1.' + self.zone

    def request(self, **kwargs):
        if self.backend.takes_otp:
            kwargs.setdefault('otp', OTP)
        kwargs.setdefault('hostname', self.hostname)
        return make_request(**kwargs)

    def at_once(self, *functions):
        """Run functions in threads; return results or exceptions."""
        with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
            done = [pool.submit(function) for function in functions]
            return [future.exception() or future.result() for future in done]

    # The kind.

    def test_kind(self):
        """At most six methods, and it is of the kind."""
        self.assertIsInstance(self.backend, base.IdentityBackend)
        contract = [
            name
            for name, _ in inspect.getmembers(
                base.IdentityBackend, inspect.isfunction
            )
            if not name.startswith('_')
        ]
        self.assertLessEqual(len(contract), 6)
        self.assertIsInstance(self.backend.takes_otp, bool)

    def test_validate_and_check(self):
        self.assertIsNone(self.backend.validate())
        self.assertIsNone(self.backend.check())

    def test_made_cheaply(self):
        """Made before the fork: the second one disturbs nothing."""
        host = self.backend.ensure(self.request())
        self.make_backend().validate()
        self.assertEqual(host.id, self.find_host(self.hostname).id)

    # ensure

    def test_ensure(self):
        request = self.request()
        host = self.backend.ensure(request)
        self.assertEqual(self.hostname, host.hostname)
        self.assertEqual(request.instance, host.instance)
        self.assertTrue(host.is_enabled)
        # What a column of ours can hold.
        self.assertLessEqual(len(host.id), 64)
        self.assertEqual(host.id, self.find_host(self.hostname).id)

    def test_ensure_again(self):
        """However often, by whichever process: the same id."""
        request = self.request()
        host = self.backend.ensure(request)
        for backend in (self.backend, self.make_backend()):
            self.assertEqual(host, backend.ensure(request))
        known = make_request(
            request.hostname,
            request.instance,
            otp=request.otp,
            known_id=host.id,
        )
        self.assertEqual(host, self.backend.ensure(known))

    def test_ensure_at_once(self):
        request = self.request()
        backends = [self.backend, self.make_backend()] * 4
        hosts = self.at_once(
            *[functools.partial(each.ensure, request) for each in backends]
        )
        self.assertEqual([hosts[0]] * len(backends), hosts)

    def test_ensure_of_two(self):
        """The second that wants the name is refused; the first stays."""
        first = self.backend.ensure(self.request())
        self.assertRaises(
            exceptions.IdentityRefused, self.backend.ensure, self.request()
        )
        self.assertRaises(
            exceptions.IdentityRefused,
            self.backend.ensure,
            self.request(project='2' * 32),
        )
        self.assertEqual(first.id, self.find_host(self.hostname).id)

    def test_ensure_of_two_at_once(self):
        results = self.at_once(
            *[
                functools.partial(self.backend.ensure, self.request())
                for _ in range(6)
            ]
        )
        made = [r for r in results if isinstance(r, models.Host)]
        self.assertEqual(1, len(made))
        self.assertEqual(
            5,
            sum(isinstance(r, exceptions.IdentityRefused) for r in results),
        )
        self.assertEqual(made[0].id, self.find_host(self.hostname).id)

    def test_ensure_of_a_foreign_one(self):
        """Rule 5: what is not ours is never touched."""
        foreign = self.add_foreign_host(self.hostname)
        before = self.find_host(self.hostname)
        refused = self.assertRaises(
            exceptions.IdentityRefused, self.backend.ensure, self.request()
        )
        # Safe to show to the project: nothing of whose it is.
        self.assertNotIn(foreign, refused.message)
        self.assertEqual(before, self.find_host(self.hostname))

    def test_known_id_of_a_foreign_one(self):
        """Nor by an id that the row happens to hold."""
        foreign = self.add_foreign_host(self.hostname)
        before = self.find_host(self.hostname)
        self.assertRaises(
            exceptions.IdentityRefused,
            self.backend.ensure,
            self.request(known_id=str(uuid.uuid4())),
        )
        self.assertEqual(before, self.find_host(self.hostname))
        self.assertEqual(foreign, before.id)

    def test_ensure_enables(self):
        request = self.request()
        host = self.backend.ensure(request)
        self.backend.disable(host.id)
        again = self.backend.ensure(request)
        self.assertEqual(host.id, again.id)
        self.assertTrue(again.is_enabled)
        self.assertTrue(self.find_host(self.hostname).is_enabled)

    # disable

    def test_disable(self):
        """The host stays, and what it could do is over. Idempotent."""
        host = self.backend.ensure(self.request())
        other = self.backend.ensure(self.request(hostname='web2.' + self.zone))
        for _ in range(2):
            self.backend.disable(host.id)
            self.assertEqual(host.id, self.find_host(self.hostname).id)
            self.assertFalse(self.find_host(self.hostname).is_enabled)
        self.assertTrue(self.find_host(other.hostname).is_enabled)

    def test_disable_of_none(self):
        self.backend.disable(str(uuid.uuid4()))

    # remove

    def test_remove(self):
        host = self.backend.ensure(self.request())
        other = self.backend.ensure(self.request(hostname='web2.' + self.zone))
        for _ in range(2):
            self.backend.remove(host.id)
            self.assertIsNone(self.find_host(self.hostname))
        self.assertEqual(other.id, self.find_host(other.hostname).id)

    def test_remove_of_none(self):
        self.backend.remove(str(uuid.uuid4()))

    def test_remove_goes_by_id(self):
        """A host of the same name that somebody else made stays."""
        host = self.backend.ensure(self.request())
        self.backend.remove(host.id)
        foreign = self.add_foreign_host(self.hostname)
        self.backend.remove(host.id)
        self.backend.disable(host.id)
        found = self.find_host(self.hostname)
        self.assertEqual(foreign, found.id)
        self.assertTrue(found.is_enabled)

    def test_name_after_removal(self):
        """The name is free, and its next host is another one."""
        host = self.backend.ensure(self.request())
        self.backend.remove(host.id)
        again = self.backend.ensure(self.request())
        self.assertNotEqual(host.id, again.id)

    # get_attributes

    def test_attributes(self):
        """Texts and secrets for the answer; without I/O, before the host."""
        for otp in (None, OTP):
            attributes = self.backend.get_attributes(self.hostname, otp)
            for name, value in attributes.items():
                self.assertIsInstance(name, str)
                self.assertIsInstance(value, str | secret.Secret)
                # The one-time password is a secret all the way.
                self.assertNotEqual(OTP.reveal(), value)
        self.assertIsNone(self.find_host(self.hostname))
