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
"""End the processes of a cloud when the process that started it is gone.

`python -m novajoin.tests.functional.cloud.watchdog RECORD` reads its standard
input, the one end of a pipe, until the other end is closed: by the owner, or
by the kernel when the owner was killed.
"""

import pathlib
import signal
import subprocess
import sys

from novajoin.tests.functional.cloud import processes


def start(record: pathlib.Path) -> 'subprocess.Popen[bytes]':
    """Start the watchdog of a record; closing its stdin sets it off."""
    return subprocess.Popen(
        [sys.executable, '-m', __name__, record],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main() -> None:
    # A terminal's signals are for the owner.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    record = pathlib.Path(sys.argv[1])
    sys.stdin.buffer.read()
    processes.Processes(record, record.parent).stop_all()


if __name__ == '__main__':
    main()
