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
"""The vocabulary: what the parts of novajoin say to each other.

Frozen dataclasses and enumerations without I/O. All times are timezone-aware
and in UTC. Instance and project ids are strings as nova and keystone write
them; an instance id is always a canonical lower-case UUID with dashes.
"""

from collections.abc import Mapping
import dataclasses
import datetime
import enum
import re
from typing import Final

from novajoin import secret

#: A regular expression for a canonical uuid, as a whole.
UUID_PATTERN: Final = (
    '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'
)
_UUID: Final = re.compile(UUID_PATTERN)


def is_uuid(text: str) -> bool:
    """Tell whether a text is a canonical uuid: lower-case, with dashes."""
    return _UUID.fullmatch(text) is not None


class State(enum.StrEnum):
    """The state of an enrollment."""

    PENDING = 'pending'
    OFFERED = 'offered'
    CLAIMED = 'claimed'
    ENROLLED = 'enrolled'
    CONTESTED = 'contested'
    REFUSED = 'refused'
    EXPIRED = 'expired'
    SUSPENDED = 'suspended'
    CLOSING = 'closing'
    CLOSED = 'closed'


#: States in which the instance is thought to exist.
LIVING = frozenset(State) - {State.CLOSING, State.CLOSED}

#: States in which a credential may be out and not yet redeemed.
OPEN = frozenset({State.PENDING, State.OFFERED})


class Operation(enum.StrEnum):
    """What an outbox row does outside the database."""

    #: Look at nova because of a notification or a sweep, and act.
    NOVA_LOOK = 'nova.look'
    #: Ask nova for uuid, project and hostname: gives the first verdict.
    NOVA_VERIFY = 'nova.verify'
    #: Create or confirm the host: gives the second verdict.
    IDENTITY_ENSURE = 'identity.ensure'
    #: Make the host's present credential useless, keep the host.
    IDENTITY_DISABLE = 'identity.disable'
    #: Remove the host and all that was made for it.
    IDENTITY_REMOVE = 'identity.remove'
    #: Tell the CA backend that a certificate is revoked.
    CA_REVOKE = 'ca.revoke'
    #: See to it that the revocation is on a published CRL.
    CRL_PUBLISH = 'crl.publish'
    #: Take over a canonical name once its former holder is gone.
    NAME_CLAIM = 'name.claim'


class RowState(enum.StrEnum):
    """The state of an outbox row."""

    READY = 'ready'
    DONE = 'done'
    #: Out of attempts, or refused for good: waits for an operator.
    DEAD = 'dead'


class RevocationReason(enum.StrEnum):
    """Why a certificate was revoked (RFC 5280 section 5.3.1)."""

    UNSPECIFIED = 'unspecified'
    KEY_COMPROMISE = 'keyCompromise'
    AFFILIATION_CHANGED = 'affiliationChanged'
    SUPERSEDED = 'superseded'
    CESSATION_OF_OPERATION = 'cessationOfOperation'


