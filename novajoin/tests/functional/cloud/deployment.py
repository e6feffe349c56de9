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
"""The whole cloud: installed, seeded, started and stopped.

The first start installs the services and makes a seed: empty databases get
their schemas, the services are started, keystone's users, an image, networks
and a flavor are made through the APIs, everything is stopped, and what it
left in `run/data` is kept. Each start, the first one too, then begins with a
copy of the seed.
"""

from collections.abc import Callable
from collections.abc import Iterator
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import logging
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from typing import TypeVar

from keystoneauth1 import identity
from keystoneauth1 import session as keystone_session
import openstack.connection

from novajoin.tests.functional.cloud import broker
from novajoin.tests.functional.cloud import database
from novajoin.tests.functional.cloud import environment
from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud import ports
from novajoin.tests.functional.cloud import processes
from novajoin.tests.functional.cloud import watchdog
from novajoin.tests.functional.cloud.services import base
from novajoin.tests.functional.cloud.services import cinder
from novajoin.tests.functional.cloud.services import glance
from novajoin.tests.functional.cloud.services import keystone
from novajoin.tests.functional.cloud.services import neutron
from novajoin.tests.functional.cloud.services import nova
from novajoin.tests.functional.cloud.services import placement

_Service = TypeVar('_Service', bound=base.Service)

LOG = logging.getLogger(__name__)
DIRECTORY_VARIABLE = 'NOVAJOIN_TEST_CLOUD_DIR'
_STAMP = 'complete'


def get_default_directory() -> pathlib.Path:
    """$NOVAJOIN_TEST_CLOUD_DIR, else .tox/functional-cloud of the checkout."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        return pathlib.Path(named).absolute()
    checkout = pathlib.Path(__file__).parents[4]
    return checkout / '.tox' / 'functional-cloud'


def open_session(
    plan: plan_module.Plan, user: str, project: str
) -> keystone_session.Session:
    """A keystoneauth session of one of the cloud's users."""
    return keystone_session.Session(
        auth=identity.V3Password(
            auth_url=plan.url('keystone', '/v3'),
            username=user,
            password=plan.password,
            user_domain_id='default',
            project_name=project,
            project_domain_id='default',
        )
    )


