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
"""RabbitMQ with a node, ports and an epmd of its own.

It starts empty each time: queues of an earlier run are of no use to anybody.
"""

import amqp

from novajoin.tests.functional.cloud import environment
from novajoin.tests.functional.cloud import plan as plan_module
from novajoin.tests.functional.cloud import ports
from novajoin.tests.functional.cloud import processes as processes_module

NAME = 'rabbitmq'
_CONFIGURATION = """\
listeners.tcp.local = {host}:{port}
default_user = cloud
default_pass = {password}
loopback_users = none
log.console = true
log.console.level = warning
log.file = false
disk_free_limit.absolute = 50MB
"""


class Broker:
    """The RabbitMQ node of one cloud."""

    def __init__(
        self,
        plan: plan_module.Plan,
        processes: processes_module.Processes,
    ) -> None:
        self._plan = plan
        self._processes = processes

    def start(self) -> None:
        """Start the port mapper in the foreground, then the node.

        Erlang would start a port mapper that outlives everything; when one
        answers already, it does not.

        :raises ProcessFailed: when the node does not come up.
        """
        directory = self._plan.run / NAME
        directory.mkdir()
        file = self._plan.etc / 'rabbitmq.conf'
        file.write_text(
            _CONFIGURATION.format(
                host=ports.LOOPBACK,
                port=self._plan.ports['rabbitmq'],
                password=self._plan.password,
            )
        )
        file.chmod(0o600)
        plugins = self._plan.etc / 'rabbitmq.plugins'
        plugins.write_text('[].\n')
        variables = environment.make_environment(
            self._plan,
            ERL_EPMD_ADDRESS=ports.LOOPBACK,
            ERL_EPMD_PORT=str(self._plan.ports['epmd']),
            RABBITMQ_CONF_ENV_FILE=self._plan.etc / 'rabbitmq-env.conf',
            RABBITMQ_CONFIG_FILE=file,
            RABBITMQ_DIST_PORT=str(self._plan.ports['erlang']),
            RABBITMQ_ENABLED_PLUGINS_FILE=plugins,
            RABBITMQ_LOG_BASE=self._plan.log,
            RABBITMQ_MNESIA_BASE=directory,
            RABBITMQ_NODENAME='cloud@localhost',
            RABBITMQ_PID_FILE=directory / 'pid',
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=(
                '-kernel inet_dist_use_interface {127,0,0,1}'
            ),
        )
        (self._plan.etc / 'rabbitmq-env.conf').touch()
        self._processes.start(
            'epmd', [environment.find_program('epmd')], variables
        )
        self._processes.wait_for(
            'epmd', lambda: ports.is_open(self._plan.ports['epmd'])
        )
        self._processes.start(
            NAME, [environment.find_program('rabbitmq-server')], variables
        )
        self._processes.wait_for(NAME, self._is_ready)

    def has_consumer(self, queue: str) -> bool:
        """Whether a queue exists and somebody takes messages from it."""
        with self._connect() as connection:
            try:
                found = connection.channel().queue_declare(queue, passive=True)
            except amqp.NotFound:
                return False
            return found.consumer_count > 0

    def _connect(self) -> amqp.Connection:
        return amqp.Connection(
            '%s:%d' % (ports.LOOPBACK, self._plan.ports['rabbitmq']),
            userid='cloud',
            password=self._plan.password,
            connect_timeout=5,
        )

    def _is_ready(self) -> bool:
        try:
            with self._connect():
                return True
        except (OSError, amqp.AMQPError):
            return False
