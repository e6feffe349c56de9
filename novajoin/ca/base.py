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
"""The contract of the CA backends: who issues certificates. Exactly one."""

import abc
import datetime
from typing import Any

from novajoin import models


class CABackend(abc.ABC):
    """Issue and revoke the instances' certificates.

    An instance of a backend is made before the process forks: it must open
    no connection and start no thread in ``__init__`` or :meth:`validate`.
    Every method may be called by several threads at once.

    :param settings: the oslo.config group ``[ca_<name>]``
    :param store: what an embedded backend persists with, else None
    """

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

        :raises CAUnavailable: with what is wrong
        """

    @abc.abstractmethod
    def get_chain(self) -> models.Chain:
        """Return root and intermediates.

        :raises CAUnavailable: try again
        """

    @abc.abstractmethod
    def issue(
        self, order: models.CertificateOrder
    ) -> models.IssuedCertificate:
        """Sign a certificate for an instance.

        The same order may come again after a crash; a CA that picks the
        serial itself must then find the earlier certificate. Names outside
        the CA's constraints are refused.

        :raises CAUnavailable: try again with the same order
        :raises IdentityRefused: the CA does not issue this
        """

    @abc.abstractmethod
    def revoke(
        self,
        issuer: str,
        serial: str,
        reason: models.RevocationReason,
        at: datetime.datetime,
    ) -> None:
        """Revoke a certificate.

        Idempotent; an unknown or already revoked serial is no error.

        :param issuer: id of the CA that issued it
        :param serial: lower-case hex digits
        :param reason: why
        :param at: when our database revoked it
        :raises CAUnavailable: try again
        """

    def get_extended_key_usages(self) -> tuple[str, ...]:
        """Return the usages of the instances' certificates.

        :returns: their OpenSSL names
        :raises CAUnavailable: try again
        """
        return ('clientAuth', 'serverAuth')


class OrderChecker(abc.ABC):
    """An extra ability: what is refused is known before it is ordered."""

    @abc.abstractmethod
    def check_order(self, order: models.CertificateOrder) -> None:
        """Look whether a certificate would be issued; signs nothing.

        :raises IdentityRefused: the CA does not issue this
        :raises CAUnavailable: try again
        """


class CrlPublisher(abc.ABC):
    """An extra ability: the backend's CRLs are ours to sign and to serve."""

    @abc.abstractmethod
    def publish_crl(
        self, now: datetime.datetime, *, force: bool = False
    ) -> models.Crl | None:
        """Sign and store a new CRL of the instance CA where one is due.

        Due: there is none, a revocation is not yet on it, or half of its
        life is over. Idempotent and safe to run in several processes.

        :param force: sign a new one in any case
        :returns: the new CRL, or None where the stored one will do
        :raises CAUnavailable: the key is not in this process's repository
        """

    def publish_other_crls(
        self, now: datetime.datetime, *, force: bool = False
    ) -> list[models.Crl]:
        """Sign and store CRLs of CAs beside and above the instance CA.

        Each where it is due, and where its key is with this process: no key
        is missed here. Idempotent and safe to run in several processes.

        :param force: sign new ones in any case
        :returns: the new ones
        :raises CAUnavailable: try again
        """
        return []

    def list_crl_faults(self, now: datetime.datetime) -> list[str]:
        """Return which CRLs are, or are about to be, out of date.

        None keeps a process from its work: who signs them may be away.

        :returns: sentences for the operator
        :raises CAUnavailable: try again
        """
        return []

    @abc.abstractmethod
    def find_crl(self, issuer: str) -> models.Crl | None:
        """Return the stored CRL of a CA.

        :param issuer: id of the CA
        """


class ServiceIssuer(abc.ABC):
    """An extra ability: certificates for the check-in service itself."""

    @abc.abstractmethod
    def issue_service(
        self, csr: bytes, names: frozenset[str], now: datetime.datetime
    ) -> models.IssuedCertificate:
        """Sign a check-in process's own certificate.

        :param csr: DER PKCS#10
        :param names: the DNS names and IP addresses that the configuration
            allows; the CSR must ask for nothing else
        :param now: the present
        :raises CsrError: the request is refused
        :raises CAUnavailable: the key is not in this process's repository
        """
