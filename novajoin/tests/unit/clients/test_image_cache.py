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
from unittest import mock

from novajoin import exceptions
from novajoin.clients import base as clients_base
from novajoin.clients import image_cache
from novajoin.tests import base


class TestImageCache(base.TestCase):
    def setUp(self):
        super().setUp()
        self.client = mock.create_autospec(
            clients_base.ImageClient, instance=True
        )
        self.now = 0.0
        self.cache = image_cache.ImageCache(
            self.client, size=2, ttl=10, timer=lambda: self.now
        )

    def find(self, image='a', timeout=5):
        return self.cache.find_properties(image, timeout=timeout)

    def test_asked_once_until_it_is_old(self):
        self.client.find_properties.side_effect = [{'x': '1'}, {'x': '2'}]
        self.assertEqual({'x': '1'}, self.find())
        self.now = 9.9
        self.assertEqual({'x': '1'}, self.find())
        self.now = 10.1
        self.assertEqual({'x': '2'}, self.find())

    def test_absence_is_remembered(self):
        self.client.find_properties.return_value = None
        self.assertIsNone(self.find())
        self.assertIsNone(self.find())
        self.client.find_properties.assert_called_once_with('a', timeout=5)

    def test_a_failure_is_not_remembered(self):
        self.client.find_properties.side_effect = [
            exceptions.ImageUnavailable('away'),
            {},
        ]
        self.assertRaises(exceptions.ImageUnavailable, self.find)
        self.assertEqual({}, self.find())

    def test_least_used_goes_first(self):
        self.client.find_properties.return_value = {}
        for image in ('a', 'b', 'a', 'c', 'a'):
            self.find(image)
        self.assertEqual(
            ['a', 'b', 'c'],
            [
                call.args[0]
                for call in self.client.find_properties.call_args_list
            ],
        )

    def test_check(self):
        self.cache.check()
        self.client.check.assert_called_once_with()


class TestFlights(base.TestCase):
    """Many threads, one question."""

    def setUp(self):
        super().setUp()
        self.asked = threading.Event()
        self.answer = threading.Event()
        self.addCleanup(self.answer.set)
        self.questions = []
        self.error = None
        test = self

        class Slow(clients_base.ImageClient):
            def check(self):
                pass

            def find_properties(self, image, *, timeout):
                test.questions.append(image)
                test.asked.set()
                test.answer.wait()
                if test.error:
                    raise test.error
                return {'image': image}

        self.cache = image_cache.ImageCache(Slow(), size=9, ttl=9)
        self.results = []

    def ask(self, timeout=30):
        try:
            self.results.append(
                self.cache.find_properties('a', timeout=timeout)
            )
        except exceptions.NovajoinError as error:
            self.results.append(error)

    def start(self, count):
        threads = [threading.Thread(target=self.ask) for _ in range(count)]
        for thread in threads:
            thread.start()
        return threads

    def finish(self, threads):
        self.answer.set()
        for thread in threads:
            thread.join()

    def test_one_question(self):
        threads = self.start(8)
        self.asked.wait()
        self.finish(threads)
        self.assertEqual(['a'], self.questions)
        self.assertEqual([{'image': 'a'}] * 8, self.results)

    def test_all_hear_of_the_failure(self):
        self.error = exceptions.ImageUnavailable('away')
        first = self.start(1)
        self.asked.wait()
        others = self.start(4)
        self.finish(first + others)
        self.assertEqual(
            {exceptions.ImageUnavailable},
            {type(result) for result in self.results},
        )

    def test_who_waits_keeps_to_his_own_time(self):
        first = self.start(1)
        self.asked.wait()
        self.assertRaises(
            exceptions.ImageUnavailable,
            self.cache.find_properties,
            'a',
            timeout=0.01,
        )
        self.finish(first)
        self.assertEqual([{'image': 'a'}], self.results)
