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
"""What the OpenStack services of the cloud have in common."""

import abc
from collections.abc import Mapping
from collections.abc import Sequence
import configparser
import functools
import os
import pathlib

import openstack.connection
import requests

from novajoin.tests.functional.cloud import broker as broker_module
from novajoin.tests.functional.cloud import environment
from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud import processes as processes_module

Sections = Mapping[str, Mapping[str, object]]


class Service(abc.ABC):
    """One OpenStack service.

    The cloud calls, in this order: `configure`; for a seed, `sync`; then
    `start` and `start_workers`; for a seed, `seed`.

    :cvar name: of its database, its keystone user and its port.
    :cvar catalog: the types of its entry in keystone's catalog, each with
        the path of its URL; the first is the one to ask.
    :cvar databases: which it needs.
    """

    name: str
    catalog: Mapping[str, str] = {}
    databases: Sequence[str] = ()

    def __init__(
        self,
        plan: plan_module.Plan,
        processes: processes_module.Processes,
    ) -> None:
        self.plan = plan
        self.processes = processes

    @property
    def etc(self) -> pathlib.Path:
        """Where its configuration files are."""
        return self.plan.etc / self.name

    @property
    def state(self) -> pathlib.Path:
        """Where it keeps files; they become part of the seed."""
        return self.plan.data / self.name

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that its processes find."""
        return environment.make_environment(
            self.plan,
            **{'OS_%s_CONFIG_DIR' % self.name.upper(): self.etc},
        )

    @abc.abstractmethod
    def configure(self) -> None:
        """Write the configuration files."""

    @abc.abstractmethod
    def sync(self) -> None:
        """Make the schema of its databases.

        :raises ProcessFailed: when the command for it does.
        """

    @abc.abstractmethod
    def start(self) -> None:
        """Start the API and wait until it answers.

        :raises ProcessFailed: when it does not.
        """

    def start_workers(  # noqa: B027
        self, broker: broker_module.Broker
    ) -> None:
        """Start what works over the broker, and wait until it does.

        :raises ProcessFailed: when it does not.
        """

    def seed(  # noqa: B027
        self, admin: openstack.connection.Connection
    ) -> None:
        """Make, through the API, what every run wants to find."""

    def write(self, file: str, sections: Sections) -> pathlib.Path:
        """Write a configuration file below `etc`, for us to read only."""
        self.etc.mkdir(exist_ok=True)
        parser = configparser.RawConfigParser(default_section='')
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        for section, options in sections.items():
            parser.add_section(section)
            for option, value in options.items():
                parser.set(section, option, str(value))
        path = self.etc / file
        with open(path, 'w', opener=_open_private) as stream:
            parser.write(stream)
        return path

    def get_common_sections(self) -> dict[str, dict[str, object]]:
        """The sections that nearly every service has, each time anew."""
        return {
            'DEFAULT': {
                'state_path': self.state,
                'transport_url': self.plan.transport_url,
                'use_stderr': True,
            },
            'database': {
                'connection': self.plan.database_url(self.name).replace(
                    'utf8mb4', 'utf8'
                ),
            },
            'keystone_authtoken': {
                **self.get_credentials(self.name),
                'www_authenticate_uri': self.plan.url('keystone'),
                'service_token_roles': 'service',
                'service_token_roles_required': True,
            },
            'oslo_concurrency': {'lock_path': self.plan.run / 'lock'},
            'oslo_messaging_notifications': {'driver': 'messagingv2'},
        }

    def get_credentials(self, user: str) -> dict[str, object]:
        """The options by which keystoneauth logs a service's user in."""
        return {
            'auth_type': 'password',
            'auth_url': self.plan.url('keystone', '/v3'),
            'username': user,
            'password': self.plan.password,
            'user_domain_id': 'default',
            'project_name': 'service',
            'project_domain_id': 'default',
            'region_name': plan_module.REGION,
        }

    def manage(
        self,
        name: str,
        program: str,
        *arguments: str | os.PathLike[str],
    ) -> None:
        """Run a program of the services' environment to its end."""
        self.processes.run(
            name,
            [self.plan.venv / 'bin' / program, *arguments],
            self.environment,
        )

    def start_program(
        self,
        name: str,
        program: str,
        *arguments: str | os.PathLike[str],
    ) -> None:
        """Start a program of the services' environment."""
        self.processes.start(
            name,
            [self.plan.venv / 'bin' / program, *arguments],
            self.environment,
        )

    def wait_for_consumer(
        self, name: str, broker: broker_module.Broker, queue: str
    ) -> None:
        """Wait until a process takes its work from a queue."""
        self.processes.wait_for(
            name, functools.partial(broker.has_consumer, queue)
        )

    def start_wsgi(
        self, name: str, module: str, port: str | None = None
    ) -> None:
        """Start a WSGI application and wait until it answers.

        :param module: which has the `application`.
        :param port: the name of its port, if it is not the service's.
        """
        port = port or self.name
        self.start_program(
            name,
            'python',
            environment.PLUGINS / 'cloud_wsgi.py',
            module,
            str(self.plan.ports[port]),
        )
        url = self.plan.url(port, '/')
        self.processes.wait_for(name, lambda: _is_answered(url))


def _is_answered(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code < 500
    except requests.RequestException:
        return False


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
