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
"""What the API works with."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Protocol

from oslo_config import cfg

from novajoin import models
from novajoin import policy
from novajoin.api import health


class Admission(Protocol):
    """Answers nova; :class:`novajoin.enrollment.admission.Admission`."""

    def answer(
        self, post: models.VendordataPost, caller: models.Caller
    ) -> Mapping[str, object]:
        """Return what the instance is to read, empty if it did not ask."""


class Operations(Protocol):
    """What operators see and do;
    :class:`novajoin.enrollment.operations.Operations`."""

    def find_enrollment(self, instance: str) -> models.Enrollment | None:
        """Return an enrollment, or None."""

    def list_enrollments(
        self,
        *,
        project: str | None,
        state: models.State | None,
        hostname: str | None,
        limit: int,
        marker: str | None,
    ) -> Sequence[models.Enrollment]:
        """Return a page of enrollments by instance uuid."""

    def find_certificate(self, serial: str) -> models.Certificate | None:
        """Return a certificate, or None."""

    def list_certificates(
        self,
        *,
        instance: str | None,
        project: str | None,
        limit: int,
        marker: str | None,
    ) -> Sequence[models.Certificate]:
        """Return a page of certificates by serial."""

    def list_events(
        self,
        *,
        instance: str | None,
        project: str | None,
        limit: int,
        marker: int | None,
    ) -> Sequence[models.Event]:
        """Return a page of the audit log, oldest first."""

    def revoke(
        self, instance: str, caller: models.Caller
    ) -> models.Enrollment:
        """Revoke the certificates of an enrollment."""

    def retry(self, instance: str, caller: models.Caller) -> models.Enrollment:
        """Put failed work back into the queue."""

    def reissue(
        self,
        instance: str,
        caller: models.Caller,
        *,
        expected: tuple[int, int] | None,
    ) -> models.Enrollment:
        """Open a new generation; *expected* is (epoch, generation)."""

    def release(
        self, instance: str, caller: models.Caller, *, reason: str
    ) -> models.Enrollment:
        """Take the identity away."""

    def revoke_certificate(
        self, serial: str, caller: models.Caller
    ) -> models.Certificate:
        """Revoke one certificate."""


#: Returns what a project may ask for; an empty list of each kind for a
#: project that has no section in join.conf.
FindAllowList = Callable[[str], models.AllowList]


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """What the API works with.

    :ivar checks: what health depends on, by name: ``database``, ``nova`` …
    """

    admission: Admission
    operations: Operations
    policy: policy.Policy
    find_allow_list: FindAllowList
    checks: Mapping[str, health.Check]


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How the API behaves.

    :ivar conf: where keystonemiddleware and oslo.middleware read their own
        sections
    :ivar is_noauth: whether everybody on this machine is an administrator
    :ivar vendordata_user_ids: who may post; see
        :func:`novajoin.context.is_vendordata_user`
    :ivar max_body: bytes
    :ivar max_page: items
    :ivar page: items, where the caller names no limit
    :ivar has_proxy: whether to believe the headers of a proxy
    """

    conf: cfg.ConfigOpts
    is_noauth: bool = False
    vendordata_user_ids: frozenset[str] = frozenset()
    max_body: int = 256 * 1024
    max_page: int = 1000
    page: int = 100
    has_proxy: bool = False
