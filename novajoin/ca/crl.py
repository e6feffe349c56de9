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
"""The embedded CA's CRLs (RFC 5280 section 5): one of each CA.

They are in the database. Any process that holds the CA's key may sign the
next one, and every process serves what is stored.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import datetime
from typing import Final
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.ca import authority as ca_authority
from novajoin.keys import authorities

LOG = logging.getLogger(__name__)

#: How often to look again when other processes publish CRLs too.
_ATTEMPTS: Final = 5

#: How often to log a fault that stays.
_REMINDER: Final = datetime.timedelta(days=1)

_REASONS: Final = {
    models.RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    models.RevocationReason.AFFILIATION_CHANGED: (
        x509.ReasonFlags.affiliation_changed
    ),
    models.RevocationReason.SUPERSEDED: x509.ReasonFlags.superseded,
    models.RevocationReason.CESSATION_OF_OPERATION: (
        x509.ReasonFlags.cessation_of_operation
    ),
}

#: On the root's CRL are CAs (RFC 5280 section 5.3.1).
_ROOT_REASONS: Final = {
    **_REASONS,
    models.RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.ca_compromise,
}


class CrlStore(Protocol):
    """Where CRLs are, and what belongs on them: the database."""

    def find_crl(self, issuer: str) -> models.Crl | None:
        """Return the stored CRL of a CA.

        :raises DatabaseUnavailable: try again
        """

    def put_crl(self, crl: models.Crl) -> bool:
        """Store a CRL, in place of one with a lower number.

        :returns: False, with nothing changed, where the stored one has the
            same or a higher number
        :raises DatabaseUnavailable: try again
        """

    def list_issuers(self, now: datetime.datetime) -> Collection[str]:
        """Return the ids of the CAs that issued what is valid, or have a CRL.

        :raises DatabaseUnavailable: try again
        """

    def list_revoked(
        self, issuer: str, since: datetime.datetime
    ) -> list[models.Revocation]:
        """Return what a CA issued and revoked: certificates and CAs.

        :param since: what had expired by then is left out
        :raises DatabaseUnavailable: try again
        """

    def revoke_authority(self, authority: models.RevokedAuthority) -> None:
        """Revoke an intermediate; idempotent.

        :raises DatabaseUnavailable: try again
        """


class Publisher:
    """Sign CRLs where they are due, and see where they are overdue.

    May be used by several threads.

    :param store: where they are kept
    :param lifetimes: from a CRL to its nextUpdate, by the kind of CA
    """

    def __init__(
        self,
        store: CrlStore,
        lifetimes: Mapping[str, datetime.timedelta],
    ) -> None:
        self._store = store
        self._lifetimes = lifetimes
        self._listed: dict[str, tuple[int, frozenset[int]]] = {}
        self._told: dict[str, datetime.datetime] = {}

    def publish(
        self,
        authority: ca_authority.Authority,
        now: datetime.datetime,
        *,
        force: bool = False,
    ) -> models.Crl | None:
        """Sign and store a new CRL of a CA where one is due.

        :param now: becomes the CRL's thisUpdate
        :param force: sign a new one in any case
        :returns: the new one, or None where the stored one will do
        :raises CAUnavailable: the CA's key is not with this process
        :raises DatabaseUnavailable: try again
        """
        now = now.replace(microsecond=0)
        for _ in range(_ATTEMPTS):
            stored = self._store.find_crl(authority.id)
            # Who expired since the last CRL is on one more (RFC 5280 3.3).
            since = min(stored.this_update, now) if stored else now
            revoked = self._store.list_revoked(authority.id, since)
            if not force and not self._is_due(stored, revoked, now):
                return None
            crl = self._sign(authority, stored, revoked, now)
            if self._store.put_crl(crl):
                LOG.info(
                    'Signed CRL %d of %s (%s) with %d entries.',
                    crl.number,
                    authority.id,
                    authority.kind,
                    len(revoked),
                )
                return crl
        raise exceptions.CAUnavailable(
            'Other processes publish the CRL of %s all the time.'
            % authority.id
        )

    def find_fault(
        self, authority: ca_authority.Authority, now: datetime.datetime
    ) -> str | None:
        """Return what is wrong with the CRL of a CA, or None.

        One is signed anew after half of its life. Where three quarters are
        over, nobody has done it.

        :raises DatabaseUnavailable: try again
        """
        crl = self._store.find_crl(authority.id)
        name = '%s (%s)' % (authority.id, authority.kind)
        if crl is None:
            if authority.key is not None:
                return None  # novajoin-notify is about to sign it.
            return 'There is no CRL of the CA %s yet. %s' % (
                name,
                _get_remedy(authority),
            )
        late = crl.next_update - (crl.next_update - crl.this_update) / 4
        if now < late:
            return None
        return 'The CRL of the CA %s %s out of date %s. %s' % (
            name,
            'is' if now >= crl.next_update else 'will be',
            crl.next_update.isoformat(),
            _get_remedy(authority),
        )

    def warn(self, faults: Iterable[str], now: datetime.datetime) -> None:
        """Log faults, each once a day."""
        faults = list(faults)
        self._told = {
            fault: told_at
            for fault, told_at in self._told.items()
            if fault in faults
        }
        for fault in faults:
            told_at = self._told.get(fault)
            if told_at is None or now - told_at >= _REMINDER:
                LOG.warning('%s', fault)
                self._told[fault] = now

    def _is_due(
        self,
        stored: models.Crl | None,
        revoked: Collection[models.Revocation],
        now: datetime.datetime,
    ) -> bool:
        if stored is None:
            return True
        half = (stored.next_update - stored.this_update) / 2
        if now >= stored.this_update + half:
            return True
        listed = self._get_listed(stored)
        return any(int(entry.serial, 16) not in listed for entry in revoked)

    def _get_listed(self, stored: models.Crl) -> frozenset[int]:
        """Return the serials on a CRL; the last one is remembered."""
        number, serials = self._listed.get(stored.issuer, (0, frozenset()))
        if number != stored.number:
            crl = x509.load_der_x509_crl(stored.der)
            serials = frozenset(entry.serial_number for entry in crl)
            self._listed[stored.issuer] = (stored.number, serials)
        return serials

    def _sign(
        self,
        authority: ca_authority.Authority,
        stored: models.Crl | None,
        revoked: Collection[models.Revocation],
        now: datetime.datetime,
    ) -> models.Crl:
        key = authority.get_key()
        # One after the stored one: who stores it finds out when another
        # process was first. The first one counts seconds, so that numbers
        # grow even when the database is lost.
        number = stored.number + 1 if stored else int(now.timestamp())
        next_update = now + self._lifetimes[authority.kind]
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.name)
            .last_update(now)
            .next_update(next_update)
            .add_extension(authority.key_identifier, critical=False)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for entry in revoked:
            builder = builder.add_revoked_certificate(
                _make_entry(authority.kind, entry)
            )
        signed = builder.sign(key, ca_authority.get_hash(key))
        return models.Crl(
            issuer=authority.id,
            number=number,
            der=signed.public_bytes(serialization.Encoding.DER),
            this_update=now,
            next_update=next_update,
        )


def _get_remedy(authority: ca_authority.Authority) -> str:
    if authority.kind == authorities.ROOT:
        return (
            'Put key.pem back into ca/root/%s, run "novajoin-manage keys '
            'setup", and take it away again.' % authority.id
        )
    return 'Is novajoin-notify running, and does it have the key?'


def _make_entry(
    kind: str, entry: models.Revocation
) -> x509.RevokedCertificate:
    """Return the entry of a CRL; no reason is said by leaving it out."""
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(int(entry.serial, 16))
        .revocation_date(entry.revoked_at)
    )
    reasons = _ROOT_REASONS if kind == authorities.ROOT else _REASONS
    reason = reasons.get(entry.reason)
    if reason is not None:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()
