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
"""Database servers of a test class's own, on loopback ports of its choice."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import psycopg2
import psycopg2.extensions
import pymysql

from novajoin.tests.functional.cloud import ports

_PATH = ':'.join(
    [
        os.environ.get('PATH', os.defpath),
        '/usr/sbin',
        *map(str, sorted(pathlib.Path('/usr/lib/postgresql').glob('*/bin'))),
    ]
)
_READY = 60


class Server:
    """A server that keeps nothing when it stops."""

    #: The account that runs it where the tests run as root.
    account = None

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='novajoin-db-'))
        self.port = ports.choose_ports(['database'])['database']
        self._process = None
        self._count = 0

    def find(self, program):
        found = shutil.which(program, path=_PATH)
        if found is None:
            raise AssertionError(
                '%s is not installed; see bindep.txt' % program
            )
        return found

    def wrap(self, command):
        """Return a command as the server's own account runs it."""
        if self.account is None or os.geteuid() != 0:
            return command
        return [
            self.find('setpriv'),
            '--reuid=%s' % self.account,
            '--regid=%s' % self.account,
            '--clear-groups',
            *command,
        ]

    def run(self, command):
        subprocess.run(
            self.wrap(command),
            check=True,
            cwd=self.directory,
            capture_output=True,
            timeout=120,
        )

    def start(self):
        """Make its data and start it; returns when it answers."""
        if self.account is not None and os.geteuid() == 0:
            shutil.chown(self.directory, self.account, self.account)
        self.prepare()
        log = self.directory / 'log'
        with log.open('wb') as stream:
            self._process = subprocess.Popen(
                self.wrap(self.get_command()),
                cwd=self.directory,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
            )
        end = time.monotonic() + _READY
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(
                pymysql.OperationalError, psycopg2.OperationalError
            ):
                self.execute('SELECT 1')
                return
            time.sleep(0.1)
        raise AssertionError(log.read_text())

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)

    def create(self):
        """Return the URL of a new, empty database."""
        self._count += 1
        name = 'novajoin%d' % self._count
        self.execute('CREATE DATABASE %s' % name)
        return self.get_url(name)


class MariaDB(Server):
    account = 'mysql'

    def prepare(self):
        self.run(
            [
                self.find('mariadb-install-db'),
                '--no-defaults',
                '--auth-root-authentication-method=normal',
                '--skip-test-db',
                '--datadir=%s' % (self.directory / 'data'),
            ]
        )

    def get_command(self):
        return [
            self.find('mariadbd'),
            '--no-defaults',
            '--datadir=%s' % (self.directory / 'data'),
            '--socket=mariadb.sock',
            '--pid-file=mariadb.pid',
            '--bind-address=%s' % ports.LOOPBACK,
            '--port=%d' % self.port,
            '--skip-name-resolve',
            '--max-connections=1000',
            '--innodb-buffer-pool-size=64M',
            '--innodb-flush-log-at-trx-commit=0',
        ]

    def execute(self, statement):
        with (
            pymysql.connect(
                unix_socket=str(self.directory / 'data' / 'mariadb.sock'),
                user='root',
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    def create(self):
        self.execute(
            "CREATE OR REPLACE USER 'novajoin'@'%s' IDENTIFIED BY 'x'"
            % ports.LOOPBACK
        )
        self.execute("GRANT ALL ON *.* TO 'novajoin'@'%s'" % ports.LOOPBACK)
        return super().create()

    def get_url(self, name):
        return 'mysql+pymysql://novajoin:x@%s:%d/%s?charset=utf8mb4' % (
            ports.LOOPBACK,
            self.port,
            name,
        )


class PostgreSQL(Server):
    account = 'postgres'

    def prepare(self):
        self.run(
            [
                self.find('initdb'),
                '--pgdata=%s' % (self.directory / 'data'),
                '--username=novajoin',
                '--auth=trust',
                '--encoding=UTF8',
                '--no-locale',
                '--no-sync',
            ]
        )

    def get_command(self):
        return [
            self.find('postgres'),
            '-D',
            str(self.directory / 'data'),
            '-p',
            str(self.port),
            '-c',
            'listen_addresses=%s' % ports.LOOPBACK,
            '-c',
            'unix_socket_directories=',
            '-c',
            'fsync=off',
            '-c',
            'max_connections=1000',
        ]

    def execute(self, statement):
        connection = psycopg2.connect(
            host=ports.LOOPBACK,
            port=self.port,
            user='novajoin',
            dbname='postgres',
        )
        try:
            connection.set_isolation_level(
                psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT
            )
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def get_url(self, name):
        return 'postgresql+psycopg2://novajoin@%s:%d/%s' % (
            ports.LOOPBACK,
            self.port,
            name,
        )
