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
"""What the embedded backends persist with: our own database."""

import contextlib
import datetime

import sqlalchemy

from novajoin import models
from novajoin.db import certificates
from novajoin.db import crls
from novajoin.db import engine
from novajoin.db import events
from novajoin.db import hosts
from novajoin.db import revoked_authorities
from novajoin.db import service_certificates


class IdentityStore:
    """The store of the embedded identity backend."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    def check(self) -> None:
        """Ask the database for nothing.

        :raises DatabaseUnavailable: with what is wrong
        """
        self._database.read(lambda tx: tx.execute(sqlalchemy.select(1)))

    def find_host(self, hostname: str) -> models.Host | None:
        """Return the host of a canonical name, or None."""
        return self._database.read(lambda tx: hosts.find(tx, hostname))

    def add_host(
        self, host: models.Host, project: str, now: datetime.datetime
    ) -> bool:
        """Insert a host; return False where the name is taken."""
        try:
            self._database.write(
                lambda tx: hosts.insert(tx, host, project, now)
            )
        except engine.DuplicateRow:
            return False
        return True

    def enable_host(self, host_id: str, enabled: bool) -> None:
        """Enable or disable a host; unknown ids are no error."""
        self._database.write(
            lambda tx: hosts.set_enabled(tx, host_id, enabled)
        )

    def remove_host(self, host_id: str) -> None:
        """Remove a host; unknown ids are no error."""
        self._database.write(lambda tx: hosts.delete(tx, host_id))


class CAStore:
    """The database half of the embedded CA's store."""

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    def find_crl(self, issuer: str) -> models.Crl | None:
        """Return the stored CRL of a CA, or None."""
        return self._database.read(lambda tx: crls.find(tx, issuer))

    def put_crl(self, crl: models.Crl) -> bool:
        """Store a CRL; return False where another process was first."""
        try:
            return self._database.write(lambda tx: crls.put(tx, crl))
        except engine.DuplicateRow:
            return False

    def list_issuers(self, now: datetime.datetime) -> frozenset[str]:
        """Return the CAs that issued what is valid, or that have a CRL."""
        return self._database.read(
            lambda tx: (
                certificates.list_issuers(tx, now)
                | service_certificates.list_issuers(tx, now)
                | crls.list_issuers(tx)
            )
        )

    def list_revoked(
        self, issuer: str, since: datetime.datetime
    ) -> list[models.Revocation]:
        """Return what belongs on the CRL of a CA, of whatever kind."""
        return self._database.read(
            lambda tx: [
                *certificates.list_revoked(tx, issuer, since),
                *service_certificates.list_revoked(tx, issuer, since),
                *revoked_authorities.list_revoked(tx, issuer, since),
            ]
        )

    def revoke_authority(self, authority: models.RevokedAuthority) -> None:
        """Revoke an intermediate; idempotent."""

        def revoke(tx: engine.Transaction) -> None:
            revoked_authorities.insert(tx, authority)
            events.insert(
                tx,
                'authority.revoked',
                authority.revoked_at,
                detail={
                    'authority': authority.id,
                    'issuer': authority.issuer,
                    'serial': authority.serial,
                },
            )

        with contextlib.suppress(engine.DuplicateRow):
            self._database.write(revoke)
