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
"""JSON as the API takes it: strictly.

``json.loads`` alone takes the last of two equal keys, ``NaN``, texts that
cannot be written as UTF-8, and any depth.
"""

from collections.abc import Iterator
import datetime
import json
import math
from typing import Any
from typing import Final

from novajoin import exceptions

#: Objects and lists within each other; nova needs two.
MAX_DEPTH: Final = 16

#: Integers that every database and client can hold.
_LARGEST: Final = 2**63 - 1


class _Refusal(Exception):
    """A part of the document is refused; the text says which."""


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refusal('The key %s is there twice.' % quote(key))
            seen.add(key)
    return document


def _refuse_constant(text: str) -> float:
    raise _Refusal('%s is no JSON.' % text)


def _make_int(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > _LARGEST:
        raise _Refusal('A number is out of range.')
    return int(text)


def _make_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refusal('A number is out of range.')
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_refuse_twins,
    parse_constant=_refuse_constant,
    parse_int=_make_int,
    parse_float=_make_float,
)


def quote(text: str) -> str:
    """Make a text from outside safe to show: ASCII, at most 80 characters."""
    shown = ascii(text[:80])
    return shown if len(text) <= 80 else shown + '…'


def parse(body: bytes) -> Any:
    """Return the document in a body.

    :raises InvalidBody: with what is wrong
    """
    if not body:
        raise exceptions.InvalidBody('The body is empty; it has to be JSON.')
    try:
        text = body.decode('utf-8')
        # A cheap count first: most bodies cannot be deep.
        if body.count(b'{') + body.count(b'[') > MAX_DEPTH and any(
            depth > MAX_DEPTH for depth in _walk_depths(text)
        ):
            raise _Refusal(
                'The body is nested more than %d levels deep.' % MAX_DEPTH
            )
        document = _DECODER.decode(text)
        if '\\u' in text:
            # Half of a surrogate pair has no UTF-8.
            json.dumps(document, ensure_ascii=False).encode('utf-8')
    except _Refusal as refusal:
        raise exceptions.InvalidBody(str(refusal)) from None
    except UnicodeDecodeError as error:
        raise exceptions.InvalidBody(
            'The body is not UTF-8 (at byte %d).' % error.start
        ) from None
    except UnicodeEncodeError:
        raise exceptions.InvalidBody(
            'The body holds half of a surrogate pair.'
        ) from None
    except json.JSONDecodeError as error:
        raise exceptions.InvalidBody(
            'The body is not JSON: %s at line %d, column %d.'
            % (error.msg, error.lineno, error.colno)
        ) from None
    return document


def _walk_depths(text: str) -> Iterator[int]:
    """Yield the depth after each bracket that is outside of a string."""
    depth = 0
    is_string = is_escaped = False
    for character in text:
        if is_string:
            if is_escaped:
                is_escaped = False
            elif character == '\\':
                is_escaped = True
            elif character == '"':
                is_string = False
        elif character == '"':
            is_string = True
        elif character in '{[':
            depth += 1
            yield depth
        elif character in '}]':
            depth -= 1


def dump(document: object) -> bytes:
    """Return a document as the body of an answer."""
    return json.dumps(document, separators=(',', ':')).encode('ascii')


def format_time(time: datetime.datetime) -> str:
    """Write a time in UTC, in whole seconds: ``2026-11-21T08:00:00Z``."""
    return time.strftime('%Y-%m-%dT%H:%M:%SZ')


def format_optional_time(time: datetime.datetime | None) -> str | None:
    """Write a time, or None."""
    return None if time is None else format_time(time)
