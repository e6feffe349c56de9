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
"""The three processes of novajoin, at work for a real OpenStack."""

from collections.abc import Callable
from collections.abc import Mapping
import functools
import os
import pathlib
import subprocess
import sys
from typing import Any

import sqlalchemy as sa

from novajoin.db import tables
from novajoin.tests.functional import service
from novajoin.tests.functional.cloud import cloud as cloud_module

DATABASE = 'novajoin'


class CloudService(service.Service):
    """novajoin as an operator sets it up: keystone, a database, RabbitMQ.

    :param directory: an empty directory for state, logs and configuration
    :param cloud: whose vendordata target it is
    :param create_database: makes an empty database and returns its URL; the
        cloud's MariaDB does unless another one is to
    """

    def __init__(
        self,
        directory: pathlib.Path,
        cloud: cloud_module.Cloud,
        create_database: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(directory, auto=False)
        self._cloud = cloud
        self._create_database = create_database or functools.partial(
            cloud.create_database, DATABASE
        )
        self.api_port = cloud.vendordata_port

    def _setUp(self) -> None:
        url = self._create_database()
        self._options = self._make_options(url)
        super()._setUp()
        self._engine = sa.create_engine(url)
        self.addCleanup(self._engine.dispose)
        self.manage('db', 'sync')
        self.manage('keys', 'setup')
        self.start(*self.programs)

    def _make_options(self, url: str) -> dict[str, dict[str, str | None]]:
        credentials = {
            'auth_type': 'password',
            'auth_url': self._cloud.auth_url,
            'username': 'novajoin',
            'password': self._cloud.plan.password,
            'user_domain_id': 'default',
            'project_name': 'service',
            'project_domain_id': 'default',
        }
        return {
            'DEFAULT': {'transport_url': self._cloud.transport_url},
            'api': {'auth_strategy': 'keystone'},
            'database': {'connection': url},
            'keystone_authtoken': {
                **credentials,
                'www_authenticate_uri': self._cloud.auth_url,
            },
            'notify': {'outbox_interval': '1', 'crl_interval': '1'},
            'service_credentials': credentials,
        }

    def manage(self, *arguments: str) -> str:
        """Run novajoin-manage.

        :raises AssertionError: with what it said, when it fails
        """
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'novajoin.cmd.manage'),
                *('--config-file', self.conf_path),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(
                'novajoin-manage %s: %d\n%s%s'
                % (arguments, done.returncode, done.stdout, done.stderr)
            )
        return done.stdout

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Call the API as the cloud's admin, unless headers are given."""
        if headers is None:
            headers = {'X-Auth-Token': self._cloud.get_token('admin')}
        return super().call(method, path, body, headers)

    def call_as(
        self, user: str, method: str, path: str, body: Any = None
    ) -> tuple[int, Any]:
        """Call the API as another user."""
        token = self._cloud.get_token(user)
        return self.call(method, path, body, {'X-Auth-Token': token})

    def find_enrollment(self, instance: str) -> Any:
        """Return an enrollment as the API shows it, or None."""
        status, answer = self.call('GET', '/v1/enrollments/%s' % instance)
        if status == 404:
            return None
        return answer['enrollment']

    def list_certificates(self, instance: str) -> Any:
        """Return the certificates of an instance as the API shows them."""
        _, answer = self.call('GET', '/v1/certificates?instance=' + instance)
        return answer['certificates']

    def list_hosts(self) -> list[str]:
        """Return the hostnames that the embedded backend has."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(tables.hosts.c.hostname)))

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name of what its database is."""
        return str(self._engine.dialect.name)

    def dump(self) -> bytes:
        """Return all that is in the database, value by value."""
        values: list[bytes] = []
        with self._engine.connect() as connection:
            for table in tables.metadata.sorted_tables:
                for row in connection.execute(sa.select(table)):
                    values += [
                        value
                        if isinstance(value, bytes)
                        else repr(value).encode()
                        for value in row
                    ]
        return b'\n'.join(values)

    def count_rows(self) -> dict[str, int]:
        """Return the number of rows of each table that instances fill."""
        with self._engine.connect() as connection:
            return {
                table.name: connection.scalar(
                    sa.select(sa.func.count()).select_from(table)
                )
                for table in (
                    tables.enrollments,
                    tables.events,
                    tables.hosts,
                    tables.names,
                    tables.outbox,
                )
            }

    def run_guest_on_metadata(
        self, url: str, state: pathlib.Path
    ) -> subprocess.CompletedProcess[str]:
        """Have the guest client enroll from a metadata service."""
        return subprocess.run(
            [
                *('sh', service.GUEST, 'enroll'),
                *('--metadata-url', url, '--state-dir', state),
                *('--no-clock', '--timeout', '60'),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, 'NO_PROXY': '*'},
            check=False,
        )
