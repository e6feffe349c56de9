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
"""Redeem a join token, renew a certificate, take a receipt.

Exactly one key wins a generation, on any database and among any number of
processes: the claim is one compare-and-swap. What was signed for it is sent
again for the same key and for no other.
"""

from collections.abc import Callable
import dataclasses
import datetime
import hmac
import re
import secrets
from typing import Final

from cryptography import x509

from novajoin import exceptions
from novajoin import models
from novajoin.bootstrap import payload
from novajoin.ca import base as ca_base
from novajoin.ca import csr as ca_csr
from novajoin.db import certificates
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import payloads
from novajoin.enrollment import credential
from novajoin.enrollment import lifecycle

State = models.State

_SHA256: Final = re.compile('[0-9a-f]{64}', re.ASCII)
#: What the database holds as the number of a payload.
MAX_SEQ: Final = 2**31 - 1
_REVOKED: Final = (
    'The certificate that was issued is not valid any more; ask the operator '
    'to reissue the enrollment.'
)
_NOBODY: Final = bytes(32)
#: A certificate begins no earlier than this before it is issued: guests
#: whose clock stands at the payload's time find it valid.
_BACKDATE: Final = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What instances get.

    :ivar certificate_lifetime: seconds
    """

    certificate_lifetime: int


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request for a certificate.

    :ivar certificate: DER, or None: come again with the same request
    :ivar chain: DER of the intermediates, leaf's issuer first
    """

    certificate: bytes | None
    chain: tuple[bytes, ...] = ()


_LATER: Final = Outcome(None)


