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
"""The embedded identity backend: hosts in novajoin's own database."""

import datetime
from typing import Protocol
import uuid

from novajoin import exceptions
from novajoin import models
from novajoin.identity import base


class Store(Protocol):
    """What the backend persists with."""

    def check(self) -> None:
        """:raises DatabaseUnavailable: with what is wrong"""

    def find_host(self, hostname: str) -> models.Host | None:
        """Return the host of a canonical name, or None."""

    def add_host(
        self, host: models.Host, project: str, now: datetime.datetime
    ) -> bool:
        """Insert a host; return False where the name is taken."""

    def enable_host(self, host_id: str, enabled: bool) -> None:
        """Enable or disable a host; unknown ids are no error."""

    def remove_host(self, host_id: str) -> None:
        """Remove a host; unknown ids are no error."""


class EmbeddedIdentity(base.IdentityBackend):
    """Own hosts without a service besides: one row each."""

    store: Store

    def validate(self) -> None:
        """Accept: there is nothing to set."""

    def check(self) -> None:
        self.store.check()

    def ensure(self, request: models.HostRequest) -> models.Host:
        host = self.store.find_host(request.hostname)
        if host is None:
            host = models.Host(
                id=str(uuid.uuid4()),
                hostname=request.hostname,
                instance=request.instance,
            )
            now = datetime.datetime.now(datetime.timezone.utc)
            if self.store.add_host(host, request.project, now):
                return host
            host = self.store.find_host(request.hostname)
            if host is None:
                raise exceptions.IdentityUnavailable(
                    'The host %s came and went.' % request.hostname
                )
        if host.instance != request.instance:
            raise exceptions.IdentityRefused(
                'The name %s belongs to another instance.' % request.hostname
            )
        if not host.is_enabled:
            self.store.enable_host(host.id, True)
        return models.Host(
            id=host.id, hostname=host.hostname, instance=host.instance
        )

    def disable(self, host_id: str) -> None:
        self.store.enable_host(host_id, False)

    def remove(self, host_id: str) -> None:
        self.store.remove_host(host_id)
