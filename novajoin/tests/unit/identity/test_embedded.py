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
"""The embedded identity backend: what its contract does not say."""

from novajoin import exceptions
from novajoin import models
from novajoin.identity import embedded
from novajoin.tests import base

REQUEST = models.HostRequest('instance', 'project', 'web1.example.com')


class Store:
    """A store whose rows come and go as the test says."""

    def __init__(self, *found, adds=False):
        self.found = list(found)
        self.adds = adds
        self.calls = []

    def check(self):
        raise exceptions.DatabaseUnavailable

    def find_host(self, hostname):
        return self.found.pop(0)

    def add_host(self, host, project, now):
        self.calls.append('add')
        return self.adds

    def enable_host(self, host_id, enabled):
        self.calls.append(('enable', host_id, enabled))

    def remove_host(self, host_id):
        self.calls.append(('remove', host_id))


class EmbeddedIdentityTestCase(base.TestCase):
    def ensure(self, store):
        return embedded.EmbeddedIdentity(None, store).ensure(REQUEST)

    def test_check(self):
        backend = embedded.EmbeddedIdentity(None, Store())
        self.assertRaises(exceptions.Unavailable, backend.check)

    def test_no_attributes(self):
        """It has no OTP: the payload alone is the bootstrap."""
        backend = embedded.EmbeddedIdentity(None, Store())
        self.assertFalse(backend.takes_otp)
        self.assertEqual({}, backend.get_attributes('web1', None))

    def test_added_in_between(self):
        """Somebody adds the host between look and insert: ours or not."""
        ours = models.Host('id', REQUEST.hostname, REQUEST.instance)
        self.assertEqual(ours, self.ensure(Store(None, ours)))
        theirs = models.Host('id', REQUEST.hostname, 'other')
        self.assertRaises(
            exceptions.IdentityRefused, self.ensure, Store(None, theirs)
        )

    def test_came_and_went(self):
        """Nothing is known: it is tried again."""
        self.assertRaises(
            exceptions.IdentityUnavailable, self.ensure, Store(None, None)
        )

    def test_writes_nothing_when_it_is_there(self):
        ours = models.Host('id', REQUEST.hostname, REQUEST.instance)
        store = Store(ours)
        self.ensure(store)
        self.assertEqual([], store.calls)
