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
"""Rule 8: a secret is a type, and there is one way to its value."""

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback

from hypothesis import given
from hypothesis import strategies as st
from oslo_serialization import jsonutils

from novajoin import secret
from novajoin.tests import base

VALUE = 'njt1_verysecretvalue'


@dataclasses.dataclass(frozen=True)
class Holder:
    name: str
    token: secret.Secret


class SecretTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.secret = secret.Secret(VALUE)

    def assert_clean(self, text):
        self.assertNotIn(VALUE, text)
        self.assertNotIn(VALUE[5:], text)

    def test_reveal(self):
        self.assertEqual(VALUE, self.secret.reveal())

    def test_text(self):
        for text in (
            str(self.secret),
            repr(self.secret),
            '%s %r %a' % (self.secret, self.secret, self.secret),
            f'{self.secret} {self.secret!r} {self.secret:>30}',
            '{} {0!s:.50}'.replace('{}', '{0}').format(self.secret),
            '{0._x}'.replace('._x', '').format(self.secret),
            pprint.pformat({'a': [self.secret]}),
            str([self.secret]),
            ascii({'a': self.secret}),
        ):
            self.assert_clean(text)
            self.assertIn('<redacted>', text)

    def test_json(self):
        self.assertRaises(TypeError, json.dumps, {'a': self.secret})
        self.assert_clean(json.dumps({'a': self.secret}, default=str))

    def test_oslo_json(self):
        """oslo.serialization tries hard to make something of anything."""
        try:
            text = jsonutils.dumps({'a': self.secret})
        except (TypeError, ValueError):
            return
        self.assert_clean(text)

    def test_pickle(self):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            self.assertRaises(TypeError, pickle.dumps, self.secret, protocol)
        self.assertRaises(TypeError, pickle.dumps, Holder('a', self.secret))
        self.assertRaises(TypeError, self.secret.__getstate__)
        self.assertRaises(TypeError, self.secret.__reduce_ex__, 2)

    def test_copies(self):
        """A copy is the Secret, never its text."""
        self.assertIs(self.secret, copy.copy(self.secret))
        self.assertIs(self.secret, copy.deepcopy([self.secret])[0])

    def test_asdict(self):
        made = dataclasses.asdict(Holder('a', self.secret))
        self.assertIsInstance(made['token'], secret.Secret)
        self.assert_clean(repr(made))
        self.assert_clean(repr(Holder('a', self.secret)))

    def test_traceback(self):
        """Also with the values of local variables in it."""

        def fail(token):
            text = 'local'
            raise ValueError(text, token)

        try:
            fail(self.secret)
        except ValueError as exc:
            trace = traceback.TracebackException.from_exception(
                exc, capture_locals=True
            )
            text = ''.join(trace.format()) + repr(exc) + str(exc)
        self.assertIn("text = 'local'", text)
        self.assert_clean(text)

    def test_only_argument_of_an_exception(self):
        self.assert_clean(str(ValueError(self.secret)))

    def test_log(self):
        log = logging.getLogger('novajoin.tests.secret')
        with self.assertLogs(log, logging.DEBUG) as caught:
            log.debug('%s %r', self.secret, self.secret)
            log.info('with extra', extra={'token': self.secret})
        formatter = logging.Formatter('%(message)s %(token)s')
        caught.records[0].token = '-'
        for record in caught.records:
            self.assert_clean(formatter.format(record))
            self.assert_clean(repr(record.__dict__))

    def test_no_dictionary(self):
        self.assertRaises(TypeError, vars, self.secret)
        self.assertRaises(AttributeError, setattr, self.secret, 'x', 1)
        self.assertRaises(AttributeError, setattr, self.secret, '_value', 1)
        self.assertRaises(AttributeError, delattr, self.secret, '_value')
        self.assertEqual(VALUE, self.secret.reveal())

    def test_equality(self):
        self.assertEqual(self.secret, secret.Secret(VALUE))
        self.assertNotEqual(self.secret, secret.Secret('other'))
        # Not to be compared with texts: that would not be in constant time.
        self.assertNotEqual(self.secret, VALUE)
        self.assertRaises(TypeError, hash, self.secret)
        self.assertRaises(TypeError, lambda: {self.secret})

    def test_truth(self):
        self.assertTrue(self.secret)
        self.assertFalse(secret.Secret(''))

    @given(st.text(alphabet=st.characters(exclude_categories=())))
    def test_any_value(self, value):
        """Any text is kept as it is, a lone surrogate too."""
        made = secret.Secret(value)
        self.assertEqual(value, made.reveal())
        self.assertEqual(made, secret.Secret(value))

    def test_value_that_reads_redacted(self):
        made = secret.Secret('<redacted>')
        self.assertEqual('<redacted>', made.reveal())
        self.assertTrue(made)
        self.assertNotEqual(made, self.secret)
