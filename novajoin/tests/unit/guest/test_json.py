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
"""The JSON reader of the guest client, in every awk of this machine."""

import json
import re
import subprocess
from typing import Any

import hypothesis
from hypothesis import strategies
import testscenarios

from novajoin.tests.unit.guest import harness

# Documents that are not JSON, each with a part of the message.
BAD = {
    '': 'ends too early',
    ' \n': 'ends too early',
    '{"a":1': 'ends too early',
    '{"a":"x': 'not closed',
    '{"a":1}"': 'a value where none may stand',
    '{"a":1}{}': 'a value where none may stand',
    '{"a":1} x': 'unknown word',
    '{"a" 1}': 'a value where none may stand',
    '{"a":01}': 'a value where none may stand',
    '{"a":.5}': 'unknown word',
    '{"a":-}': 'unknown word',
    '{"a":+1}': 'unknown word',
    '{"a":0x10}': 'unknown word',
    '{"a":NaN}': 'unknown word',
    '{"a":1,}': 'closed too early',
    '{,}': 'a comma where none may stand',
    '{"a":}': 'closed too early',
    '{a:1}': 'unknown word',
    "{'a':1}": 'unknown word',
    '{"a":1,"a":2}': 'a key twice',
    '{"a":1,"\\u0061":2}': 'a key twice',
    '{"a":"b"c}': 'unknown word',
    '{"a":"b" "c"}': 'a value where none may stand',
    '{"a":tru}': 'unknown word',
    '{"a":True}': 'unknown word',
    '{"a":"\\x"}': 'unknown escape',
    '{"a":"\\u12g4"}': 'unknown escape',
    '{"a":"\\u123"}': 'unknown escape',
    '{"a":"\n"}': 'control character',
    '{"a":"\t"}': 'control character',
    '{"a":"\x00"}': 'control character',
    '{"a":"\x1b"}': 'control character',
    '\x00{}': 'control character',
    '[1,,2]': 'a comma where none may stand',
    '[1 2]': 'a value where none may stand',
    '[1}': 'a closing bracket without',
    '{]': 'a closing bracket without',
    ']': 'a closing bracket without',
    '[' * 101: 'more than 100 levels',
    '// x\n{}': 'unknown word',
}


def shown(text: str) -> str:
    """A string as the reader prints it: all but the quotes as json has it."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')


def flattened(value: Any, path: str = '') -> list[str]:
    """What the reader prints for a value that came from json.dumps."""
    below = f'{path}.' if path else ''
    if isinstance(value, dict):
        lines = [
            line
            for key, part in value.items()
            for line in flattened(
                part,
                below
                + re.sub(
                    rb'[^A-Za-z0-9_-]', b'%', shown(key).encode()
                ).decode(),
            )
        ]
        return [*lines, f'{path}=o:{len(value)}']
    if isinstance(value, list):
        lines = [
            line
            for index, part in enumerate(value)
            for line in flattened(part, f'{below}{index}')
        ]
        return [*lines, f'{path}=a:{len(value)}']
    if isinstance(value, str):
        return [f'{path}=s:{shown(value)}']
    if value is None:
        return [f'{path}=z:null']
    if isinstance(value, bool):
        return [f'{path}=b:{json.dumps(value)}']
    return [f'{path}=n:{json.dumps(value)}']


# DEL and C1 pass as they are; json.dumps escapes the C0 controls in lower
# case as \u00XX or as \n and the like, exactly as they are then shown.
TEXT = strategies.text(
    strategies.characters(exclude_categories=['Cs']), max_size=12
)
VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)


class TestFlatten(testscenarios.WithScenarios, harness.MachineTestCase):
    scenarios = harness.scenarios()

    def flatten(
        self, document: str, *prefix: str
    ) -> 'subprocess.CompletedProcess[str]':
        path = self.folder / 'document.json'
        path.write_bytes(document.encode())
        shell, _ = harness.flavors()[self.flavor]
        return self.run_program(
            [*shell, str(harness.CLIENT), 'flatten', str(path), *prefix]
        )

    def test_bad_documents(self) -> None:
        """Strict: what Python or RFC 8259 refuses, this refuses (NJ6)."""
        for document, words in BAD.items():
            done = self.flatten(document)
            self.assertEqual(5, done.returncode, document)
            self.assertIn(words, done.stderr, document)
            self.assertEqual(1, done.stderr.count('\n'), document)

    def test_vendordata(self) -> None:
        """Only what is asked for, whatever stands around it."""
        document = {
            'static': {'cloud-init': '#!/bin/sh\necho "$(id)" \\ \'"\n' * 50},
            'join.bootstrap': {'v': 3},
            'x': {'join': {'bootstrap': {'v': 2}}},
            'joined': 1,
            'join': {
                'hostname': 'web-1.example.test',
                'bootstrap': {'v': 1, 'payload': 'YQ==', 'a b': [None]},
            },
        }
        done = self.flatten(json.dumps(document), 'join.bootstrap')
        self.assertEqual(
            [
                'join.bootstrap.v=n:1',
                'join.bootstrap.payload=s:YQ==',
                'join.bootstrap.a%b.0=z:null',
                'join.bootstrap.a%b=a:1',
                'join.bootstrap=o:3',
            ],
            done.stdout.splitlines(),
        )

    def test_escapes(self) -> None:
        r"""Printable ASCII is decoded, everything else keeps its escape."""
        done = self.flatten(
            r'{"a":"\u0041\/\"\u005c\\n\n\u000a\u001B\ud800\u00E9\t\u007f"}'
        )
        self.assertEqual(
            r'a=s:A/"\\\\n\n\u000a\u001b\ud800\u00e9\t\u007f',
            done.stdout.splitlines()[0],
        )

    def test_size(self) -> None:
        done = self.flatten('{"a":"%s"}' % ('x' * 4194304))
        self.assertEqual(5, done.returncode)
        self.assertIn('longer than 4194304 bytes', done.stderr)

    def test_any_document(self) -> None:
        """Property: any value, as json.dumps writes it, comes out whole."""

        @hypothesis.settings(max_examples=20)
        @hypothesis.given(VALUES)
        def check(value: Any) -> None:
            done = self.flatten(json.dumps(value, ensure_ascii=False))
            self.assertEqual('', done.stderr)
            # Keys that look alike once escaped come out in their order.
            self.assertEqual(
                flattened(value), done.stdout.removesuffix('\n').split('\n')
            )

        check()
