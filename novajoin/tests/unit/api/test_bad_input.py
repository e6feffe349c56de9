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

"""The table of bad input: each its own 4xx, and the domain never called."""

import gzip
import io
import json

from hypothesis import given
from hypothesis import strategies
import testscenarios
import webob

from novajoin import exceptions
from novajoin.tests.unit.api import base

JSON = 'application/json'


def dump(**changes):
    return json.dumps({**base.POST, **changes}).encode()


def replace(old, new):
    """Return a body in which JSON itself is changed."""
    return dump().replace(old, new)


#: name, body, content type, status, reason, words of the message
TABLE = (
    ('empty', b'', JSON, 400, 'invalid_body', 'is empty'),
    ('no json', b'{"a": ', JSON, 400, 'invalid_body', 'line 1, column 7'),
    ('two documents', b'{}{}', JSON, 400, 'invalid_body', 'Extra data'),
    ('a list', b'[1]', JSON, 400, 'invalid_body', 'has to be an object'),
    ('a text', b'"x"', JSON, 400, 'invalid_body', 'has to be an object'),
    ('null', b'null', JSON, 400, 'invalid_body', 'has to be an object'),
    ('nothing in it', b'{}', JSON, 400, 'invalid_body', 'lacks project-id'),
    (
        'flag as boolean',
        dump(metadata={'ipa_enroll': True}),
        JSON,
        400,
        'invalid_body',
        'metadata.ipa_enroll has to be a string',
    ),
    (
        'metadata a list',
        dump(metadata=[]),
        JSON,
        400,
        'invalid_body',
        'metadata has to be an object',
    ),
    (
        'metadata null',
        dump(metadata=None),
        JSON,
        400,
        'invalid_body',
        'metadata has to be an object',
    ),
    (
        'metadata nested',
        dump(metadata={'a': {'b': 'c'}}),
        JSON,
        400,
        'invalid_body',
        'metadata.a has to be a string',
    ),
    (
        'metadata null inside',
        dump(metadata={'a b': None}),
        JSON,
        400,
        'invalid_body',
        "metadata['a b'] has to be a string",
    ),
    (
        'metadata with nul',
        dump(metadata={'a': 'x\0y'}),
        JSON,
        400,
        'invalid_body',
        'metadata.a has to be text without NUL',
    ),
    (
        'metadata key with nul',
        dump(metadata={'a\0': 'x'}),
        JSON,
        400,
        'invalid_body',
        'keys without NUL',
    ),
    (
        'hostname a number',
        dump(hostname=1),
        JSON,
        400,
        'invalid_body',
        'hostname has to be a string',
    ),
    (
        'hostname null',
        dump(hostname=None),
        JSON,
        400,
        'invalid_body',
        'hostname has to be a string',
    ),
    (
        'instance a number',
        dump(**{'instance-id': 7}),
        JSON,
        400,
        'invalid_body',
        'instance-id has to be a string',
    ),
    *(
        (
            'instance ' + name,
            dump(**{'instance-id': text}),
            JSON,
            400,
            'invalid_body',
            'instance-id has to be a uuid in lower-case',
        )
        for name, text in (
            ('empty', ''),
            ('upper case', base.INSTANCE.upper()),
            ('without dashes', base.INSTANCE.replace('-', '')),
            ('in braces', '{%s}' % base.INSTANCE),
            ('as urn', 'urn:uuid:' + base.INSTANCE),
            ('with a line feed', base.INSTANCE + '\n'),
            ('ec2', 'i-00000001'),
            ('sql', "' or '1'='1"),
            ('path', '../../etc/passwd'),
        )
    ),
    *(
        (
            'project ' + name,
            dump(**{'project-id': text}),
            JSON,
            400,
            'invalid_body',
            'project-id has to be the id of a project',
        )
        for name, text in (
            ('empty', ''),
            ('long', 'a' * 65),
            ('with a line feed', base.PROJECT + '\n'),
            ('path', '../x'),
        )
    ),
    (
        'image a path',
        dump(**{'image-id': '../../v3/auth/tokens/x/y/z/0/1/2/3/4'}),
        JSON,
        400,
        'invalid_body',
        'image-id has to be the uuid of an image',
    ),
    (
        'user data a number',
        dump(**{'user-data': 5}),
        JSON,
        400,
        'invalid_body',
        'user-data has to be a string or null',
    ),
    (
        'key twice',
        replace(b'"hostname"', b'"hostname": "a", "hostname"'),
        JSON,
        400,
        'invalid_body',
        "'hostname' is there twice",
    ),
    (
        'key twice inside',
        replace(b'"ipa_enroll"', b'"ipa_enroll": "False", "ipa_enroll"'),
        JSON,
        400,
        'invalid_body',
        "'ipa_enroll' is there twice",
    ),
    (
        'nan',
        replace(b'"web-1"', b'NaN'),
        JSON,
        400,
        'invalid_body',
        'NaN is no JSON',
    ),
    (
        'infinity',
        replace(b'"web-1"', b'-Infinity'),
        JSON,
        400,
        'invalid_body',
        'Infinity is no JSON',
    ),
    (
        'huge exponent',
        replace(b'"web-1"', b'1e999'),
        JSON,
        400,
        'invalid_body',
        'out of range',
    ),
    (
        'huge integer',
        replace(b'"web-1"', b'9' * 5000),
        JSON,
        400,
        'invalid_body',
        'out of range',
    ),
    (
        'large integer',
        replace(b'"web-1"', b'-9223372036854775809'),
        JSON,
        400,
        'invalid_body',
        'out of range',
    ),
    (
        'deep',
        b'[' * 20000 + b']' * 20000,
        JSON,
        400,
        'invalid_body',
        'more than 16 levels',
    ),
    (
        'deep in an unknown key',
        replace(
            b'"web-1"', b'"web-1", "x": ' + b'{"a":' * 40 + b'1' + b'}' * 40
        ),
        JSON,
        400,
        'invalid_body',
        'more than 16 levels',
    ),
    (
        'control character',
        replace(b'web-1', b'web\x001'),
        JSON,
        400,
        'invalid_body',
        'Invalid control character',
    ),
    (
        'half a surrogate',
        replace(b'web-1', rb'web\ud800'),
        JSON,
        400,
        'invalid_body',
        'half of a surrogate pair',
    ),
    (
        'latin-1',
        replace(b'web-1', b'web\xe9'),
        JSON,
        400,
        'invalid_body',
        'not UTF-8',
    ),
    (
        'utf-16',
        dump().decode().encode('utf-16'),
        JSON,
        400,
        'invalid_body',
        'not UTF-8',
    ),
    (
        'byte order mark',
        b'\xef\xbb\xbf' + dump(),
        JSON,
        400,
        'invalid_body',
        'not JSON',
    ),
    (
        '10 MB',
        dump(**{'user-data': 'x' * 10_000_000}),
        JSON,
        413,
        'body_too_large',
        'larger than 65536 bytes',
    ),
    *(
        (
            'type ' + (content_type or 'none'),
            dump(),
            content_type,
            415,
            'unsupported_media_type',
            'has to be application/json',
        )
        for content_type in (
            '',
            'text/plain',
            'application/x-www-form-urlencoded',
            'multipart/form-data; boundary=x',
            'application/jsonx',
            'application/xml',
        )
    ),
    *(
        (
            charset,
            dump(),
            'application/json; ' + charset,
            415,
            'unsupported_media_type',
            'in UTF-8',
        )
        for charset in ('charset=utf-16', 'charset=latin-1', 'boundary=x')
    ),
)


