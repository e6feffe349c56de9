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
"""Name, in one line, what this machine lacks for a job.

Needs nothing but the standard library, so that it can run first.
"""

import argparse
import pathlib
import shutil
import sys

OLDEST_PYTHON = (3, 11)


def find_missing(programs: list[str]) -> list[str]:
    """Return what is missing: an old Python, programs not on the path."""
    missing = [name for name in programs if not shutil.which(name)]
    if sys.version_info < OLDEST_PYTHON:
        missing.insert(0, 'Python %d.%d or newer' % OLDEST_PYTHON)
    return missing


def main() -> int:
    """Return 0 if everything is there, else 1 after one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'programs', nargs='*', help='programs that have to be on the path'
    )
    missing = find_missing(parser.parse_args().programs)
    if not missing:
        return 0
    print(
        '%s: missing on this machine: %s'
        % (pathlib.Path(__file__).name, ', '.join(missing)),
        file=sys.stderr,
    )
    return 1


if __name__ == '__main__':
    sys.exit(main())
