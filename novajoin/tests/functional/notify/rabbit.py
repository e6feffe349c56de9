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
"""A RabbitMQ of a test's own, which can go away and come back."""

import pathlib
import shutil
import time

import fixtures

from novajoin.tests.functional.cloud import broker
from novajoin.tests.functional.cloud import plan
from novajoin.tests.functional.cloud import processes
from novajoin.tests.functional.cloud import watchdog

QUEUE = 'novajoin'
PATIENCE = 60


def wait_for(condition):
    """Wait until something is so.

    :raises AssertionError: it does not come
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError('%s did not come true' % condition)
        time.sleep(0.05)


class Rabbit(fixtures.Fixture):
    """A broker that is planned and not started yet.

    :ivar url: its oslo.messaging URL
    """

    def _setUp(self):
        directory = self.useFixture(fixtures.TempDir()).path
        self._plan = plan.make_plan(pathlib.Path(directory))
        for name in ('etc', 'home', 'log', 'tmp'):
            (self._plan.run / name).mkdir(parents=True)
        self.url = self._plan.transport_url
        record = self._plan.run / 'processes.json'
        self._processes = processes.Processes(record, self._plan.log)
        self._broker = broker.Broker(self._plan, self._processes)
        # Ends the broker also when this process is killed.
        watching = watchdog.start(record)
        self.addCleanup(watching.communicate)
        self.addCleanup(self._processes.stop_all)

    def start(self):
        """Start it, without anything that it had before."""
        self._broker.start()

    def stop(self):
        """End it, and with it all connections and queues."""
        self._processes.stop_all()
        shutil.rmtree(self._plan.run / broker.NAME)

    def wait_for_consumer(self):
        """Wait until somebody takes messages from novajoin's queue."""
        wait_for(lambda: self._broker.has_consumer(QUEUE))
