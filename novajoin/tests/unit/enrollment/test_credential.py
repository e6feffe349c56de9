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
"""IDENTITY 3: join tokens and one-time passwords."""

import base64
import binascii
import hashlib
import hmac
import struct
import uuid

from hypothesis import given
from hypothesis import strategies as st

from novajoin.enrollment import credential
from novajoin.tests import base

KEY = bytes(range(32))
INSTANCE = '8f2cf9c4-6d1c-4d52-a3f0-4a4b0e9ff0a1'
SALT = bytes(range(16))
ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

keys = st.binary(min_size=32, max_size=32)
salts = st.binary(min_size=16, max_size=16)
counters = st.integers(1, 2**32 - 1)
uuids = st.uuids().map(str)


def derive(key=KEY, instance=INSTANCE, epoch=1, generation=1, salt=SALT):
    derived = credential.derive(key, instance, epoch, generation, salt)
    return derived.token.reveal(), derived.otp.reveal()


class DeriveTestCase(base.TestCase):
    def test_definition(self):
        """The formats, computed here a second time from the rule."""
        fixed = uuid.UUID(INSTANCE).bytes + struct.pack('>II', 7, 3) + SALT
        mac = hmac.new(KEY, b'join-token\0' + fixed, hashlib.sha256).digest()
        crc = binascii.crc32(b'njt1_' + mac).to_bytes(4, 'big')
        token = base64.b32encode(mac + crc).decode().rstrip('=').lower()
        mac = hmac.new(KEY, b'ipa-otp\0' + fixed, hashlib.sha256).digest()
        otp = base64.b32encode(mac[:20]).decode().lower()
        self.assertEqual(
            ('njt1_' + token, 'nji1' + otp), derive(epoch=7, generation=3)
        )

    @given(keys, uuids, counters, counters, salts)
    def test_forms(self, key, instance, epoch, generation, salt):
        token, otp = derive(key, instance, epoch, generation, salt)
        self.assertEqual(63, len(token))
        self.assertRegex(token, '^njt1_[a-z2-7]{58}$')
        self.assertRegex(otp, '^nji1[a-z2-7]{32}$')
        self.assertTrue(credential.is_well_formed(token))
        self.assertFalse(credential.is_well_formed(otp))
        # Who sees the password learns nothing of the token.
        self.assertNotIn(otp[4:20], token)
        self.assertEqual(
            (token, otp), derive(key, instance, epoch, generation, salt)
        )

    @given(
        st.tuples(keys, uuids, counters, counters, salts),
        st.tuples(keys, uuids, counters, counters, salts),
        st.integers(0, 4),
    )
    def test_everything_counts(self, one, other, index):
        """Each of key, instance, epoch, generation and salt separates."""
        changed = [*one[:index], other[index], *one[index + 1 :]]
        if changed == list(one):
            return
        self.assertNotEqual(derive(*one)[0], derive(*changed)[0])
        self.assertNotEqual(derive(*one)[1], derive(*changed)[1])

    def test_secrets_do_not_print(self):
        derived = credential.derive(KEY, INSTANCE, 1, 1, SALT)
        self.assertNotIn(derived.token.reveal(), repr(derived))
        self.assertNotIn(derived.otp.reveal(), repr(derived))


class WellFormedTestCase(base.TestCase):
    @given(keys, st.integers(0, 62), st.sampled_from(ALPHABET + 'A0189_-='))
    def test_one_character(self, key, position, other):
        """Any single character that differs is refused."""
        token, _ = derive(key)
        if token[position] == other:
            return
        changed = token[:position] + other + token[position + 1 :]
        self.assertFalse(credential.is_well_formed(changed))

    def test_every_last_character(self):
        """The last character has bits to spare: only one text is valid."""
        token, _ = derive()
        self.assertEqual(
            [token],
            [
                token[:-1] + last
                for last in ALPHABET
                if credential.is_well_formed(token[:-1] + last)
            ],
        )

    @given(keys, st.integers(0, 61))
    def test_swapped_neighbours(self, key, position):
        token, _ = derive(key)
        letters = list(token)
        letters[position : position + 2] = letters[
            position + 1 : (position - 1 if position else None) : -1
        ]
        changed = ''.join(letters)
        if changed != token:
            self.assertFalse(credential.is_well_formed(changed))

    @given(st.text())
    def test_any_text(self, text):
        self.assertFalse(credential.is_well_formed(text))

    @given(st.text(alphabet=ALPHABET, min_size=58, max_size=58))
    def test_any_body(self, text):
        """All but one in 2^32 of the texts of the right form."""
        body = base64.b32decode(text.upper() + '======')
        good = body[32:36] == binascii.crc32(b'njt1_' + body[:32]).to_bytes(
            4, 'big'
        )
        self.assertEqual(
            good and credential._encode(body) == text,
            credential.is_well_formed('njt1_' + text),
        )

    def test_hostile(self):
        token, _ = derive()
        for text in (
            '',
            'njt1_',
            token.upper(),
            token + '\n',
            ' ' + token,
            token[:-1],
            token + 'a',
            token.replace('njt1_', 'njt2_'),
            token[:-1] + 'ſ',
            token * 1000,
            '\udc80' * 63,
        ):
            self.assertFalse(credential.is_well_formed(text), text[:80])


class DigestTestCase(base.TestCase):
    def test_digest(self):
        token, _ = derive()
        self.assertEqual(
            hashlib.sha256(token.encode()).digest(),
            credential.get_digest(token),
        )

    @given(st.text(alphabet=st.characters(exclude_categories=())))
    def test_any_text(self, text):
        self.assertEqual(32, len(credential.get_digest(text)))