class Deployment:
    """One cloud in one directory.

    :param directory: made when it is missing. Nothing else of the machine is
        written to.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._run = directory / 'run'
        self._processes = processes.Processes(
            self._run / 'processes.json', self._run / 'log'
        )
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def plan(self) -> plan_module.Plan:
        """The plan of the run.

        :raises FileNotFoundError: when there is none.
        """
        return plan_module.load_plan(self._directory, self._run)

    @property
    def database(self) -> database.Database:
        return database.Database(self.plan, self._processes)

    @property
    def broker(self) -> broker.Broker:
        return broker.Broker(self.plan, self._processes)

    def make_service(
        self,
        kind: Callable[[plan_module.Plan, processes.Processes], _Service],
        plan: plan_module.Plan | None = None,
    ) -> _Service:
        """Return a service that starts and stops processes of this cloud.

        :param plan: if not that of the run.
        """
        return kind(plan or self.plan, self._processes)

    def is_running(self) -> bool:
        """Whether a start came to its end and all its processes live."""
        return (self._run / _STAMP).exists() and self._processes.are_alive()

    def find_processes(self) -> dict[str, int]:
        """The ids of the processes that live, by name."""
        return {
            name: process.pid
            for name, process in self._processes.find().items()
        }

    def start(self, keep: bool = False) -> bool:
        """Start the cloud, unless it runs already.

        :param keep: it outlives this process; else it is ended with it.
        :returns: whether it was started.
        :raises MissingPrograms: when the machine lacks something.
        :raises ProcessFailed: when a part does not come up. All parts are
            stopped then.
        """
        environment.check_programs()
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._hold_lock():
            if self.is_running():
                return False
            self.stop()
            with _timed('services installed'):
                environment.install_services(self._directory / 'venv')
            try:
                if not self._is_seeded():
                    with _timed('seed made'):
                        self._make_seed()
                with _timed('cloud started'):
                    self._start_from_seed(keep)
            except BaseException:
                self.stop()
                raise
        return True

    def seed(self) -> None:
        """Make a new seed, also when there is one."""
        environment.check_programs()
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._hold_lock():
            self.stop()
            environment.install_services(self._directory / 'venv')
            try:
                self._make_seed()
            finally:
                self.stop()

    def stop(self) -> None:
        """End all processes of the run; its files stay, to be looked at."""
        (self._run / _STAMP).unlink(missing_ok=True)
        self._processes.stop_all()
        if self._watchdog is not None:
            self._watchdog.communicate()
            self._watchdog = None

    @contextlib.contextmanager
    def _hold_lock(self) -> Iterator[None]:
        with open(self._directory / 'lock', 'w') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _is_seeded(self) -> bool:
        stamp = self._directory / 'seed' / _STAMP
        return stamp.exists() and stamp.read_text() == _get_digest()

    def _make_run(self, plan: plan_module.Plan, keep: bool) -> None:
        """Make the directories of a run, and have it watched."""
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(mode=0o700)
        for name in ('etc', 'home', 'instances', 'lock', 'log', 'tmp'):
            (self._run / name).mkdir()
        plan.save(self._run)
        if not keep and self._watchdog is None:
            self._watchdog = watchdog.start(self._run / 'processes.json')

    def _make_seed(self) -> None:
        plan = plan_module.make_plan(self._directory)
        self._make_run(plan, keep=False)
        plan.data.mkdir()
        parts = _Parts(plan, self._processes)
        parts.configure()
        parts.install()
        parts.start()
        parts.seed()
        parts.database.stop()
        self.stop()
        fresh = pathlib.Path(tempfile.mkdtemp(dir=self._directory))
        shutil.copytree(plan.data, fresh / 'data')
        plan.save(fresh)
        (fresh / _STAMP).write_text(_get_digest())
        shutil.rmtree(plan.seed, ignore_errors=True)
        fresh.rename(plan.seed)

    def _start_from_seed(self, keep: bool) -> None:
        old = plan_module.load_plan(self._directory, self._directory / 'seed')
        plan = dataclasses.replace(
            old, ports=ports.choose_ports(plan_module.PORTS)
        )
        self._make_run(plan, keep)
        shutil.copytree(plan.seed / 'data', plan.data)
        parts = _Parts(plan, self._processes)
        parts.configure()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            starting = pool.submit(parts.broker.start)
            parts.database.start(_get_moves(old, plan))
            parts.start(starting.result)
        (self._run / _STAMP).touch()


class _Parts:
    """The parts of one cloud, and the order in which they need each other."""

    def __init__(
        self,
        plan: plan_module.Plan,
        processes_: processes.Processes,
    ) -> None:
        self._plan = plan
        self._processes = processes_
        self.broker = broker.Broker(plan, processes_)
        self.database = database.Database(plan, processes_)
        self._keystone = keystone.Keystone(plan, processes_)
        self._nova = nova.Nova(plan, processes_)
        self._others = [
            placement.Placement(plan, processes_),
            glance.Glance(plan, processes_),
            neutron.Neutron(plan, processes_),
            cinder.Cinder(plan, processes_),
            self._nova,
        ]
        self._services = [self._keystone, *self._others]

    def configure(self) -> None:
        for service in self._services:
            service.configure()

    def install(self) -> None:
        """Start on nothing: schemas, users and the catalog, and the broker.

        keystone stays up: it has the users by which the others log in.
        """
        _run_all([self._install_databases, self.broker.start])

    def _install_databases(self) -> None:
        self.database.install()
        self.database.start([])
        for service in self._services:
            for name in service.databases:
                self.database.create(name, charset='utf8mb3')
        with _timed('schemas made'):
            _run_all(
                [
                    self._install_keystone,
                    *(service.sync for service in self._others),
                ]
            )

    def _install_keystone(self) -> None:
        self._keystone.sync()
        self._keystone.start()
        admin = self._connect_admin()
        self._keystone.seed(admin)
        for service in self._others:
            self._keystone.register(admin, service)

    def start(
        self, wait_for_broker: Callable[[], object] = lambda: None
    ) -> None:
        """Start the services; the databases are up.

        :param wait_for_broker: returns when the broker is up as well.
        :raises ProcessFailed: when one does not come up.
        """

        def start_workers() -> None:
            wait_for_broker()
            _run_all(
                [
                    functools.partial(service.start_workers, self.broker)
                    for service in self._services
                ]
            )

        _run_all(
            [
                start_workers,
                *(service.start for service in self._services),
                self._nova.start_metadata,
            ]
        )

    def seed(self) -> None:
        """Make what every run wants to find, keystone's part apart."""
        admin = self._connect_admin()
        _run_all(
            [
                functools.partial(service.seed, admin)
                for service in self._others
            ]
        )

    def _connect_admin(self) -> openstack.connection.Connection:
        return openstack.connection.Connection(
            session=open_session(self._plan, 'admin', 'admin'),
            region_name=plan_module.REGION,
        )


def _get_digest() -> str:
    """A digest of everything that a seed depends on."""
    here = pathlib.Path(__file__).parent
    files = sorted(
        path
        for path in here.rglob('*')
        if path.suffix in ('.py', '.txt')
        and path.parent.name in ('services', 'plugins')
        or path.name in ('constraints.txt', 'database.py', 'plan.py')
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _get_moves(old: plan_module.Plan, new: plan_module.Plan) -> list[str]:
    """The SQL by which the catalog of a seed gets this run's ports."""
    return [
        "UPDATE keystone.endpoint SET url = REPLACE(url, ':%d', ':%d')"
        % (old.ports[name], port)
        for name, port in new.ports.items()
    ]


def _run_all(functions: list[Callable[[], object]]) -> None:
    """Run functions in parallel.

    :raises Exception: the first that one of them raised, when all are done.
    """
    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result()


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    LOG.info('%s in %.1f s', what, time.monotonic() - began)
