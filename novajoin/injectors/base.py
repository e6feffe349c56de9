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
"""The contract of the injectors: ways to hand the payload over. A list."""

import abc
from collections.abc import Mapping
import enum
from typing import Any
from typing import ClassVar

from novajoin import models
from novajoin import secret


class Direction(enum.StrEnum):
    """Which way bytes can go."""

    ONE_WAY = 'one-way'
    TWO_WAY = 'two-way'


class Injector(abc.ABC):
    """Render the payload in one carrier's form.

    :param settings: the oslo.config group ``[injector_<name>]``
    """

    #: A one-way injector carries the token, and the CSR goes over https.
    direction: ClassVar[Direction]
    #: Whether policy may let a private key travel this way. Where it may
    #: not, :mod:`novajoin.bootstrap.handover` gives the injector none.
    may_carry_key: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abc.abstractmethod
    def validate(self) -> None:
        """Look at the settings only; fatal at start.

        :raises ConfigurationError: with the option at fault
        """

    @abc.abstractmethod
    def check(self) -> None:
        """Talk to whatever carries the payload; for health only.

        :raises Unavailable: with what is wrong
        """


class VendordataRenderer(abc.ABC):
    """An ability: what nova puts under ``join`` in vendor_data2.json."""

    @abc.abstractmethod
    def render(
        self,
        hostname: str,
        attributes: Mapping[str, str | secret.Secret],
        payload: models.Payload,
    ) -> dict[str, object]:
        """Render the answer for nova.

        :param hostname: the canonical FQDN
        :param attributes: what the identity backend adds
        :param payload: the bootstrap document
        :returns: the JSON object, secrets revealed: for the wire only
        """
