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
"""A process that dies, or finds the disk full, at its n-th disk access."""

import errno
import os

from novajoin import exceptions

# What changes the disk. A process can die before any of these, and in the
# middle of a write.
SYSCALLS = (
    'chown',
    'fsync',
    'mkdir',
    'open',
    'rename',
    'rmdir',
    'unlink',
    'write',
)


class Interruption:
    """Make the n-th disk-changing call of this process go wrong."""

    def __init__(self, number, action):
        self.number = number
        self.action = action
        self.count = 0

    def install(self):
        for name in SYSCALLS:
            setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name, function):
        def call(*args, **kwargs):
            if name == 'open' and not args[1] & os.O_CREAT:
                return function(*args, **kwargs)
            self.count += 1
            if self.count == self.number:
                self.action(name, function, args)
            return function(*args, **kwargs)

        return call


def die(name, function, args):
    if name == 'write':
        function(args[0], bytes(args[1])[:7])
    os._exit(9)


def fill_disk(name, function, args):
    if name == 'write':
        function(args[0], bytes(args[1])[:7])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run(number, action, work):
    """Run work in a child, with its n-th call interrupted.

    :returns: 0 when it got to its end, 9 when it was killed, 1 when it
        raised a kind of Unavailable
    """
    child = os.fork()
    if child == 0:
        code = 70
        try:
            Interruption(number, action).install()
            work()
            code = 0
        except exceptions.Unavailable:
            code = 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
