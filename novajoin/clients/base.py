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
"""What novajoin asks of other OpenStack services, and nothing more.

A client tells "it is not there" (None, on the peer's own 404 only) from "I
do not know" (an error): whoever deletes something on an answer must never
mistake one for the other.

Every method may be called by several threads at once.
"""

import abc
from collections.abc import Mapping
import datetime
from typing import ClassVar

from novajoin import models


class ComputeClient(abc.ABC):
    """Ask nova about instances, in any project."""

    #: Whether there is no nova to ask: then everything is believed.
    is_null: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self) -> None:
        """Talk to nova; for health only.

        :raises ComputeUnavailable: with what is wrong
        """

    @abc.abstractmethod
    def find_server(
        self, instance: str, *, timeout: float
    ) -> models.Server | None:
        """Return what nova says about an instance.

        A soft-deleted instance is still found (``SOFT_DELETED``).

        :param instance: instance uuid
        :param timeout: how long to wait for nova, in seconds
        :returns: None when nova itself answered that it has no such
            instance, and in no other case
        :raises ComputeUnavailable: nova gave no usable answer
        """

    @abc.abstractmethod
    def find_rebuild(
        self, instance: str, *, timeout: float
    ) -> models.Rebuild | None:
        """Return the newest rebuild of an instance.

        An evacuation is an action of its own and no rebuild.

        :param instance: instance uuid
        :param timeout: how long to wait for nova, in seconds
        :returns: None when nova knows of no rebuild, or not of the instance
        :raises ComputeUnavailable: nova gave no usable answer
        """

    @abc.abstractmethod
    def list_servers(
        self,
        *,
        changes_since: datetime.datetime | None = None,
        marker: str | None = None,
        limit: int,
        timeout: float,
    ) -> list[models.Server]:
        """Return one page of the servers of all projects.

        :param changes_since: only servers changed at or after this time,
            and then deleted ones too (``DELETED``)
        :param marker: the last instance of the page before
        :param limit: at most this many; nova may give fewer, so the list is
            at its end only where a page is empty
        :param timeout: how long to wait for nova, in seconds
        :raises ComputeUnavailable: nova gave no usable answer
        """


class ImageClient(abc.ABC):
    """Ask glance about images."""

    #: Whether there is no glance to ask: then no image is known.
    is_null: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self) -> None:
        """Talk to glance; for health only.

        :raises ImageUnavailable: with what is wrong
        """

    @abc.abstractmethod
    def find_properties(
        self, image: str, *, timeout: float
    ) -> Mapping[str, str] | None:
        """Return the properties of an image.

        :param image: image id
        :param timeout: how long to wait for glance, in seconds
        :returns: those properties whose value is a text, tags and links
            aside; None when glance itself answered that there is no such
            image, and in no other case
        :raises ImageUnavailable: glance gave no usable answer
        """
