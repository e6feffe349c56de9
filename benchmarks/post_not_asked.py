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
"""``POST /v1/`` for an instance that did not ask.

Beside it, in turns and under the same WSGI server: an empty Pecan
application. Nova posts for every read of an instance's metadata, so this is
what a cloud pays for having novajoin at all.

The second part has the image in the cache and, at the same time, instances
that do ask while the identity backend hangs. There is no broker in it: the
control plane does not use one.
"""

import argparse
from collections.abc import Iterator
import contextlib
import json
import statistics
import time

from benchmarks import harness

_PATH = '/v1/'
_IMAGE = '4257d703-3e5b-4342-8b98-31125925b60f'


def _make_post(instance: str, image: str | None, metadata: object) -> str:
    return json.dumps(
        {
            'project-id': 'ef44c3558c6a4f1282307e52bca1fa81',
            'instance-id': instance,
            'image-id': image,
            'user-data': 'I2Nsb3VkLWNvbmZpZwo=',
            'hostname': 'web-{number}',
            'metadata': metadata,
            'boot-roles': 'member,reader',
        }
    ).replace('web-{number}', 'web-1' if instance != '{uuid}' else 'w-{uuid}')


NOT_ASKED = _make_post(
    '9baef604-e3c9-4708-9b18-8e9fef008537', _IMAGE, {'role': 'web'}
)
ASKED = _make_post('{uuid}', _IMAGE, {'ipa_enroll': 'true'})


def run(options: argparse.Namespace) -> Iterator[harness.Figure]:
    """Yield the figures."""
    with (
        harness.serve('empty') as empty,
        harness.serve('novajoin') as ours,
    ):
        yield from _compare('', empty, ours, options)
    with (
        harness.serve('empty') as empty,
        harness.serve(
            'novajoin', identity_seconds=3600.0, has_images=True
        ) as ours,
    ):
        yield from _compare(
            ', identity hangs', empty, ours, options, is_disturbed=True
        )


def _compare(
    name: str,
    empty: harness.Server,
    ours: harness.Server,
    options: argparse.Namespace,
    *,
    is_disturbed: bool = False,
) -> Iterator[harness.Figure]:
    seen: list[harness.Result] = []
    bare: list[harness.Result] = []
    for server in (empty, ours):
        _measure(server, 0.5)  # warm up
    with contextlib.ExitStack() as stack:
        if is_disturbed:
            # As many as the process lets wait, and after that a few each
            # second: what the hanging backend costs is of interest, not what
            # enrolling at full speed does.
            duration = options.rounds * (2 * options.seconds + 20)
            stack.enter_context(
                harness.generate(
                    harness.Load(
                        ours.url,
                        _PATH,
                        body=ASKED,
                        seconds=duration,
                        pause=0.2,
                    )
                )
            )
            time.sleep(0.5)
        for _ in range(options.rounds):
            bare.append(_measure(empty, options.seconds))
            seen.append(_measure(ours, options.seconds))
    yield from _report(name, bare, seen)
    if not is_disturbed:
        yield harness.Figure(
            'CPU, multiple of the empty one' + name,
            harness.get_median_ratio(
                [result.cpu for result in seen],
                [result.cpu for result in bare],
            ),
        )


def _report(
    name: str, bare: list[harness.Result], seen: list[harness.Result]
) -> Iterator[harness.Figure]:
    for what, results in (
        ('empty Pecan application', bare),
        ('not asked', seen),
    ):
        rate = statistics.median(result.rate for result in results)
        yield harness.Figure(what + name, rate, '/s')
    yield harness.Figure(
        'rate, part of the empty one' + name,
        harness.get_median_ratio(
            [result.rate for result in seen], [result.rate for result in bare]
        ),
        target=0.5,
        is_at_least=True,
    )
    yield harness.Figure(
        'p99' + name,
        statistics.median(result.p99 for result in seen) * 1000,
        'ms',
    )
    yield harness.Figure(
        'p99, multiple of the empty one' + name,
        harness.get_median_ratio(
            [result.p99 for result in seen], [result.p99 for result in bare]
        ),
        target=2.5,
    )


def _measure(server: harness.Server, seconds: float) -> harness.Result:
    result = harness.measure(
        server,
        harness.Load(server.url, _PATH, body=NOT_ASKED, seconds=seconds),
    ).expect(200)
    if result.sample != '{}':
        raise SystemExit('not {} but %s' % result.sample)
    return result
