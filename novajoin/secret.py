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
"""A secret is a type, not a field name.

A :class:`Secret` does not print, format, log, serialise, pickle or compare in
variable time. Its value leaves it only through :meth:`Secret.reveal`, which
is easy to find in a review and in a search.
"""

import hmac
from typing import Any
from typing import Final
from typing import Never

REDACTED: Final = '<redacted>'


class Secret:
    """Hold one secret text.

    :param value: the secret; kept as it is, also when it happens to read
        ``<redacted>``
    """

    __slots__ = ('_value',)

    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, '_value', value)

    def reveal(self) -> str:
        """Return the value itself; the only way to it."""
        return self._value

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError('a Secret cannot be changed')

    def __delattr__(self, name: str) -> Never:
        raise AttributeError('a Secret cannot be changed')

    def __repr__(self) -> str:
        return 'Secret(%s)' % REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, format_spec: str) -> str:
        return format(REDACTED, format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._value.encode('utf-8', 'surrogatepass'),
            other._value.encode('utf-8', 'surrogatepass'),
        )

    # A hash would be a fast, comparable function of the value.
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._value)

    def __copy__(self) -> 'Secret':
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Secret':
        # dataclasses.asdict() copies deeply: it gets the Secret, never
        # its text.
        return self

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError('a Secret cannot be pickled')

    def __getstate__(self) -> Never:
        raise TypeError('a Secret cannot be serialised')
