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
"""What the embedded CA persists with, in memory."""

import threading

from oslo_config import cfg

from novajoin import models
from novajoin.ca import constraints
from novajoin.ca import embedded
from novajoin.conf import ca_embedded
from novajoin.keys import repository

CONSTRAINTS = constraints.Constraints(
    zones=frozenset({'example.com', 'cloud.example.org'}),
    checkin=frozenset({'join.example.com', '192.0.2.1'}),
)


class MemoryCrls:
    """CRLs and revocations, for several threads."""

    def __init__(self):
        self.crls = {}
        self.revocations = {}
        self._mutex = threading.Lock()

    def find_crl(self, issuer):
        return self.crls.get(issuer)

    def put_crl(self, crl):
        with self._mutex:
            stored = self.crls.get(crl.issuer)
            if stored is not None and stored.number >= crl.number:
                return False
            self.crls[crl.issuer] = crl
        return True

    def list_issuers(self, now):
        return frozenset(self.crls) | self.revocations.keys()

    def list_revoked(self, issuer, since):
        return list(self.revocations.get(issuer, ()))

    def revoke_authority(self, authority):
        entries = self.revocations.setdefault(authority.issuer, [])
        if authority.serial not in [entry.serial for entry in entries]:
            entries.append(
                models.Revocation(
                    serial=authority.serial,
                    revoked_at=authority.revoked_at,
                    reason=models.RevocationReason.KEY_COMPROMISE,
                )
            )

    def revoke(self, certificate, reason, at):
        self.revocations.setdefault(certificate.issuer, []).append(
            models.Revocation(
                serial='%x' % certificate.serial,
                revoked_at=at,
                reason=models.RevocationReason(reason),
            )
        )


def make_settings(**changes):
    """Return the group ``[ca_embedded]`` with some options changed."""
    conf = cfg.ConfigOpts()
    ca_embedded.register_opts(conf)
    conf([])
    for name, value in changes.items():
        conf.set_override(name, value, group='ca_embedded')
    return conf.ca_embedded


def make_ca(directory, crls=None, names=CONSTRAINTS, *, clock=None, **changes):
    """Return an embedded CA as a new process would make it."""
    store = embedded.make_store(
        MemoryCrls() if crls is None else crls,
        repository.Repository(directory),
        names,
    )
    keywords = {} if clock is None else {'clock': clock}
    return embedded.EmbeddedCA(make_settings(**changes), store, **keywords)
