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
"""Clients for where there is no OpenStack: the embedded defaults.

They answer nothing of their own: ``is_null`` tells the domain that nobody
can be asked, so that it gives nova's verdict itself. They say so loudly, and
``auth_strategy = keystone`` refuses them.
"""

from collections.abc import Mapping
import datetime
import logging

from novajoin import models
from novajoin.clients import base

LOG = logging.getLogger(__name__)


class NullCompute(base.ComputeClient):
    """There is no nova: whatever is posted is believed."""

    is_null = True

    def __init__(self) -> None:
        LOG.warning(
            'There is NO NOVA to ask: every instance that is posted is '
            'believed to exist, and nothing notices when one is gone. This '
            'is for trying novajoin out; set the account of '
            '[service_credentials] for anything else.'
        )

    def check(self) -> None:
        """Nothing can be wrong with what is not there."""

    def find_server(
        self, instance: str, *, timeout: float
    ) -> models.Server | None:
        """Say that there is no such instance; see ``is_null``."""
        return None

    def find_rebuild(
        self, instance: str, *, timeout: float
    ) -> models.Rebuild | None:
        """Say that there was no rebuild."""
        return None

    def list_servers(
        self,
        *,
        changes_since: datetime.datetime | None = None,
        marker: str | None = None,
        limit: int,
        timeout: float,
    ) -> list[models.Server]:
        """Return no servers; see ``is_null``."""
        return []


class NullImages(base.ImageClient):
    """There is no glance: no image has a property."""

    is_null = True

    def __init__(self) -> None:
        LOG.warning(
            'There is NO GLANCE to ask: instances enroll by their own '
            'metadata only, never by a property of their image.'
        )

    def check(self) -> None:
        """Nothing can be wrong with what is not there."""

    def find_properties(
        self, image: str, *, timeout: float
    ) -> Mapping[str, str] | None:
        """Return no properties."""
        return {}
