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
"""What every part of one cloud has to agree on."""

from collections.abc import Mapping
import dataclasses
import json
import os
import pathlib
import secrets

from novajoin.tests.functional.cloud import ports

PORTS = (
    'mariadb',
    'rabbitmq',
    'epmd',
    'erlang',
    'keystone',
    'glance',
    'placement',
    'neutron',
    'cinder',
    'nova',
    'metadata',
    'vendordata',
)
REGION = 'RegionOne'
_FILE = 'plan.json'


@dataclasses.dataclass(frozen=True)
class Plan:
    """Directories, ports and passwords of one cloud.

    `directory` is kept from run to run: the virtual environment of the
    services and the seed. What belongs to one run is below `run`: `data`
    (made from the seed), `etc`, `log`, and whatever the services write.

    :ivar ports: one port for each name in `PORTS`; `vendordata` is left to
        novajoin-server, nova's dynamic vendordata target.
    :ivar password: of every user of the database, the broker and keystone.
    :ivar secret: nova's metadata_proxy_shared_secret.
    """

    directory: pathlib.Path
    ports: Mapping[str, int]
    password: str
    secret: str

    @property
    def run(self) -> pathlib.Path:
        return self.directory / 'run'

    @property
    def data(self) -> pathlib.Path:
        return self.run / 'data'

    @property
    def etc(self) -> pathlib.Path:
        return self.run / 'etc'

    @property
    def log(self) -> pathlib.Path:
        return self.run / 'log'

    @property
    def static_vendordata(self) -> pathlib.Path:
        """The file that nova reads for vendor_data.json, at any request."""
        return self.etc / 'vendordata.json'

    @property
    def instances(self) -> pathlib.Path:
        """The directory with one directory for each config drive."""
        return self.run / 'instances'

    @property
    def seed(self) -> pathlib.Path:
        return self.directory / 'seed'

    @property
    def venv(self) -> pathlib.Path:
        return self.directory / 'venv'

    def url(self, name: str, path: str = '') -> str:
        """The base URL of an HTTP service, without a slash at its end."""
        return 'http://%s:%d%s' % (ports.LOOPBACK, self.ports[name], path)

    def database_url(self, name: str) -> str:
        """The SQLAlchemy URL of a database in the cloud's MariaDB."""
        return 'mysql+pymysql://cloud:%s@%s:%d/%s?charset=utf8mb4' % (
            self.password,
            ports.LOOPBACK,
            self.ports['mariadb'],
            name,
        )

    @property
    def transport_url(self) -> str:
        """The oslo.messaging URL of the broker."""
        return 'rabbit://cloud:%s@%s:%d/' % (
            self.password,
            ports.LOOPBACK,
            self.ports['rabbitmq'],
        )

    def save(self, directory: pathlib.Path) -> None:
        """Write the plan, passwords included, for the owner's eyes only."""
        values = {
            'ports': dict(self.ports),
            'password': self.password,
            'secret': self.secret,
        }
        path = directory / _FILE
        with open(path, 'w', opener=_open_private) as file:
            json.dump(values, file, indent=2)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def make_plan(directory: pathlib.Path) -> Plan:
    """A plan for a cloud that has no seed yet."""
    return Plan(
        directory=directory,
        ports=ports.choose_ports(PORTS),
        password=secrets.token_hex(16),
        secret=secrets.token_hex(16),
    )


def load_plan(directory: pathlib.Path, saved_in: pathlib.Path) -> Plan:
    """The plan that was saved below `saved_in`.

    :raises FileNotFoundError: when there is none.
    """
    values = json.loads((saved_in / _FILE).read_text())
    return Plan(directory=directory, **values)
