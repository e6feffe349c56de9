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
"""Run the benchmarks: ``python -m benchmarks [names] [options]``.

Each measures its work and, in the same run, the bare cost of the same work.
Absolute figures say something about the machine; ratios say something about
the code.
"""

import argparse
import importlib
import pkgutil
import sys

import benchmarks
from benchmarks import harness

_PARTS = frozenset({'__main__', 'harness', 'load', 'served'})


def list_names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if module.name not in _PARTS
    )


def main() -> int:
    """Run what was asked for; return the exit status."""
    names = list_names()
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        'names',
        nargs='*',
        metavar='name',
        help='which ones, of: %s; default: all' % ', '.join(names),
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=3.0,
        help='length of one measurement (default: %(default)s)',
    )
    parser.add_argument(
        '--rounds',
        type=int,
        default=5,
        help='measurements of each kind, taken in turns; the median counts '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='exit with 1 when a figure misses its target',
    )
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(
            'no such benchmark: %s; there are: %s'
            % (', '.join(unknown), ', '.join(names))
        )
    missed = 0
    for name in options.names or names:
        print('== %s' % name, flush=True)
        for figure in importlib.import_module('benchmarks.' + name).run(
            options
        ):
            print(figure, flush=True)
            missed += not figure.is_met
    print('%d figures missed their targets' % missed)
    return 1 if missed and options.strict else 0


if __name__ == '__main__':
    harness.set_up()
    sys.exit(main())
