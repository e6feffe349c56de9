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
"""Join tokens and one-time passwords: derived, never stored.

``MAC = HMAC-SHA256(key, label ‖ 0x00 ‖ instance (16) ‖ epoch (u32) ‖
generation (u32) ‖ salt (16))``, integers big-endian. Key and salt are fixed
on the row when the generation opens, so that every process derives the same
credential and a rotation changes none that is out.
"""

import base64
import binascii
import hashlib
import hmac
import re
import struct
from typing import Final
import uuid

from novajoin import models
from novajoin import secret

_TOKEN_LABEL: Final = b'join-token'
_OTP_LABEL: Final = b'ipa-otp'
_TOKEN_PREFIX: Final = 'njt1_'  # noqa: S105 a prefix, for secret scanners
_OTP_PREFIX: Final = 'nji1'
_TOKEN = re.compile(r'njt1_[a-z2-7]{58}', re.ASCII)
#: Bytes of the salt.
SALT_SIZE: Final = 16


def _derive(
    key: bytes,
    label: bytes,
    instance: str,
    epoch: int,
    generation: int,
    salt: bytes,
) -> bytes:
    message = b''.join(
        (
            label,
            b'\x00',
            uuid.UUID(instance).bytes,
            struct.pack('>II', epoch, generation),
            salt,
        )
    )
    return hmac.digest(key, message, 'sha256')


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw).decode('ascii').rstrip('=').lower()


def _get_checksum(mac: bytes) -> bytes:
    return struct.pack('>I', binascii.crc32(_TOKEN_PREFIX.encode() + mac))


def derive(
    key: bytes, instance: str, epoch: int, generation: int, salt: bytes
) -> models.Credential:
    """Derive token and one-time password of a generation.

    :param key: 32 bytes, the credential key named on the row
    :param instance: instance uuid
    :param salt: 16 bytes, from the row
    """
    arguments = (instance, epoch, generation, salt)
    token = _derive(key, _TOKEN_LABEL, *arguments)
    otp = _derive(key, _OTP_LABEL, *arguments)
    return models.Credential(
        token=secret.Secret(
            _TOKEN_PREFIX + _encode(token + _get_checksum(token))
        ),
        otp=secret.Secret(_OTP_PREFIX + _encode(otp[:20])),
    )


def is_well_formed(token: str) -> bool:
    """Whether a text has the form and the checksum of a join token."""
    if _TOKEN.fullmatch(token) is None:
        return False
    raw = base64.b32decode(token[len(_TOKEN_PREFIX) :].upper() + '=' * 6)
    mac, checksum = raw[:32], raw[32:]
    # The two last bits of the text carry nothing; they must be zero, or
    # several texts would be one token.
    return checksum == _get_checksum(mac) and token.endswith(_encode(raw)[-2:])


def get_digest(token: str) -> bytes:
    """Return what the row holds of a token: its SHA-256, 32 bytes."""
    return hashlib.sha256(token.encode('utf-8', 'surrogatepass')).digest()