class TestBody(testscenarios.WithScenarios, base.ApiTestCase):
    scenarios = [
        (
            name,
            {
                'body': body,
                'content_type': content_type,
                'status': status,
                'reason': reason,
                'words': words,
            },
        )
        for name, body, content_type, status, reason, words in TABLE
    ]

    def test_bad_body(self):
        response = self.app.post(
            '/v1/', self.body, content_type=self.content_type, status='*'
        )
        message = self.assert_error(response, self.status, self.reason)
        self.assertIn(self.words, message)
        self.assertTrue(message.isascii() or '…' in message)
        self.admission.answer.assert_not_called()


class TestTransfer(base.ApiTestCase):
    """Bodies that are not what their head says."""

    def post(self, body, **environ):
        if isinstance(body, bytes):
            body = io.BytesIO(body)
        request = webob.Request.blank('/v1/')
        request.environ.update(
            {
                'REMOTE_ADDR': self.peer,
                'REQUEST_METHOD': 'POST',
                'CONTENT_TYPE': JSON,
                'wsgi.input': body,
                **environ,
            }
        )
        return request.get_response(self.app.app)  # WebTest is too strict

    def assert_refused(self, response, status, reason, words):
        self.assertIn(words, self.assert_error(response, status, reason))
        self.admission.answer.assert_not_called()

    def test_length_and_chunks_are_the_same(self):
        for environ in (
            {'CONTENT_LENGTH': str(len(dump()))},
            {
                'CONTENT_LENGTH': '',
                'HTTP_TRANSFER_ENCODING': 'chunked',
                'wsgi.input_terminated': True,
            },
        ):
            self.assertEqual({}, self.post(dump(), **environ).json)

    def test_gzip(self):
        body = gzip.compress(dump())
        self.assert_refused(
            self.post(
                body,
                CONTENT_LENGTH=str(len(body)),
                HTTP_CONTENT_ENCODING='gzip',
            ),
            415,
            'unsupported_media_type',
            'compressed',
        )

    def test_large_chunks(self):
        self.assert_refused(
            self.post(
                b'x' * 10_000_000,
                HTTP_TRANSFER_ENCODING='chunked',
                **{'wsgi.input_terminated': True},
            ),
            413,
            'body_too_large',
            'larger than',
        )

    def test_large_length_is_not_read(self):
        class Stream:
            def read(self, size=-1):
                raise AssertionError('read')

        self.assert_refused(
            self.post(Stream(), CONTENT_LENGTH='10000000'),
            413,
            'body_too_large',
            'larger than',
        )

    def test_no_end(self):
        self.assert_refused(
            self.post(dump(), HTTP_TRANSFER_ENCODING='chunked'),
            411,
            'length_required',
            'Content-Length',
        )

    def test_short(self):
        self.assert_refused(
            self.post(dump(), CONTENT_LENGTH=str(len(dump()) + 1)),
            400,
            'bad_request',
            'The body ended after',
        )

    def test_no_number(self):
        for text in ('x', '-1', '+1', '1.0', '١', '9' * 30):
            self.assert_refused(
                self.post(dump(), CONTENT_LENGTH=text),
                400,
                'bad_request',
                'not a number',
            )

    def test_broken_chunks(self):
        class Stream:
            def __init__(self, error):
                self.error = error

            def read(self, size=-1):
                raise self.error

        for error in (OSError('secret'), ValueError('secret')):
            response = self.post(Stream(error), CONTENT_LENGTH='5')
            self.assert_refused(
                response, 400, 'bad_request', 'could not be read'
            )
            self.assertNotIn('secret', response.text)

    def test_too_little_at_a_time(self):
        class Stream(io.BytesIO):
            def read(self, size=-1):
                return super().read(min(size, 3))

        self.assertEqual(
            {}, self.post(Stream(dump()), CONTENT_LENGTH=str(len(dump()))).json
        )


