# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The base class of every test."""

import datetime
import os
import pathlib

import fixtures
import hypothesis
from oslotest import base

# A shared, busy machine says nothing about speed, so no example is timed.
hypothesis.settings.register_profile(
    'novajoin',
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile('novajoin')


class TestCase(base.BaseTestCase):
    """A test with captured output and logs, and an isolated environment.

    What oslotest does comes first: a time-out (OS_TEST_TIMEOUT seconds),
    captured stdout, stderr and log records, and a temporary directory as
    home. On top of it a warning raised by a module of ours is an error, and
    no configuration or state of the user who runs the tests is found.
    """

    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.WarningsFilter(
                [{'action': 'error', 'module': r'novajoin(\.|$)'}]
            )
        )
        home = os.environ['HOME']  # a temporary one by now
        for name, folder in (
            ('XDG_STATE_HOME', 'state'),
            ('XDG_CONFIG_HOME', 'config'),
            ('XDG_RUNTIME_DIR', 'run'),
        ):
            self.useFixture(
                fixtures.EnvironmentVariable(
                    name, str(pathlib.Path(home, folder))
                )
            )

    def make_directory(self) -> pathlib.Path:
        """Return a new empty directory that goes with the test."""
        return pathlib.Path(self.useFixture(fixtures.TempDir()).path)


class Clock:
    """A clock that stands still until a test moves it.

    :param now: where it starts, in UTC; a whole second by default.
    """

    def __init__(self, now: datetime.datetime | None = None) -> None:
        self.now = now or datetime.datetime(
            2026, 11, 21, 8, 0, tzinfo=datetime.timezone.utc
        )

    def __call__(self) -> datetime.datetime:
        return self.now

    def advance(self, seconds: float) -> datetime.datetime:
        """Move the clock by some seconds and return the new time."""
        self.now += datetime.timedelta(seconds=seconds)
        return self.now
