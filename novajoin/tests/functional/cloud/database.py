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
"""MariaDB with a data directory, a port and a user of its own."""

import os

import pymysql

from novajoin.tests.functional.cloud import environment
from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud import ports
from novajoin.tests.functional.cloud import processes as processes_module

NAME = 'mariadb'


class Database:
    """The MariaDB server of one cloud."""

    def __init__(
        self,
        plan: plan_module.Plan,
        processes: processes_module.Processes,
    ) -> None:
        self._plan = plan
        self._processes = processes
        self._directory = plan.data / 'mysql'

    def install(self) -> None:
        """Make an empty data directory.

        :raises ProcessFailed: when mariadb-install-db does.
        """
        self._directory.mkdir(mode=0o700)
        self._processes.run(
            'mariadb-install-db',
            [
                environment.find_program('mariadb-install-db'),
                '--no-defaults',
                '--auth-root-authentication-method=normal',
                '--skip-test-db',
                '--innodb-file-per-table=0',
                '--innodb-log-file-size=48M',
                '--datadir=%s' % self._directory,
                *_get_user_option(),
            ],
            environment.make_environment(self._plan),
        )

    def start(self, statements: list[str]) -> None:
        """Start the server; it runs some statements before it serves.

        What it keeps is thrown away after the run, so nothing waits for a
        disk. Its socket is named relative to the data directory, because the
        whole name of a socket may have 107 bytes only.

        :param statements: SQL, each without a line break.
        :raises ProcessFailed: when it does not come up.
        """
        first = self._plan.etc / 'mariadb.sql'
        user = "'cloud'@'%s'" % ports.LOOPBACK
        password = self._plan.password
        first.write_text(
            ';\n'.join(
                [
                    "CREATE OR REPLACE USER %s IDENTIFIED BY '%s'"
                    % (user, password),
                    'GRANT ALL ON *.* TO %s WITH GRANT OPTION' % user,
                    "ALTER USER 'root'@'localhost' IDENTIFIED BY '%s'"
                    % password,
                    *statements,
                    '',
                ]
            )
        )
        first.chmod(0o600)
        self._processes.start(
            NAME,
            [
                environment.find_program('mariadbd'),
                '--no-defaults',
                '--datadir=%s' % self._directory,
                '--socket=mariadb.sock',
                '--pid-file=mariadb.pid',
                '--tmpdir=%s' % (self._plan.run / 'tmp'),
                '--bind-address=%s' % ports.LOOPBACK,
                '--port=%d' % self._plan.ports['mariadb'],
                '--init-file=%s' % first,
                '--skip-name-resolve',
                '--max-connections=1000',
                '--character-set-server=utf8mb4',
                '--innodb-file-per-table=0',
                '--innodb-buffer-pool-size=256M',
                '--innodb-log-file-size=48M',
                '--innodb-flush-log-at-trx-commit=0',
                '--innodb-doublewrite=0',
                '--innodb-flush-method=nosync',
                *_get_user_option(),
            ],
            environment.make_environment(self._plan),
        )
        self._processes.wait_for(NAME, self._is_ready)

    def stop(self) -> None:
        """Shut the server down in order, its data complete on disk."""
        self._processes.stop(NAME)

    def create(self, name: str, charset: str = 'utf8mb4') -> str:
        """Create an empty database, in place of any that has the name.

        :returns: its SQLAlchemy URL.
        """
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute('DROP DATABASE IF EXISTS `%s`' % name)
            cursor.execute(
                'CREATE DATABASE `%s` CHARACTER SET %s' % (name, charset)
            )
        return self._plan.database_url(name)

    def _connect(self) -> pymysql.Connection:
        return pymysql.connect(
            host=ports.LOOPBACK,
            port=self._plan.ports['mariadb'],
            user='cloud',
            password=self._plan.password,
        )

    def _is_ready(self) -> bool:
        try:
            self._connect().close()
        except pymysql.OperationalError:
            return False
        return True


def _get_user_option() -> list[str]:
    """mariadbd refuses to run as root unless it is told to."""
    return ['--user=root'] if os.geteuid() == 0 else []
