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
"""Slices of DER, for what the cryptography library does not show.

It reads lengths and never recurses: how deep hostile bytes nest does not
matter to it.
"""

from collections.abc import Iterator
import dataclasses
from typing import Final

SEQUENCE: Final = 0x30
SET: Final = 0x31
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
#: [0], constructed
CONTEXT_0: Final = 0xA0

_MAX_LENGTH_BYTES: Final = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Element:
    """One tag-length-value.

    :ivar tag: the identifier octet
    :ivar content: what is in it
    :ivar encoding: all of it
    """

    tag: int
    content: bytes
    encoding: bytes


def read(data: bytes) -> Element:
    """Read bytes that hold exactly one element.

    :raises ValueError: with what is wrong, in words safe for the sender
    """
    element = _read_first(data)
    if len(element.encoding) != len(data):
        raise ValueError(
            '%d bytes follow its end' % (len(data) - len(element.encoding))
        )
    return element


def split(data: bytes) -> Iterator[Element]:
    """Read the elements that stand one after the other.

    :raises ValueError: with what is wrong
    """
    while data:
        element = _read_first(data)
        yield element
        data = data[len(element.encoding) :]


def _read_first(data: bytes) -> Element:
    if len(data) < 2:
        raise ValueError('it is cut off')
    tag, length = data[0], data[1]
    if tag & 0x1F == 0x1F:
        raise ValueError('it holds a tag of several bytes')
    start = 2
    if length == 0x80:
        raise ValueError('it has an indefinite length (BER, not DER)')
    if length > 0x80:
        start += length - 0x80
        if length - 0x80 > _MAX_LENGTH_BYTES:
            raise ValueError('it states an absurd length')
        length = int.from_bytes(data[2:start], 'big')
        if length < 0x80 or data[2] == 0:
            raise ValueError('it states a length in too many bytes')
    end = start + length
    if end > len(data):
        raise ValueError('it is cut off, or states too large a length')
    return Element(tag, data[start:end], data[:end])
