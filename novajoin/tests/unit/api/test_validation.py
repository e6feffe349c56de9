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

"""Schemas and documents."""

import importlib
import json
import pkgutil

from hypothesis import given
from hypothesis import strategies
import jsonschema

from novajoin import exceptions
from novajoin.api import controllers
from novajoin.api import documents
from novajoin.api import validation
from novajoin.api.controllers import resource
from novajoin.tests import base


def list_resources():
    """Return every class of resources."""
    for module in pkgutil.iter_modules(controllers.__path__):
        importlib.import_module(f'{controllers.__name__}.{module.name}')

    def walk(cls):
        for child in cls.__subclasses__():
            yield child
            yield from walk(child)

    return sorted(set(walk(resource.Resource)), key=lambda cls: cls.__name__)


class TestHandlers(base.TestCase):
    def test_every_handler_has_schemas(self):
        count = 0
        for cls in list_resources():
            for name in set(resource.METHODS.values()):
                handler = getattr(cls, name, None)
                if handler is None:
                    continue
                count += 1
                self.assertTrue(handler.exposed, (cls, name))
                self.assertIsInstance(handler.schemas, validation.Schemas)
        self.assertGreater(count, 10)

    def test_no_answer_can_hold_what_a_credential_is_made_of(self):
        for cls in list_resources():
            for name in set(resource.METHODS.values()):
                handler = getattr(cls, name, None)
                if handler is None or cls.__name__ == 'JoinResource':
                    continue
                text = json.dumps(handler.schemas.response)
                for word in ('salt', 'token', 'otp', 'key_id', 'secret'):
                    self.assertNotIn(word, text)
                self.assertNotIn('"additionalProperties": true', text)


class TestExplain(base.TestCase):
    def explain(self, schema, document):
        validator = jsonschema.Draft202012Validator(schema)
        error = next(validator.iter_errors(document))
        return validation.explain(error, 'It')

    def test_path(self):
        schema = {
            'type': 'object',
            'additionalProperties': {
                'type': 'array',
                'items': {'type': 'integer'},
            },
        }
        for key, path in (
            ('a', 'a[1]'),
            ('a-b', 'a-b[1]'),
            ('a b', "['a b'][1]"),
            ('\x1b', r"['\x1b'][1]"),
            ('ü', r"['\xfc'][1]"),
        ):
            self.assertEqual(
                f'It: {path} has to be an integer.',
                self.explain(schema, {key: [1, 'x']}),
            )
        long = self.explain(schema, {'x y' * 1000: [1, 'x']})
        self.assertLess(len(long), 200)

    def test_words(self):
        for schema, document, words in (
            ({'type': ['string', 'null']}, 1, 'a string or null.'),
            ({'minimum': 3}, 1, 'of the form 3.'),
            ({'enum': ['a', 'b']}, 'c', 'one of a, b.'),
            ({'required': ['a', 'b']}, {'a': 1}, 'It lacks b.'),
            ({'pattern': 'x', 'description': 'an x'}, 'y', 'an x.'),
        ):
            self.assertIn(words, self.explain(schema, document))


class TestDocuments(base.TestCase):
    @given(
        strategies.recursive(
            strategies.none()
            | strategies.booleans()
            | strategies.integers(-(2**63) + 1, 2**63 - 1)
            | strategies.floats(allow_nan=False, allow_infinity=False)
            | strategies.text(
                strategies.characters(exclude_categories=['Cs'])
            ),
            lambda children: (
                strategies.lists(children, max_size=3)
                | strategies.dictionaries(
                    strategies.text(
                        strategies.characters(exclude_categories=['Cs'])
                    ),
                    children,
                    max_size=3,
                )
            ),
            max_leaves=6,
        )
    )
    def test_what_json_can_hold(self, document):
        for is_ascii in (True, False):
            body = json.dumps(document, ensure_ascii=is_ascii).encode()
            self.assertEqual(document, documents.parse(body))
        self.assertEqual(document, documents.parse(documents.dump(document)))

    def test_depth(self):
        deepest = b'[' * 16 + b']' * 16
        documents.parse(deepest)
        documents.parse(b'{"a": "%s"}' % (b'[' * 1000))
        documents.parse(b'["\\"[[[[[[[[[[[[[[[[[[[[[["]')
        documents.parse(b'[%s]' % b','.join([b'[]'] * 100))
        for body in (b'[%s]' % deepest, b'[' * 17, b'{"":' * 100000):
            self.assertRaises(exceptions.InvalidBody, documents.parse, body)

    def test_numbers(self):
        largest = 2**63 - 1
        self.assertEqual(largest, documents.parse(b'%d' % largest))
        for body in (b'%d' % (largest + 1), b'-' + b'1' * 10**6, b'1e400'):
            self.assertRaises(exceptions.InvalidBody, documents.parse, body)

    @given(strategies.text())
    def test_quote(self, text):
        shown = documents.quote(text)
        self.assertTrue(shown.rstrip('…').isascii())
        self.assertTrue(shown.rstrip('…').isprintable())
        self.assertLess(len(shown), 1000)
