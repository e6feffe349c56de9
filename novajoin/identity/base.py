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
"""The contract of the identity backends: who owns hosts. Exactly one."""

import abc
from collections.abc import Mapping
from typing import Any
from typing import ClassVar

from novajoin import models
from novajoin import secret


class IdentityBackend(abc.ABC):
    """Own the hosts of the enrolled instances.

    An instance of a backend is made before the process forks: it must open
    no connection and start no thread in ``__init__`` or :meth:`validate`.
    Every method may be called by several threads at once.

    :param settings: the oslo.config group ``[identity_<name>]``
    :param store: what an embedded backend persists with, else None
    """

    #: Whether :attr:`novajoin.models.HostRequest.otp` is wanted.
    takes_otp: ClassVar[bool] = False

    def __init__(self, settings: Any, store: Any = None) -> None:
        self.settings = settings
        self.store = store

    @abc.abstractmethod
    def validate(self) -> None:
        """Look at the settings only; fatal at start.

        :raises ConfigurationError: with the option at fault
        """

    @abc.abstractmethod
    def check(self) -> None:
        """Talk to the backend; for health only.

        :raises IdentityUnavailable: with what is wrong
        """

    @abc.abstractmethod
    def ensure(self, request: models.HostRequest) -> models.Host:
        """Create the host, or confirm that it is there and ours.

        Idempotent: the same request for the same instance gives the same
        host with the same id, however often and by whichever process; an
        OTP in the request is in force afterwards. A host that was disabled
        is enabled again. Nothing that is not ours is ever touched.

        :raises IdentityRefused: the name belongs to somebody else
        :raises IdentityUnavailable: nothing is known; try again
        """

    @abc.abstractmethod
    def disable(self, host_id: str) -> None:
        """Make the host's credentials useless and keep the host.

        Idempotent; a host that is not there is no error.

        :param host_id: the backend's own id, from :meth:`ensure`
        :raises IdentityUnavailable: try again
        """

    @abc.abstractmethod
    def remove(self, host_id: str) -> None:
        """Remove the host and everything that :meth:`ensure` made for it.

        Idempotent; a host that is not there is no error. Goes by id only:
        a host of the same name made by somebody else stays.

        :param host_id: the backend's own id, from :meth:`ensure`
        :raises IdentityUnavailable: try again
        """

    def get_attributes(
        self, hostname: str, otp: secret.Secret | None
    ) -> Mapping[str, str | secret.Secret]:
        """Return what this backend adds to the answer for nova.

        Without I/O: the answer may go out before the backend has the host.

        :param hostname: the canonical FQDN
        :param otp: the derived one-time password while one is due
        """
        return {}
