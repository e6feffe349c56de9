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
"""IDENTITY 4: the payload; EM9, EM11-EM13, EM17."""

import base64
import dataclasses
import datetime
import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st
import rfc8785

from novajoin import models
from novajoin import secret
from novajoin.bootstrap import payload
from novajoin.tests import base

UTC = datetime.timezone.utc
OPENED = datetime.datetime(2026, 11, 21, 8, 0, 5, 999999, tzinfo=UTC)
INSTANCE = '8f2cf9c4-6d1c-4d52-a3f0-4a4b0e9ff0a1'
TOKEN = 'njt1_' + 'a' * 58
USAGES = ('clientAuth', 'serverAuth')
URLS = (
    models.CheckinUrl('https://a.example.com:9998', 0),
    models.CheckinUrl('https://[fd00::1]:9998', 1),
)
ROOT = bytes(range(256)) * 2

ENROLLMENT = models.Enrollment(
    instance=INSTANCE,
    project='1' * 32,
    hostname='web1.example.com',
    state=models.State.PENDING,
    epoch=2,
    generation=3,
    opened_at=OPENED,
    expires_at=OPENED + datetime.timedelta(hours=1),
    salt=bytes(16),
    key_id='0' * 16,
    token_sha256=bytes(32),
    eku=USAGES,
    created_at=OPENED,
    updated_at=OPENED,
)


def build(enrollment=ENROLLMENT, token=TOKEN, urls=URLS, **kwargs):
    return payload.build(
        enrollment,
        payload.make_template(enrollment),
        ROOT,
        urls,
        None if token is None else secret.Secret(token),
        **kwargs,
    )


class PayloadTestCase(base.TestCase):
    def test_document(self):
        """Every field of version 1, by the specification."""
        rendered = payload.render(build(), 7)
        self.assertEqual(
            {
                'schema': 'novajoin.bootstrap/1',
                'issued_at': '2026-11-21T08:00:05Z',
                'expires_at': '2026-11-21T09:00:05Z',
                'seq': 7,
                'instance': {
                    'uuid': INSTANCE,
                    'project': '1' * 32,
                    'epoch': 2,
                    'generation': 3,
                },
                'csr': {
                    'subject': [['CN', 'web1.example.com']],
                    'dns': ['web1.example.com'],
                    'ip': [],
                    'uri': ['urn:uuid:' + INSTANCE],
                    'keys': ['ec-p256', 'ec-p384', 'rsa-3072'],
                    'eku': ['clientAuth', 'serverAuth'],
                },
                'ca': base64.b64encode(ROOT).decode(),
                'checkin': [
                    {'url': 'https://a.example.com:9998', 'priority': 0},
                    {'url': 'https://[fd00::1]:9998', 'priority': 1},
                ],
                'token': TOKEN,
                'params': {},
            },
            json.loads(rendered.document),
        )
        self.assertEqual(7, rendered.seq)
        self.assertEqual(
            hashlib.sha256(rendered.document).hexdigest(), rendered.sha256
        )

    def test_canonical(self):
        """RFC 8785: sorted keys, no blanks, ASCII, no floats."""
        document = payload.render(build(), 1).document
        text = document.decode('ascii')
        self.assertEqual(
            json.dumps(
                json.loads(text), sort_keys=True, separators=(',', ':')
            ),
            text,
        )
        self.assertNotIn(
            float, {type(value) for value in json.loads(text).values()}
        )

    def test_no_token(self):
        self.assertNotIn('token', build(token=None))

    def test_size(self):
        """EM17: at most 4 KiB with eight URLs and a real CA."""
        urls = [
            models.CheckinUrl('https://%s.example.com:9998' % ('x' * 50), n)
            for n in range(8)
        ]
        document = payload.render(build(urls=urls), 2**31).document
        self.assertLess(len(document), 4096)

    def test_too_large(self):
        """EM17: never more than 16 KiB."""
        body = build(params={'x': 'y' * 20000})
        error = self.assertRaises(ValueError, payload.render, body, 1)
        self.assertIn('16384', str(error))

    def test_long_name(self):
        """IDENTITY 5: CN is the name if it fits 64, else the uuid."""
        for size, fits in ((64, True), (65, False)):
            name = 'a' * (size - 4) + '.com'
            template = payload.make_template(
                dataclasses.replace(ENROLLMENT, hostname=name)
            )
            self.assertEqual(
                (('CN', name if fits else INSTANCE),), template.subject
            )
            self.assertEqual((name,), template.dns)

    def test_time(self):
        """EM9: RFC 3339 in UTC, whatever zone the time came in."""
        zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
        self.assertEqual(
            '2026-11-21T08:00:05Z',
            payload.format_time(OPENED.astimezone(zone)),
        )

    def test_digest_of_the_body(self):
        """What is the same but for the number shares the number."""
        digest = payload.get_body_digest(build())
        self.assertEqual(digest, payload.get_body_digest(build()))
        for other in (
            build(token=None),
            build(urls=URLS[:1]),
            build(params={'a': 'b'}),
            build(dataclasses.replace(ENROLLMENT, epoch=3)),
        ):
            self.assertNotEqual(digest, payload.get_body_digest(other))

    def test_does_not_print(self):
        """The document is not in the representation: it has the token."""
        self.assertNotIn(TOKEN, repr(payload.render(build(), 1)))

    @given(
        st.dictionaries(
            st.text(
                alphabet=st.characters(min_codepoint=33, max_codepoint=126),
                min_size=1,
                max_size=20,
            ),
            st.text(max_size=50),
            max_size=10,
        ),
        st.integers(1, 2**31),
    )
    def test_any_parameters(self, params, seq):
        """Canonical bytes are a fixed point; nothing is lost."""
        body = build(params=params)
        rendered = payload.render(body, seq)
        read = json.loads(rendered.document)
        self.assertEqual(params, read['params'])
        self.assertEqual(rendered.document, rfc8785.dumps(read))
        shuffled = dict(reversed(list(body.items())))
        self.assertEqual(rendered, payload.render(shuffled, seq))