class TestHostnames(base.ApiTestCase):
    def test_the_domain_decides_about_names(self):
        """Hostile names reach the domain whole, and its word is passed on."""
        self.admission.answer.side_effect = exceptions.InvalidHostname(
            'The hostname is not a DNS label.'
        )
        for hostname in (
            '',
            '.',
            'a..b',
            'a\0b',
            'a/../b',
            'x' * 300,
            'xn--ab-',
            '$(reboot)',
            '{{ 7 * 7 }}',
            '<script>',
            "'; drop table names; --",
            'join.example.com',
            'ü',
            '\u202e',
            '-a',
        ):
            response = self.app.post_json(
                '/v1/', {**base.POST, 'hostname': hostname}, status='*'
            )
            self.assert_error(response, 400, 'hostname_invalid')
            post = self.admission.answer.call_args.args[0]
            self.assertEqual(hostname, post.hostname)


JSON_VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(),
    lambda children: (
        strategies.lists(children)
        | strategies.dictionaries(strategies.text(), children)
    ),
    max_leaves=8,
)


class TestAnything(base.ApiTestCase):
    """Whatever comes: 200 with the domain called, or 4xx without."""

    def check(self, body):
        self.admission.answer.reset_mock()
        response = self.app.post('/v1/', body, content_type=JSON, status='*')
        if response.status_int == 200:
            post = self.admission.answer.call_args.args[0]
            self.assertIsInstance(post.hostname, str)
            for item in post.metadata.items():
                self.assertEqual([str, str], [type(part) for part in item])
                self.assertNotIn('\0', ''.join(item))
            repr(post).encode()
        else:
            self.assert_error(response, 400, 'invalid_body')
            self.admission.answer.assert_not_called()

    @given(strategies.binary(max_size=200))
    def test_bytes(self, body):
        self.check(body)

    @given(JSON_VALUES)
    def test_json(self, document):
        self.check(json.dumps(document).encode())

    @given(
        strategies.dictionaries(
            strategies.sampled_from(sorted(base.POST)), JSON_VALUES
        )
    )
    def test_nearly_a_post(self, changes):
        self.check(json.dumps({**base.POST, **changes}).encode())

    @given(
        strategies.dictionaries(
            strategies.text(max_size=5), strategies.text(max_size=5)
        ),
        strategies.text(max_size=300),
    )
    def test_metadata_and_hostname(self, metadata, hostname):
        self.check(
            json.dumps(
                {**base.POST, 'metadata': metadata, 'hostname': hostname}
            ).encode()
        )
