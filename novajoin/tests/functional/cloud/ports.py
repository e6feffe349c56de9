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
"""Free TCP ports of the loopback interface."""

from collections.abc import Iterable
import pathlib
import random
import socket

LOOPBACK = '127.0.0.1'
_EPHEMERAL = pathlib.Path('/proc/sys/net/ipv4/ip_local_port_range')
_LOWEST = 20000


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_open(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def choose_ports(names: Iterable[str]) -> dict[str, int]:
    """Choose one free port for each name.

    The ports lie below the range that the kernel gives to outgoing
    connections, so that none is taken between the choice and the moment when
    its service binds to it. The choice is random, so that two clouds that
    start at once on one machine hardly ever meet.

    :raises RuntimeError: when the range has too few free ports.
    """
    ephemeral = int(_EPHEMERAL.read_text().split()[0])
    highest = ephemeral if ephemeral > _LOWEST + 1000 else 65536
    candidates = list(range(_LOWEST, highest))
    random.shuffle(candidates)
    chosen: dict[str, int] = {}
    for name in names:
        while candidates:
            port = candidates.pop()
            if _is_free(port):
                chosen[name] = port
                break
        else:
            raise RuntimeError(
                'no free port for %s between %d and %d'
                % (name, _LOWEST, highest)
            )
    return chosen