class Redemption:
    """Serve instances."""

    def __init__(
        self,
        database: engine.Database,
        ca: ca_base.CABackend,
        settings: Settings,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._db = database
        self._ca = ca
        self._settings = settings
        self._clock = clock

    def authenticate(self, instance: str, token: str) -> models.Enrollment:
        """Return the enrollment that a join token belongs to.

        An unknown instance and a wrong token look and cost the same.

        :param instance: instance uuid
        :param token: the join token
        :raises Unauthorized: there is no such pair
        """
        if not (models.is_uuid(instance) and credential.is_well_formed(token)):
            raise exceptions.Unauthorized
        enrollment = self._db.read(lambda tx: enrollments.find(tx, instance))
        expected = _NOBODY if enrollment is None else enrollment.token_sha256
        matches = hmac.compare_digest(expected, credential.get_digest(token))
        if enrollment is None or not matches:
            raise exceptions.Unauthorized
        return enrollment

    def get_template(
        self, enrollment: models.Enrollment
    ) -> models.CsrTemplate:
        """Return what the CSR of an enrollment must ask for."""
        return payload.make_template(enrollment)

    def redeem(
        self, instance: str, token: str, csr: bytes, request_id: str
    ) -> Outcome:
        """Give the certificate for a token and a key (transitions 4-6).

        :param csr: DER PKCS#10
        :returns: the certificate, or an outcome without one when a verdict
            is outstanding or the CA is busy
        :raises Unauthorized: wrong uuid or token
        :raises TokenExpired: nobody claimed it in time
        :raises KeyConflict: another key claimed it
        :raises NovajoinError: further rows of the table of EST answers
        """
        with self._db.take_turn():
            won = self._win(instance, token, csr, request_id)
        return _LATER if won is None else self._finish(*won, request_id)

    def renew(self, peer: bytes, csr: bytes, request_id: str) -> Outcome:
        """Give the successor of a certificate.

        :param peer: DER of the certificate that the client proved to hold
        :param csr: DER PKCS#10
        :raises CertificateRevoked: revoked, of an old epoch, or not ours
        :raises Contested: a stale serial, with another key than its
            successor's or after the successor was used
        :raises CsrError: the request differs from the record
        """
        enrollment, current = self._identify(peer)
        matched = ca_csr.match(csr, self.get_template(enrollment))
        if current.superseded_by is not None:
            return self._repeat(enrollment, current, matched, request_id)
        if enrollment.state is not State.ENROLLED:
            raise exceptions.CertificateRevoked
        now = self._clock()
        successor = self._make_certificate(enrollment, matched, now)
        self._check_order(enrollment, successor)

        def supersede(tx: engine.Transaction) -> bool:
            # Swapped for itself: whoever revokes what the instance has
            # changes or locks the row too, and sees the successor or is
            # seen here.
            if not enrollments.change(tx, enrollment, now):
                return False
            if not certificates.supersede(
                tx, current.serial, successor.serial
            ):
                return False
            # Not before: who asks for what is not given leaves no trace.
            certificates.set_presented(tx, current.serial, now)
            _bind_key(tx, enrollment, matched.public_key_sha256)
            certificates.insert(tx, successor)
            return True

        try:
            done = self._db.write(supersede)
        except engine.DuplicateRow as exc:
            raise exceptions.KeyReused from exc
        if done:
            return self._finish(enrollment, successor, request_id)
        enrollment, current = self._identify(peer)
        if current.superseded_by is None:
            raise exceptions.Unavailable(
                'The enrollment changed in this moment; try again.'
            )
        return self._repeat(enrollment, current, matched, request_id)

    def receive_receipt(
        self, peer: bytes, seq: int, sha256: str, request_id: str
    ) -> None:
        """Take an instance's word that it has the payload. Idempotent.

        :param seq: the payload's sequence number
        :param sha256: 64 lower-case hex digits
        :raises ReceiptConflict: no such payload was handed out
        :raises CertificateRevoked: the certificate is no longer valid
        """
        enrollment, certificate = self._identify(peer)
        if _SHA256.fullmatch(sha256) is None or not 0 < seq <= MAX_SEQ:
            raise exceptions.InvalidBody(
                'A receipt has a seq from 1 to %d and a sha256 of 64 hex '
                'digits.' % MAX_SEQ
            )
        sent = self._db.read(
            lambda tx: payloads.find(tx, enrollment.instance, seq)
        )
        if sent is None or sent.sha256.hex() != sha256:
            raise exceptions.ReceiptConflict
        if None not in (sent.received_at, certificate.presented_at):
            return
        now = self._clock()

        def receive(tx: engine.Transaction) -> None:
            certificates.set_presented(tx, certificate.serial, now)
            if payloads.set_received(tx, enrollment.instance, seq, now):
                lifecycle.record(
                    tx,
                    'payload.received',
                    enrollment,
                    now,
                    request_id,
                    seq=seq,
                )

        self._db.write(receive)

    # Who asks.

    def _check_state(
        self, enrollment: models.Enrollment, request_id: str
    ) -> None:
        state = enrollment.state
        if state is State.REFUSED:
            raise exceptions.IdentityRefused(enrollment.refusal)
        if state is State.CONTESTED:
            raise exceptions.Contested
        if state is State.SUSPENDED:
            raise exceptions.Suspended
        if state in (State.CLOSING, State.CLOSED):
            raise exceptions.Closed
        if state is State.EXPIRED:
            raise exceptions.TokenExpired
        now = self._clock()
        if state in models.OPEN and enrollment.expires_at <= now:
            self._db.write(
                lambda tx: lifecycle.expire(tx, enrollment, request_id, now)
            )
            raise exceptions.TokenExpired

    def _identify(
        self, peer: bytes
    ) -> tuple[models.Enrollment, models.Certificate]:
        try:
            serial = '%x' % x509.load_der_x509_certificate(peer).serial_number
        except ValueError as exc:
            raise exceptions.CertificateRevoked from exc
        pair = self._db.read(lambda tx: _find_pair(tx, serial))
        if pair is None:
            raise exceptions.CertificateRevoked
        enrollment, certificate = pair
        if (
            certificate.der != peer
            or certificate.revoked_at is not None
            or certificate.epoch != enrollment.epoch
        ):
            raise exceptions.CertificateRevoked
        # TLS looked at it when the connection began.
        _check_time(certificate, self._clock())
        if enrollment.state is State.SUSPENDED:
            raise exceptions.Suspended
        if enrollment.state is State.CONTESTED:
            raise exceptions.Contested
        if not enrollment.is_living:
            raise exceptions.CertificateRevoked
        return enrollment, certificate

    # The claim.

    def _win(
        self, instance: str, token: str, csr: bytes, request_id: str
    ) -> tuple[models.Enrollment, models.Certificate] | None:
        """Let a key win the generation, or find that it has.

        :returns: the row and its certificate, which may be unsigned; None
            when a verdict is outstanding
        """
        enrollment = self.authenticate(instance, token)
        self._check_state(enrollment, request_id)
        matched = ca_csr.match(csr, self.get_template(enrollment))
        if enrollment.state is State.PENDING:
            return None
        if enrollment.state is State.OFFERED:
            claimed = self._claim(enrollment, matched, request_id)
            if claimed is not None:
                return claimed
            # Somebody else was here since the row was read.
            enrollment = self.authenticate(instance, token)
            self._check_state(enrollment, request_id)
            if enrollment.public_key_sha256 is None:
                return None
        if enrollment.public_key_sha256 != matched.public_key_sha256:
            self._dispute(enrollment, request_id)
            raise exceptions.KeyConflict
        certificate = self._db.read(
            lambda tx: certificates.find_of_key(
                tx,
                enrollment.instance,
                enrollment.epoch,
                matched.public_key_sha256,
            )
        )
        if certificate is None:
            raise exceptions.CertificateRevoked(_REVOKED)
        return enrollment, certificate

    def _claim(
        self,
        enrollment: models.Enrollment,
        matched: ca_csr.MatchedCsr,
        request_id: str,
    ) -> tuple[models.Enrollment, models.Certificate] | None:
        now = self._clock()
        certificate = self._make_certificate(enrollment, matched, now)
        self._check_order(enrollment, certificate)

        def claim(tx: engine.Transaction) -> bool:
            if not enrollments.claim(
                tx, enrollment, matched.public_key_sha256, now
            ):
                return False
            if enrollment.generation == 1:
                # Nobody can have used it in this epoch.
                certificates.insert_public_key(
                    tx,
                    matched.public_key_sha256,
                    enrollment.instance,
                    enrollment.epoch,
                )
            else:
                _bind_key(tx, enrollment, matched.public_key_sha256)
            certificates.insert(tx, certificate)
            return True

        try:
            if not self._db.write(claim):
                return None
        except engine.DuplicateRow as exc:
            # The claim was rolled back with it: the token is not consumed.
            raise exceptions.KeyReused from exc
        return (
            dataclasses.replace(
                enrollment,
                state=State.CLAIMED,
                public_key_sha256=matched.public_key_sha256,
            ),
            certificate,
        )

    def _make_certificate(
        self,
        enrollment: models.Enrollment,
        matched: ca_csr.MatchedCsr,
        now: datetime.datetime,
    ) -> models.Certificate:
        instant = lifecycle.get_instant(now)
        return models.Certificate(
            serial='%x' % (secrets.randbits(127) or 1),
            instance=enrollment.instance,
            epoch=enrollment.epoch,
            generation=enrollment.generation,
            public_key_sha256=matched.public_key_sha256,
            public_key=matched.public_key,
            issuer=self._ca.get_chain().instance.id,
            not_before=max(enrollment.opened_at, instant - _BACKDATE),
            not_after=instant
            + datetime.timedelta(seconds=self._settings.certificate_lifetime),
            created_at=now,
        )

    def _dispute(self, enrollment: models.Enrollment, request_id: str) -> None:
        if self._clock() < enrollment.contest_until:
            self._contest(
                enrollment,
                'a second key redeemed the join token',
                request_id,
                revokes=True,
            )

    def _contest(
        self,
        enrollment: models.Enrollment,
        why: str,
        request_id: str,
        *,
        revokes: bool,
    ) -> None:
        """Contest a generation, whether it is claimed or enrolled by now."""
        now = self._clock()

        def contest(tx: engine.Transaction) -> None:
            fresh = enrollments.find_locked(tx, enrollment.instance)
            if (
                fresh is not None
                and fresh.state in (State.CLAIMED, State.ENROLLED)
                and fresh.epoch == enrollment.epoch
                and fresh.generation == enrollment.generation
            ):
                lifecycle.contest(
                    tx, fresh, why, request_id, now, revokes=revokes
                )

        self._db.write(contest)

    def _repeat(
        self,
        enrollment: models.Enrollment,
        stale: models.Certificate,
        matched: ca_csr.MatchedCsr,
        request_id: str,
    ) -> Outcome:
        """Answer a renewal with a serial that has a successor."""
        successor_serial = stale.superseded_by or ''
        successor = self._db.read(
            lambda tx: certificates.find(tx, successor_serial)
        )
        if (
            successor is not None
            and successor.public_key_sha256 == matched.public_key_sha256
            and successor.presented_at is None
        ):
            return self._finish(enrollment, successor, request_id)
        self._contest(
            enrollment,
            'a certificate was renewed twice',
            request_id,
            revokes=False,
        )
        raise exceptions.Contested

    # The signature.

    def _finish(
        self,
        enrollment: models.Enrollment,
        certificate: models.Certificate,
        request_id: str,
    ) -> Outcome:
        """Sign where that is still to be done, and send what is stored."""
        if certificate.revoked_at is not None:
            raise exceptions.CertificateRevoked(_REVOKED)
        if certificate.der is None:
            try:
                der = self._sign(enrollment, certificate, request_id)
            except exceptions.CAUnavailable:
                return _LATER
        else:
            der = certificate.der
        _check_time(certificate, self._clock())
        return Outcome(der, (self._get_issuer(certificate).der,))

    def _get_issuer(
        self, certificate: models.Certificate
    ) -> models.CertificateAuthorityRecord:
        """Return the intermediate that signed a certificate.

        After a rotation that need not be the one that signs now.
        """
        chain = self._ca.get_chain()
        if chain.others:
            row = self._db.read(
                lambda tx: certificates.find(tx, certificate.serial)
            )
            for record in chain.others:
                if row is not None and row.issuer == record.id:
                    return record
        return chain.instance

    def _make_order(
        self, enrollment: models.Enrollment, certificate: models.Certificate
    ) -> models.CertificateOrder:
        """Return what the CA is asked to sign.

        A usage that the CA has stopped giving since the generation opened is
        left out; what the request had to hold stays as it was handed out.
        """
        template = self.get_template(enrollment)
        given = self._ca.get_extended_key_usages()
        return models.CertificateOrder(
            serial=int(certificate.serial, 16),
            common_name=template.subject[0][1],
            dns=template.dns,
            ip=template.ip,
            uri=template.uri,
            public_key=certificate.public_key,
            eku=tuple(usage for usage in template.eku if usage in given),
            not_before=certificate.not_before,
            not_after=certificate.not_after,
        )

    def _check_order(
        self, enrollment: models.Enrollment, certificate: models.Certificate
    ) -> None:
        """Ask the CA before a key is bound: a refusal must bind none.

        :raises IdentityRefused: the CA does not issue this
        """
        if isinstance(self._ca, ca_base.OrderChecker):
            self._ca.check_order(self._make_order(enrollment, certificate))

    def _sign(
        self,
        enrollment: models.Enrollment,
        certificate: models.Certificate,
        request_id: str,
    ) -> bytes:
        issued = self._ca.issue(self._make_order(enrollment, certificate))
        now = self._clock()

        def store(tx: engine.Transaction) -> bool:
            if enrollment.state is State.CLAIMED and not enrollments.change(
                tx, enrollment, now, state=State.ENROLLED
            ):
                return False
            if not certificates.put_signed(tx, certificate, issued):
                if enrollment.state is State.CLAIMED:
                    # Nobody else can have signed it: it was revoked.
                    raise exceptions.CertificateRevoked(_REVOKED)
                return False
            lifecycle.record(
                tx,
                'certificate.issued',
                enrollment,
                now,
                request_id,
                serial='%x' % issued.serial,
                public_key_sha256=certificate.public_key_sha256.hex(),
            )
            return True

        if self._db.write(store):
            return issued.der
        return self._read_stored(certificate, request_id)

    def _read_stored(
        self, certificate: models.Certificate, request_id: str
    ) -> bytes:
        """Return what another caller stored, or say why there is none."""

        def read(
            tx: engine.Transaction,
        ) -> tuple[models.Enrollment | None, models.Certificate | None]:
            return (
                enrollments.find(tx, certificate.instance),
                certificates.find_of_key(
                    tx,
                    certificate.instance,
                    certificate.epoch,
                    certificate.public_key_sha256,
                ),
            )

        enrollment, stored = self._db.read(read)
        if enrollment is None:
            raise exceptions.Unauthorized
        self._check_state(enrollment, request_id)
        if stored is not None and stored.revoked_at is not None:
            raise exceptions.CertificateRevoked(_REVOKED)
        if stored is None or stored.der is None:
            raise exceptions.CAUnavailable
        return stored.der


def _bind_key(
    tx: engine.Transaction, enrollment: models.Enrollment, sha256: bytes
) -> None:
    """See to it that a key is this epoch's.

    A later generation of the epoch, and a renewal, may use the key again.

    :raises KeyReused: it is another's
    :raises DuplicateRow: another took it in this moment
    """
    mine = (enrollment.instance, enrollment.epoch)
    owner = certificates.find_public_key(tx, sha256)
    if owner is None:
        certificates.insert_public_key(tx, sha256, *mine)
    elif owner != mine:
        raise exceptions.KeyReused


def _check_time(
    certificate: models.Certificate, now: datetime.datetime
) -> None:
    if certificate.not_after <= now:
        raise exceptions.CertificateRevoked(
            'The certificate has expired; ask the operator to reissue the '
            'enrollment.'
        )


def _find_pair(
    tx: engine.Transaction, serial: str
) -> tuple[models.Enrollment, models.Certificate] | None:
    certificate = certificates.find(tx, serial)
    if certificate is None:
        return None
    enrollment = enrollments.find(tx, certificate.instance)
    return None if enrollment is None else (enrollment, certificate)
