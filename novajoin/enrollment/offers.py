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
"""What an answer to nova carries: the payload and, while due, a credential.

Six posts for one config drive get the same bytes: the credential is
derived, the payload is canonical, and its number is remembered with the
digest of the rest, so that it grows when, and only when, the rest changes.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Final

from novajoin import exceptions
from novajoin import models
from novajoin.bootstrap import payload
from novajoin.ca import base as ca_base
from novajoin.db import engine
from novajoin.db import payloads
from novajoin.enrollment import credential
from novajoin.keys import repository

_ATTEMPTS: Final = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """One answer's contents.

    :ivar credential: None when none is due any more
    :ivar sent: what is remembered of the payload
    """

    credential: models.Credential | None
    payload: models.Payload
    sent: models.SentPayload


class Offers:
    """Make offers, the same for everybody who asks.

    :param urls: the check-in URLs that the payload advertises
    """

    def __init__(
        self,
        database: engine.Database,
        keys: repository.Repository,
        ca: ca_base.CABackend,
        urls: Sequence[models.CheckinUrl],
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._db = database
        self._keys = keys
        self._ca = ca
        self._urls = tuple(urls)
        self._clock = clock

    def make_first(self, enrollment: models.Enrollment) -> Offer:
        """Return the offer of an enrollment that is about to be inserted.

        The caller stores ``sent`` together with it.

        :raises KeyUnavailable: its key is not in this process's repository
        """
        derived = self._derive(enrollment)
        body = self._build(enrollment, derived)
        return self._number(enrollment, derived, body, 1)

    def get(
        self, enrollment: models.Enrollment, *, has_credential: bool
    ) -> Offer:
        """Return the offer of an enrollment, numbered anew if it is new.

        :param has_credential: whether a credential is due
        :raises KeyUnavailable: its key is not in this process's repository
        :raises DatabaseUnavailable: it could not be remembered
        """
        derived = self._derive(enrollment) if has_credential else None
        body = self._build(enrollment, derived)
        digest = payload.get_body_digest(body)
        for _ in range(_ATTEMPTS):
            latest = self._db.read(
                lambda tx: payloads.find_latest(tx, enrollment.instance)
            )
            if latest is not None and latest.body_sha256 == digest:
                return Offer(derived, payload.render(body, latest.seq), latest)
            offer = self._number(
                enrollment,
                derived,
                body,
                1 if latest is None else latest.seq + 1,
            )
            sent = offer.sent
            try:
                self._db.write(
                    lambda tx, sent=sent: payloads.insert(tx, sent)  # type: ignore[misc]
                )
            except engine.DuplicateRow:
                continue  # somebody else took the number
            return offer
        raise exceptions.DatabaseUnavailable(
            'The payload of %s changes too often; try again.'
            % enrollment.instance
        )

    def _derive(self, enrollment: models.Enrollment) -> models.Credential:
        key = self._keys.get(repository.CREDENTIAL, enrollment.key_id)
        return credential.derive(
            key.secret,
            enrollment.instance,
            enrollment.epoch,
            enrollment.generation,
            enrollment.salt,
        )

    def _build(
        self,
        enrollment: models.Enrollment,
        derived: models.Credential | None,
    ) -> payload.Body:
        return payload.build(
            enrollment,
            payload.make_template(enrollment),
            self._ca.get_chain().root.der,
            self._urls,
            None if derived is None else derived.token,
        )

    def _number(
        self,
        enrollment: models.Enrollment,
        derived: models.Credential | None,
        body: payload.Body,
        seq: int,
    ) -> Offer:
        rendered = payload.render(body, seq)
        return Offer(
            derived,
            rendered,
            models.SentPayload(
                instance=enrollment.instance,
                seq=seq,
                body_sha256=payload.get_body_digest(body),
                sha256=bytes.fromhex(rendered.sha256),
                created_at=self._clock(),
            ),
        )