@dataclasses.dataclass(frozen=True, slots=True)
class VendordataPost:
    """What nova posts (nova/api/metadata/vendordata_dynamic.py).

    :ivar instance: instance uuid
    :ivar project: project id
    :ivar image: image id, or None when booted from a volume
    :ivar hostname: ``instance.hostname``; a short name or a full one
    :ivar metadata: the instance's metadata, as set by the tenant
    """

    instance: str
    project: str
    image: str | None
    hostname: str
    metadata: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the control plane and for which request.

    :ivar request_id: ``req-<uuid>``, in every log line and answer
    :ivar user: keystone user id or None
    :ivar project: keystone project id or None
    """

    request_id: str
    user: str | None = None
    project: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Enrollment:
    """The record that binds one instance to one identity.

    :ivar instance: instance uuid; also the id of the enrollment
    :ivar hostname: the canonical FQDN: lower-case A-labels, no final dot
    :ivar epoch: counts disks: a rebuild starts a new one; from 1
    :ivar generation: counts credentials within an epoch; from 1
    :ivar opened_at: when the generation opened; whole seconds
    :ivar expires_at: until when the token may be redeemed; whole seconds
    :ivar salt: 16 random bytes of this generation
    :ivar key_id: the credential key of this generation; 16 hex digits
    :ivar token_sha256: SHA-256 of the join token; 32 bytes
    :ivar eku: what the CSR of this generation asks for, by OpenSSL's names
    :ivar nova_confirmed: nova's verdict, None while outstanding
    :ivar identity_confirmed: the identity backend's verdict, likewise
    :ivar public_key_sha256: the key that claimed this generation, or None
    :ivar suspended_from: the state before ``suspended``
    :ivar refusal: why it was refused, in words safe for the project
    :ivar host_id: the identity backend's own unique id of the host
    :ivar rebuild_id: request id of the newest rebuild known
    :ivar rebuild_at: start of that rebuild by nova's clock
    :ivar metadata: what the tenant asked for at the post, as posted
    """

    instance: str
    project: str
    hostname: str
    state: State
    epoch: int
    generation: int
    opened_at: datetime.datetime
    expires_at: datetime.datetime
    salt: bytes
    key_id: str
    token_sha256: bytes
    eku: tuple[str, ...]
    created_at: datetime.datetime
    updated_at: datetime.datetime
    nova_confirmed: bool | None = None
    identity_confirmed: bool | None = None
    public_key_sha256: bytes | None = None
    suspended_from: State | None = None
    refusal: str | None = None
    host_id: str | None = None
    rebuild_id: str | None = None
    rebuild_at: datetime.datetime | None = None
    image: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_living(self) -> bool:
        """Whether the instance is thought to exist."""
        return self.state in LIVING

    @property
    def contest_until(self) -> datetime.datetime:
        """Until when a second key contests; no receipt shortens it."""
        return self.expires_at


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """What is derived for one generation; stored nowhere.

    :ivar token: the join token
    :ivar otp: the one-time password of the identity backend
    """

    token: secret.Secret
    otp: secret.Secret


@dataclasses.dataclass(frozen=True, slots=True)
class CsrTemplate:
    """What the instance puts into its CSR, and nothing else.

    :ivar subject: relative distinguished names in order, as (name, value)
    :ivar dns: dNSNames, sorted
    :ivar ip: iPAddresses in text form, sorted
    :ivar uri: URIs
    :ivar keys: the key types offered, best first: ``ec-p256``,
        ``ec-p384``, ``rsa-3072``
    :ivar eku: extended key usages by their OpenSSL names
    """

    subject: tuple[tuple[str, str], ...]
    dns: tuple[str, ...]
    ip: tuple[str, ...]
    uri: tuple[str, ...]
    keys: tuple[str, ...] = ('ec-p256', 'ec-p384', 'rsa-3072')
    eku: tuple[str, ...] = ('clientAuth', 'serverAuth')


@dataclasses.dataclass(frozen=True, slots=True)
class CheckinUrl:
    """Where the instance checks in.

    :ivar url: https URL without a path, for instance
        ``https://join.example.com:9998``
    :ivar priority: the lowest is tried first
    """

    url: str
    priority: int


@dataclasses.dataclass(frozen=True, slots=True)
class Payload:
    """The bootstrap document in its canonical bytes (RFC 8785).

    :ivar seq: grows whenever any other byte changes
    :ivar document: the canonical bytes
    :ivar sha256: their digest, 64 lower-case hex digits
    """

    seq: int
    document: bytes = dataclasses.field(repr=False)
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class SentPayload:
    """The memory of a payload that was handed out.

    :ivar body_sha256: digest of the document without its ``seq``
    :ivar sha256: digest of the whole document
    """

    instance: str
    seq: int
    body_sha256: bytes
    sha256: bytes
    created_at: datetime.datetime
    received_at: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class HostRequest:
    """A host that the identity backend is to have.

    :ivar known_id: the backend's unique id when we already know it
    :ivar otp: the one-time password to set, or None for none
    """

    instance: str
    project: str
    hostname: str
    known_id: str | None = None
    otp: secret.Secret | None = None
    host_class: str | None = None
    location: str | None = None
    os_version: str | None = None
    services: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """A host as the identity backend has it.

    :ivar id: the backend's own unique id, by which we know it as ours
    """

    id: str
    hostname: str
    instance: str | None = None
    is_enabled: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class CertificateOrder:
    """Everything that goes into a certificate; nothing comes from the CSR
    but the key.

    :ivar serial: 127 random bits (a CA that picks its own ignores it)
    :ivar common_name: at most 64 characters
    :ivar public_key: DER SubjectPublicKeyInfo
    :ivar eku: extended key usages by their OpenSSL names
    :ivar not_before: whole seconds
    :ivar not_after: whole seconds
    """

    serial: int
    common_name: str
    dns: tuple[str, ...]
    ip: tuple[str, ...]
    uri: tuple[str, ...]
    public_key: bytes
    eku: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate as the CA backend made it.

    :ivar serial: the serial that is in the certificate
    :ivar issuer: id of the issuing CA (``chain().instance.id``)
    :ivar der: the certificate
    """

    serial: int
    issuer: str
    der: bytes
    not_before: datetime.datetime
    not_after: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class CertificateAuthorityRecord:
    """One CA certificate.

    :ivar id: stable id, also the name of its CRL: first 16 hex digits of
        SHA-256 over its DER SubjectPublicKeyInfo
    :ivar der: the certificate
    """

    id: str
    der: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Chain:
    """The three certificates of the service.

    :ivar root: the one that guests pin
    :ivar service: issues the check-in service's own certificates
    :ivar instance: issues the instances' certificates
    :ivar others: further instance intermediates, staged or retiring: what
        they issued counts until it expires
    """

    root: CertificateAuthorityRecord
    service: CertificateAuthorityRecord
    instance: CertificateAuthorityRecord
    others: tuple[CertificateAuthorityRecord, ...] = ()

    @property
    def issuers(self) -> tuple[CertificateAuthorityRecord, ...]:
        """All instance intermediates, the one that issues first."""
        return (self.instance, *self.others)


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate row.

    :ivar serial: lower-case hex digits
    :ivar der: None between claim and signature
    :ivar superseded_by: serial of the successor (renewal)
    :ivar presented_at: when it was first used for what was granted: a
        renewal, a receipt
    """

    serial: str
    instance: str
    epoch: int
    generation: int
    public_key_sha256: bytes
    public_key: bytes
    not_before: datetime.datetime
    not_after: datetime.datetime
    created_at: datetime.datetime
    der: bytes | None = None
    issuer: str | None = None
    superseded_by: str | None = None
    presented_at: datetime.datetime | None = None
    revoked_at: datetime.datetime | None = None
    revocation_reason: RevocationReason | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Crl:
    """A certificate revocation list.

    :ivar issuer: id of the CA
    :ivar number: the CRL number, growing
    """

    issuer: str
    number: int
    der: bytes
    this_update: datetime.datetime
    next_update: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of a CRL.

    :ivar serial: lower-case hex digits
    """

    serial: str
    revoked_at: datetime.datetime
    reason: RevocationReason


