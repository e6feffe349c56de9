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
"""Run the domain in processes of their own, on one directory.

Everything that a process is given is plain data, so that it can be spawned.

Database, key repository, CA and processes are real. Nova alone is scripted:
a process that dies at its seventh commit needs a nova that says the same
each time. With a real one the same transitions are in test_main_job.
"""

from concurrent import futures
import itertools
import logging
import multiprocessing
from multiprocessing import util
import os
import pathlib
import signal
import threading

from novajoin import exceptions
from novajoin.tests import base
from novajoin.tests.functional import leaks
from novajoin.tests.unit.enrollment import world

#: Forked from a process that has loaded everything and runs no thread.
context = multiprocessing.get_context('forkserver')
context.set_forkserver_preload([__name__])

TIMEOUT = 120


class TestCase(world.TestCase):
    """A test that starts processes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The fork server's socket lives here, longer than one test's
        # temporary directory.
        util.get_temp_dir()


def make_world(directory, servers=(), rebuilds=(), now=None, url=None):
    """Return a world as a process of its own makes it."""
    made = world.World(
        directory,
        clock=base.Clock(now),
        url=url,
        has_real_ca=True,
        process='process-%d' % os.getpid(),
    )
    made.nova.servers = {server.instance: server for server in servers}
    made.nova.rebuilds = dict(rebuilds)
    return made


def log_all(directory):
    """Write everything that the process logs, debug included, to a file."""
    logging.basicConfig(
        filename=pathlib.Path(directory, '%d.log' % os.getpid()),
        level=logging.DEBUG,
        force=True,
    )


def find_leaks(directory, token):
    """Return where a join token is that must not be: logs, database, files.

    The key repository is left out; nothing else is.
    """
    root = pathlib.Path(directory)
    scan = leaks.LeakScan({'token': token, 'token body': token[5:]})
    return scan.scan_tree(root, excluding=[root / 'keys'])


# Races.


def redeem(directory, url, instance, token, csrs, barrier, results):
    """Redeem a token with every CSR at once; put what came of it."""
    log_all(directory)
    made = make_world(directory, url=url)

    def call(csr):
        try:
            outcome = made.redemption.redeem(instance, token, csr, 'req-x')
        except exceptions.NovajoinError as exc:
            return exc.reason, None
        return 'later' if outcome.certificate is None else 'issued', (
            outcome.certificate
        )

    made.find(instance)
    with futures.ThreadPoolExecutor(len(csrs)) as pool:
        barrier.wait(TIMEOUT)
        results.put(list(pool.map(call, csrs)))
    made.close()


# Crashes.


class _Bomb:
    """Kill the process at its N-th transaction, as ``kill -9`` does.

    :param number: which of all transactions that write, from 1
    :param when: ``before`` or ``after`` the commit
    """

    def __init__(self, database, number, when):
        self._write = database.write
        self._number = number
        self._when = when
        self._count = itertools.count(1)
        self._lock = threading.Lock()
        database.write = self.write

    def write(self, function):
        with self._lock:
            is_hit = next(self._count) == self._number

        def wrapped(tx):
            result = function(tx)
            if is_hit and self._when == 'before':
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        result = self._write(wrapped)
        if is_hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def crash(directory, spec, scenario, number, when):
    """Act out a scenario and die on the way, if it has so many commits."""
    log_all(directory)
    made = make_world(
        directory, spec['servers'], spec.get('rebuilds', ()), spec['now']
    )
    _Bomb(made.database, number, when)
    SCENARIOS[scenario](made, spec)
    os._exit(0)


def _post(made, spec):
    made.post(spec['instance'])


def _redeem(made, spec):
    made.redemption.redeem(
        spec['instance'], spec['token'], spec['csr'], 'req-x'
    )


def _dispute(made, spec):
    try:
        _redeem(made, spec)
    except exceptions.KeyConflict:
        made.work()


def _hint(made, spec):
    made.hint(spec['instance'])
    made.work()


def _renew(made, spec):
    made.redemption.renew(spec['certificate'], spec['csr'], 'req-x')


def _rebuild(made, spec):
    made.post(spec['instance'])
    made.work()


def _reissue(made, spec):
    made.operations.reissue(spec['instance'], world.make_caller())
    made.work()


def _expire(made, spec):
    made.reconciliation.expire()
    made.work()


SCENARIOS = {
    'post': _post,
    'redeem': _redeem,
    'dispute': _dispute,
    'hint': _hint,
    'renew': _renew,
    'rebuild': _rebuild,
    'reissue': _reissue,
    'expire': _expire,
}
