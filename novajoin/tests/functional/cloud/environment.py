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
"""The virtual environment of the services, and what surrounds a process.

The OpenStack services come from PyPI, pinned by constraints.txt; novajoin is
tested with its own, newer set of packages in another environment.
"""

from collections.abc import Mapping
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud import processes

_HERE = pathlib.Path(__file__).parent
CONSTRAINTS = _HERE / 'constraints.txt'
PLUGINS = _HERE / 'plugins'
PACKAGES = (
    'cinder',
    'glance',
    'keystone',
    'neutron',
    'nova',
    'openstack-placement',
    'PyMySQL',
    'pyroute2',
    'python-memcached',
    'waitress',
)
PROGRAMS = {
    'mariadbd': 'mariadb-server',
    'mariadb-install-db': 'mariadb-server',
    'epmd': 'rabbitmq-server',
    'rabbitmq-server': 'rabbitmq-server',
    'genisoimage': 'genisoimage',
    'isoinfo': 'genisoimage',
}
"""What has to be on the machine, and the Debian package that has it."""

_SYSTEM_PATH = (
    '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    ':/usr/lib/rabbitmq/bin'
)
_STAMP = 'complete'
_RUN_VARIABLE = 'NOVAJOIN_TEST_RUN'


class MissingPrograms(Exception):
    """The machine lacks programs that bindep.txt names."""


def find_program(name: str) -> str:
    """The path of a program of the machine.

    Debian's wrapper of rabbitmq-server insists on root and on the user
    rabbitmq; the program behind it does not.

    :raises MissingPrograms: when it is not there.
    """
    if name == 'rabbitmq-server':
        direct = pathlib.Path('/usr/lib/rabbitmq/bin/rabbitmq-server')
        if direct.exists():
            return str(direct)
    path = shutil.which(name, path=_SYSTEM_PATH)
    if path is None:
        raise MissingPrograms(
            '%s is missing: apt-get install %s (bindep.txt, profile'
            ' functional)' % (name, PROGRAMS[name])
        )
    return path


def check_programs() -> None:
    """Look for all programs at once, before anything is started.

    :raises MissingPrograms: with every one that is not there.
    """
    missing = []
    for name in PROGRAMS:
        try:
            find_program(name)
        except MissingPrograms:
            missing.append(name)
    if missing:
        raise MissingPrograms(
            '%s missing: apt-get install %s (bindep.txt, profile functional)'
            % (
                ', '.join(missing),
                ' '.join(sorted({PROGRAMS[name] for name in missing})),
            )
        )


def make_environment(
    plan: plan_module.Plan, **more: str | os.PathLike[str]
) -> Mapping[str, str]:
    """The environment variables of a service: ours, and nobody else's.

    A home and a directory for temporary files below the run keep services
    from writing anywhere else. The name of the whole test run, where it has
    one, is handed on: it says whose a process is.
    """
    run = os.environ.get(_RUN_VARIABLE)
    return {
        'HOME': str(plan.run / 'home'),
        'LANG': 'C.UTF-8',
        'PATH': '%s:%s' % (plan.venv / 'bin', _SYSTEM_PATH),
        'PYTHONDONTWRITEBYTECODE': '1',
        'PYTHONPATH': '%s:%s' % (PLUGINS, plan.etc),
        'PYTHONUNBUFFERED': '1',
        'TMPDIR': str(plan.run / 'tmp'),
        **({_RUN_VARIABLE: run} if run else {}),
        **{name: os.fspath(value) for name, value in more.items()},
    }


def install_services(venv: pathlib.Path) -> None:
    """Make the virtual environment, unless it is there and up to date.

    :raises ProcessFailed: when pip does.
    """
    wanted = hashlib.sha256(
        CONSTRAINTS.read_bytes() + ' '.join(PACKAGES).encode()
    ).hexdigest()
    stamp = venv / _STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, '-m', 'venv', venv], check=True)
    log = venv / 'pip.log'
    # Constraints in the environment are those of novajoin's own packages.
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ('PIP_CONSTRAINT', 'PYTHONPATH')
    }
    # Not to our own output: that is a subunit stream when tests run.
    with open(log, 'w') as output:
        status = subprocess.run(
            [venv / 'bin' / 'pip', 'install', '--quiet']
            + ['--disable-pip-version-check', '--constraint', CONSTRAINTS]
            + list(PACKAGES),
            check=False,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ).returncode
    if status != 0:
        raise processes.ProcessFailed(
            'pip returned %d; %s ends with\n%s'
            % (status, log, processes.read_tail(log))
        )
    stamp.write_text(wanted)
