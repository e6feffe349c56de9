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
"""What the check-in application is given to work with."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Protocol

from novajoin import models


class Outcome(Protocol):
    """What became of a request for a certificate."""

    @property
    def certificate(self) -> bytes | None:
        """The certificate, DER; None while a verdict is outstanding."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The issuing CA certificates below the root, DER."""


class Redemption(Protocol):
    """The part of the domain that instances talk to.

    Every method raises the errors of the table in IDENTITY section 5, and
    does the same work for an unknown instance as for a wrong token.
    """

    def redeem(
        self, instance: str, token: str, csr: bytes, request_id: str
    ) -> Outcome:
        """Exchange a join token and a CSR (DER) for a certificate."""

    def authenticate(self, instance: str, token: str) -> models.Enrollment:
        """Return the enrollment of a join token; consumes nothing."""

    def get_template(
        self, enrollment: models.Enrollment
    ) -> models.CsrTemplate:
        """Return what the instance is to put into its CSR."""

    def renew(self, peer: bytes, csr: bytes, request_id: str) -> Outcome:
        """Exchange the certificate of the TLS client for a new one.

        :param peer: the client's certificate, DER
        """

    def receive_receipt(
        self, peer: bytes, seq: int, sha256: str, request_id: str
    ) -> None:
        """Note that the instance has its payload.

        :param peer: the client's certificate, DER
        :param sha256: digest of the payload, 64 lower-case hex digits
        """


@dataclasses.dataclass(frozen=True)
class Services:
    """Everything below the application.

    :ivar redemption: the domain
    :ivar get_chain: returns root and intermediates; raises CAUnavailable
    :ivar find_crl: returns the CRL of a CA, or None when there is no such
        CA or it has none
    :ivar health: checks by name. One returns None when all is well or a
        sentence about what needs attention soon; it raises NovajoinError
        when the process cannot serve.
    """

    redemption: Redemption
    get_chain: Callable[[], models.Chain]
    find_crl: Callable[[str], models.Crl | None]
    health: Mapping[str, Callable[[], str | None]] = dataclasses.field(
        default_factory=dict
    )
