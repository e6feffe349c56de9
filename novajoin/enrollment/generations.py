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
"""What a new generation of an enrollment begins with.

A process looks at its keys every few seconds, and may not know yet that one
of them was retired. The transaction that opens a generation finds out, and
everything is made again with the keys as they are now.
"""

from collections.abc import Callable
import datetime
from typing import TypeVar

from novajoin import exceptions
from novajoin.enrollment import lifecycle
from novajoin.keys import repository

_T = TypeVar('_T')


class Generations:
    """Make the columns of new generations.

    :param token_lifetime: seconds for which a token may be redeemed
    :param get_usages: returns the extended key usages that the CA gives
    """

    def __init__(
        self,
        keys: repository.Repository,
        token_lifetime: int,
        get_usages: Callable[[], tuple[str, ...]],
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._keys = keys
        self._token_lifetime = token_lifetime
        self._get_usages = get_usages
        self._clock = clock

    def open(
        self,
        instance: str,
        epoch: int,
        generation: int,
        function: Callable[[dict[str, object]], _T],
    ) -> _T:
        """Run a function that opens a generation.

        Where the key was retired it is run once more, with the primary of
        the files as they are at that moment.

        :param function: takes the columns that the generation sets; what it
            did before it raises KeyRetired, it or its caller takes back
        :returns: what the function returned
        :raises KeyRetired: this host's key repository has no later key
        :raises KeyUnavailable: there is no key
        :raises CAUnavailable: nobody knows what the CA gives
        """
        try:
            return function(self._make(instance, epoch, generation))
        except exceptions.KeyRetired:
            self._keys.reload()
        return function(self._make(instance, epoch, generation))

    def _make(
        self, instance: str, epoch: int, generation: int
    ) -> dict[str, object]:
        key = self._keys.get_primary(repository.CREDENTIAL)
        return lifecycle.make_generation(
            key.secret,
            key.id,
            self._token_lifetime,
            self._clock(),
            instance,
            epoch,
            generation,
            self._get_usages(),
        )
