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
"""IDENTITY 4: one payload, one number, however often it is rendered."""

import functools

from novajoin import exceptions
from novajoin import models
from novajoin.db import engine
from novajoin.db import payloads
from novajoin.enrollment import offers
from novajoin.tests.unit.enrollment import world

OTHER_URLS = (models.CheckinUrl('https://other.example.com:1', 0),)


class OffersTestCase(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world()
        self.instance = self.world.start()
        self.world.post(self.instance)
        self.row = self.world.find(self.instance)

    def make(self, urls):
        return offers.Offers(
            self.world.database,
            self.world.keys,
            self.world.ca,
            urls,
            self.world.clock,
        )

    def list_numbers(self):
        def read(tx):
            return [
                payloads.find(tx, self.instance, seq) is not None
                for seq in range(1, 5)
            ]

        return self.world.database.read(read)

    def test_same(self):
        """What was handed out is handed out again, under its number."""
        with self.assert_nothing_written(self.world):
            offer = self.world.offers.get(self.row, has_credential=True)
            self.assertEqual(1, offer.payload.seq)

    def test_number_grows(self):
        """+1 whenever any other byte changes; never back to an old one."""
        for urls, expected in ((OTHER_URLS, 2), (world.URLS, 3)):
            offer = self.make(urls).get(self.row, has_credential=True)
            self.assertEqual(expected, offer.payload.seq)
            self.assertEqual(
                offer.payload,
                self.make(urls).get(self.row, has_credential=True).payload,
            )
        self.assertEqual([True, True, True, False], self.list_numbers())

    def test_at_once(self):
        """Who comes at the same time gets the same number."""
        made = self.make(OTHER_URLS)
        got = self.at_once(
            *[functools.partial(made.get, self.row, has_credential=True)] * 6
        )
        self.assertEqual({2}, {offer.payload.seq for offer in got})

    def test_no_credential(self):
        offer = self.world.offers.get(self.row, has_credential=False)
        self.assertIsNone(offer.credential)
        self.assertNotIn(b'"token"', offer.payload.document)

    def test_somebody_else_takes_every_number(self):
        """Then there is no answer, rather than one with a wrong number."""

        def fail(function):
            raise engine.DuplicateRow([])

        made = self.make(OTHER_URLS)
        self.world.database.write = fail
        self.assertRaises(
            exceptions.DatabaseUnavailable,
            made.get,
            self.row,
            has_credential=True,
        )

    def test_does_not_print(self):
        offer = self.world.offers.get(self.row, has_credential=True)
        token = offer.credential.token.reveal()
        self.assertNotIn(token, repr(offer))
        self.assertIn(token.encode(), offer.payload.document)