@dataclasses.dataclass(frozen=True, slots=True)
class RevokedAuthority:
    """An intermediate whose key has leaked.

    :ivar id: of the intermediate
    :ivar issuer: id of the root
    :ivar serial: of its certificate, lower-case hex digits
    """

    id: str
    issuer: str
    serial: str
    not_after: datetime.datetime
    revoked_at: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class OutboxRow:
    """A side effect that is to happen outside the database.

    :ivar name: the canonical name on which work is first in, first out
    :ivar lease_owner: the process that works on it, or None
    """

    id: int
    instance: str
    name: str
    epoch: int
    generation: int
    operation: Operation
    detail: str
    state: RowState
    attempts: int
    due_at: datetime.datetime
    created_at: datetime.datetime
    request_id: str | None = None
    lease_owner: str | None = None
    lease_until: datetime.datetime | None = None
    last_error: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A line of the audit log.

    :ivar kind: for instance ``enrollment.offered``
    :ivar detail: further facts, no secrets
    """

    id: int
    at: datetime.datetime
    kind: str
    instance: str | None
    project: str | None
    request_id: str | None
    detail: Mapping[str, object]


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceCertificate:
    """A check-in process's request for its own certificate.

    :ivar id: uuid of the request
    :ivar csr: DER
    :ivar certificate: DER, None until ``novajoin-notify`` has signed it
    :ivar refusal: why it was refused, or None
    :ivar key_id: of the certificate's public key, 16 hex digits
    :ivar serial: lower-case hex digits
    :ivar issuer: id of the CA that signed it
    """

    id: str
    host: str
    csr: bytes
    created_at: datetime.datetime
    certificate: bytes | None = None
    refusal: str | None = None
    key_id: str | None = None
    serial: str | None = None
    issuer: str | None = None
    not_after: datetime.datetime | None = None
    revoked_at: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """What nova says about an instance.

    :ivar status: for instance ``ACTIVE``, ``DELETED``, ``SOFT_DELETED``
    :ivar task_state: ``OS-EXT-STS:task_state``
    :ivar launched_at: ``OS-SRV-USG:launched_at``
    :ivar has_config_drive: whether it was booted with one
    """

    instance: str
    project: str
    hostname: str
    status: str
    vm_state: str | None = None
    task_state: str | None = None
    launched_at: datetime.datetime | None = None
    has_config_drive: bool = False
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    image: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Rebuild:
    """nova's instance action ``rebuild``, the newest of an instance.

    :ivar request_id: the request id of the action
    :ivar started_at: by nova's clock
    """

    request_id: str
    started_at: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Hint:
    """A reason to look at nova, taken from a notification.

    :ivar kind: what the notification was about: ``delete``, ``rebuild``,
        ``soft_delete`` or ``restore``
    :ivar event_type: as nova wrote it
    """

    instance: str
    kind: str
    event_type: str


@dataclasses.dataclass(frozen=True, slots=True)
class Project:
    """A project, as keystone knows it.

    :ivar domain: id of the keystone domain that its name is unique in
    """

    name: str
    domain: str


@dataclasses.dataclass(frozen=True, slots=True)
class AllowList:
    """What a project may ask for beyond its own hosts; default: nothing.

    :ivar classes: host classes, or ``*`` among them for any
    :ivar services: service names of principals
    :ivar subhosts: labels of subhosts
    :ivar zones: canonical DNS zones
    """

    project: str
    classes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    subhosts: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
