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
"""Where novajoin keeps its state when nobody says where."""

import pathlib

import fixtures
from oslo_config import cfg

from novajoin.conf import state
from novajoin.tests import base


class StateTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.conf = cfg.ConfigOpts()
        state.register_opts(self.conf)
        self.conf([])

    def become(self, uid, *, may_write=False):
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: uid))
        self.useFixture(
            fixtures.MonkeyPatch('os.access', lambda path, mode: may_write)
        )

    def get(self):
        return state.get_state_path(self.conf)

    def test_set(self):
        self.conf.set_override('state_path', '/some/where')
        self.assertEqual(pathlib.Path('/some/where'), self.get())

    def test_root_and_its_account(self):
        self.become(0)
        self.assertEqual(pathlib.Path('/var/lib/novajoin'), self.get())
        self.become(1000, may_write=True)
        self.assertEqual(pathlib.Path('/var/lib/novajoin'), self.get())

    def test_user(self):
        self.become(1000)
        self.useFixture(fixtures.EnvironmentVariable('XDG_STATE_HOME', '/xdg'))
        self.assertEqual(pathlib.Path('/xdg/novajoin'), self.get())
        self.useFixture(fixtures.EnvironmentVariable('XDG_STATE_HOME'))
        self.useFixture(fixtures.EnvironmentVariable('HOME', '/home/x'))
        self.assertEqual(
            pathlib.Path('/home/x/.local/state/novajoin'), self.get()
        )

    def test_database(self):
        self.conf.set_override('state_path', '/some/where')
        self.assertEqual(
            'sqlite:////some/where/novajoin.sqlite',
            state.get_database_url(self.conf),
        )
        self.conf.set_override(
            'connection', 'mysql+pymysql://x/y', group='database'
        )
        self.assertEqual(
            'mysql+pymysql://x/y', state.get_database_url(self.conf)
        )

    def test_engine_options(self):
        """oslo.db's options are passed on under the names of its engine."""
        self.conf.set_override('max_pool_size', 7, group='database')
        options = state.get_engine_options(self.conf)
        self.assertEqual(7, options['max_pool_size'])
        self.assertEqual(
            {
                'mysql_sql_mode',
                'mysql_wsrep_sync_wait',
                'connection_recycle_time',
                'max_pool_size',
                'max_overflow',
                'pool_timeout',
            },
            options.keys(),
        )
