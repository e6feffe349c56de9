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
"""`python -m novajoin.tests.functional.cloud`: the cloud at the prompt."""

import argparse
import json
import logging
import pathlib
import sys

from novajoin.tests.functional.cloud import deployment
from novajoin.tests.functional.cloud import environment
from novajoin.tests.functional.cloud import processes

_DESCRIPTION = """\
Start a real, small OpenStack on free ports of 127.0.0.1: keystone, glance,
placement, neutron's API, cinder and nova (with its fake virt driver) from
PyPI, MariaDB and RabbitMQ from the machine's packages.

  start   start it, from a seed that is made when there is none
  status  say which processes live, and where the services answer
  stop    end all its processes
  seed    make a new seed, and leave nothing running
"""


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m novajoin.tests.functional.cloud',
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', choices=('start', 'status', 'stop', 'seed'))
    parser.add_argument(
        '--directory',
        type=pathlib.Path,
        default=deployment.get_default_directory(),
        help='where everything is: environment, seed, data, logs (default:'
        ' %(default)s; $NOVAJOIN_TEST_CLOUD_DIR changes it)',
    )
    parser.add_argument(
        '--keep',
        action='store_true',
        help='start: return, and leave the cloud running until `stop`;'
        ' functional tests then use it and leave it alone. Without: wait'
        ' here, and stop everything at Ctrl-C or the end of the input',
    )
    return parser


def _say(text: str) -> None:
    sys.stdout.write(text + '\n')
    sys.stdout.flush()


def _start(cloud: deployment.Deployment, keep: bool) -> int:
    if not cloud.start(keep=keep):
        _say('It runs already.')
        return 0
    _status(cloud)
    if not keep:
        _say('Ctrl-C stops it.')
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            pass
        finally:
            cloud.stop()
    return 0


def _status(cloud: deployment.Deployment) -> int:
    if not cloud.is_running():
        _say('It does not run.')
        return 1
    plan = cloud.plan
    _say(
        json.dumps(
            {
                'directory': str(plan.directory),
                'processes': cloud.find_processes(),
                'ports': dict(plan.ports),
                'auth_url': plan.url('keystone', '/v3'),
                'transport_url': plan.transport_url,
                'users': 'admin, demo, other (a project each); nova, glance,'
                ' novajoin and the other services (project service)',
                'password': plan.password,
            },
            indent=2,
        )
    )
    return 0


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger(deployment.__name__).setLevel(logging.INFO)
    options = _make_parser().parse_args()
    cloud = deployment.Deployment(options.directory.absolute())
    try:
        if options.command == 'start':
            return _start(cloud, options.keep)
        if options.command == 'status':
            return _status(cloud)
        if options.command == 'seed':
            cloud.seed()
        else:
            cloud.stop()
    except (
        environment.MissingPrograms,
        processes.ProcessFailed,
    ) as error:
        _say(str(error))
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
