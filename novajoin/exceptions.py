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
"""Every error that the project raises on purpose.

::

    NovajoinError                      500  internal_error
    ├── ConfigurationError             (start-up; names the option)
    ├── BadRequest                     400  bad_request
    │   ├── InvalidBody                400  invalid_body
    │   ├── InvalidHostname            400  hostname_invalid
    │   │   ├── ForeignZone            400  hostname_zone
    │   │   └── ReservedHostname       400  hostname_reserved
    │   └── CsrError                   400  csr_malformed
    │       ├── CsrMalformed           400  csr_malformed
    │       ├── CsrSignatureInvalid    400  csr_signature
    │       ├── CsrMismatch            400  csr_mismatch.<field>
    │       ├── CsrKeyRefused          400  csr_key
    │       └── KeyReused              400  key_reused
    ├── Unauthorized                   401  unauthorized
    ├── Forbidden                      403  forbidden
    │   ├── IdentityRefused            403  identity_refused
    │   ├── TokenExpired               403  token_expired
    │   ├── Contested                  403  contested
    │   ├── Suspended                  403  suspended
    │   └── CertificateRevoked         403  certificate_revoked
    ├── NotFound                       404  not_found
    ├── MethodNotAllowed               405  method_not_allowed
    ├── NotAcceptable                  406  not_acceptable
    ├── Conflict                       409  conflict
    │   ├── KeyConflict                409  key_conflict
    │   ├── ReceiptConflict            409  receipt_conflict
    │   └── StateConflict              409  state_conflict
    ├── Closed                         410  closed
    ├── LengthRequired                 411  length_required
    ├── PreconditionFailed             412  precondition_failed
    ├── BodyTooLarge                   413  body_too_large
    ├── UnsupportedMediaType           415  unsupported_media_type
    ├── TooManyRequests                429  too_many_requests
    └── Unavailable                    503  unavailable
        ├── ComputeUnavailable         503  nova_unavailable
        ├── ImageUnavailable           503  glance_unavailable
        ├── IdentityUnavailable        503  identity_unavailable
        ├── CAUnavailable              503  ca_unavailable
        ├── KeyUnavailable             503  key_unavailable
        │   └── KeyRetired             503  key_unavailable
        └── DatabaseUnavailable        503  database_unavailable

Each carries a *status* (HTTP), a *reason* (stable, for programs), a
*fault_name* (the word that novajoin 1.3.0 used in its error bodies) and a
*message* that is safe to show to whoever asked: it holds no secret and
nothing about other people's instances.
"""

from typing import ClassVar


class NovajoinError(Exception):
    """The service could not do what it was asked to."""

    status: ClassVar[int] = 500
    reason: str = 'internal_error'
    fault_name: ClassVar[str] = 'internalServerError'
    default_message: ClassVar[str] = (
        'The service met an unexpected error; it is in its log under the '
        'request id.'
    )

    def __init__(self, message: str | None = None) -> None:
        """Make the error.

        :param message: what was wrong, where, and what to do; safe to show
        """
        self.message = message or self.default_message
        super().__init__(self.message)

    @property
    def cause(self) -> str:
        """What operators are told: of most errors, the message."""
        return self.message


class ConfigurationError(NovajoinError):
    """A setting is wrong: the process must not start.

    :param option: the option at fault, as ``[section] name``
    """

    reason = 'configuration_error'

    def __init__(self, option: str, message: str) -> None:
        super().__init__('%s: %s' % (option, message))
        self.option = option


class BadRequest(NovajoinError):
    """The request is not what the API takes."""

    status = 400
    reason = 'bad_request'
    fault_name = 'badRequest'
    default_message = 'The request is not valid.'


class InvalidBody(BadRequest):
    """The body is not JSON or does not fit the schema."""

    reason = 'invalid_body'
    default_message = 'The request body is not valid.'


class InvalidHostname(BadRequest):
    """The hostname cannot be a DNS name, or not one for this project."""

    reason = 'hostname_invalid'
    default_message = 'The hostname is not valid.'


class ForeignZone(InvalidHostname):
    """The hostname is in a zone that the project may not use."""

    reason = 'hostname_zone'
    default_message = 'The hostname is outside the zones of the project.'


class ReservedHostname(InvalidHostname):
    """The hostname is one that no instance may have."""

    reason = 'hostname_reserved'
    default_message = 'The hostname is reserved.'


class CsrError(BadRequest):
    """The certificate signing request is refused."""

    reason = 'csr_malformed'
    default_message = 'The certificate signing request is refused.'


class CsrMalformed(CsrError):
    """The request cannot be decoded, or holds what it must not hold."""

    default_message = 'The certificate signing request cannot be decoded.'


class CsrSignatureInvalid(CsrError):
    """The request is not signed by the key that it names."""

    reason = 'csr_signature'
    default_message = (
        'The signature of the certificate signing request does not verify.'
    )


class CsrMismatch(CsrError):
    """The request asks for something other than what was injected.

    :param field: which part differs, for instance ``subject`` or ``san``
    """

    def __init__(self, field: str, message: str | None = None) -> None:
        self.reason = 'csr_mismatch.%s' % field
        super().__init__(
            message
            or 'The certificate signing request differs from the payload in '
            'its %s.'
            % field
        )
        self.field = field


class CsrKeyRefused(CsrError):
    """The key's type or size is not among those offered."""

    reason = 'csr_key'
    default_message = 'The type or size of the public key is not accepted.'


class KeyReused(CsrError):
    """The public key already belongs to another enrollment or epoch."""

    reason = 'key_reused'
    default_message = (
        'The public key was used before by another enrollment; make a new key.'
    )


class Unauthorized(NovajoinError):
    """Who asks is not known."""

    status = 401
    reason = 'unauthorized'
    fault_name = 'unauthorized'
    default_message = 'The credentials are missing or not valid.'


class Forbidden(NovajoinError):
    """Who asks is known and may not."""

    status = 403
    reason = 'forbidden'
    fault_name = 'forbidden'
    default_message = 'You are not allowed to do this.'


class IdentityRefused(Forbidden):
    """The instance does not get an identity; the reason is on its row."""

    reason = 'identity_refused'
    default_message = 'The identity of this instance was refused.'


class TokenExpired(Forbidden):
    """The join token was not redeemed in time."""

    reason = 'token_expired'
    default_message = (
        'The join token has expired; ask the operator to reissue it.'
    )


class Contested(Forbidden):
    """Two keys claimed one enrollment; nobody holds it until a reissue."""

    reason = 'contested'
    default_message = (
        'More than one key claimed this enrollment; ask the operator to '
        'reissue it.'
    )


class Suspended(Forbidden):
    """The instance is soft-deleted: nothing is issued until it is back."""

    reason = 'suspended'
    default_message = 'The enrollment is suspended.'


class CertificateRevoked(Forbidden):
    """The certificate is revoked, of an old epoch, or not ours."""

    reason = 'certificate_revoked'
    default_message = 'The certificate presented is not valid any more.'


class NotFound(NovajoinError):
    """There is no such thing, or not for who asks."""

    status = 404
    reason = 'not_found'
    fault_name = 'itemNotFound'
    default_message = 'The resource could not be found.'


class MethodNotAllowed(NovajoinError):
    """The resource exists and does not take this method."""

    status = 405
    reason = 'method_not_allowed'
    fault_name = 'badMethod'
    default_message = 'The method is not allowed for this resource.'


class NotAcceptable(NovajoinError):
    """The resource has no representation that the client accepts."""

    status = 406
    reason = 'not_acceptable'
    fault_name = 'notAcceptable'
    default_message = 'The resource has no representation that is accepted.'


class Conflict(NovajoinError):
    """The request does not fit the present state."""

    status = 409
    reason = 'conflict'
    fault_name = 'conflictingRequest'
    default_message = 'The request conflicts with the present state.'


class KeyConflict(Conflict):
    """Another key already claimed this join token."""

    reason = 'key_conflict'
    default_message = 'Another key has already claimed this join token.'


class ReceiptConflict(Conflict):
    """The receipt quotes a digest that the server did not send."""

    reason = 'receipt_conflict'
    default_message = 'The receipt differs from what was handed out.'


class StateConflict(Conflict):
    """The enrollment's state does not allow the operation."""

    reason = 'state_conflict'
    default_message = 'The enrollment is in a state that forbids this.'


class Closed(NovajoinError):
    """The instance's identity has ended."""

    status = 410
    reason = 'closed'
    fault_name = 'gone'
    default_message = 'The enrollment of this instance is closed.'


class LengthRequired(NovajoinError):
    """The body does not say where it ends."""

    status = 411
    reason = 'length_required'
    fault_name = 'lengthRequired'
    default_message = 'The request needs a Content-Length.'


class PreconditionFailed(NovajoinError):
    """If-Match names an epoch and generation that are not current."""

    status = 412
    reason = 'precondition_failed'
    fault_name = 'preconditionFailed'
    default_message = 'The enrollment has changed; read it again.'


class BodyTooLarge(NovajoinError):
    """The body is larger than the resource takes."""

    status = 413
    reason = 'body_too_large'
    fault_name = 'overLimit'
    default_message = 'The request body is too large.'


class UnsupportedMediaType(NovajoinError):
    """The content type is not the one that the resource takes."""

    status = 415
    reason = 'unsupported_media_type'
    fault_name = 'badMediaType'
    default_message = 'The content type is not supported here.'


class TooManyRequests(NovajoinError):
    """The client asks too often."""

    status = 429
    reason = 'too_many_requests'
    fault_name = 'overLimit'
    default_message = 'Too many requests; try again later.'
    retry_after: int = 5


class Unavailable(NovajoinError):
    """Something that the answer needs is away; the same request may work
    later."""

    status = 503
    reason = 'unavailable'
    fault_name = 'serviceUnavailable'
    default_message = 'The service is not available; try again later.'

    def __init__(
        self, message: str | None = None, *, retry_after: int = 5
    ) -> None:
        """Make the error.

        :param message: what is away; safe to show
        :param retry_after: seconds until a new try makes sense
        """
        super().__init__(message)
        self.retry_after = retry_after


class ComputeUnavailable(Unavailable):
    """Nova does not answer, or answers with an error of its own."""

    reason = 'nova_unavailable'
    default_message = 'The compute service is not available.'


class ImageUnavailable(Unavailable):
    """Glance does not answer, or answers with an error of its own."""

    reason = 'glance_unavailable'
    default_message = 'The image service is not available.'


class IdentityUnavailable(Unavailable):
    """The identity backend does not answer."""

    reason = 'identity_unavailable'
    default_message = 'The identity backend is not available.'


class CAUnavailable(Unavailable):
    """The CA backend does not answer."""

    reason = 'ca_unavailable'
    default_message = 'The certificate authority is not available.'


class KeyUnavailable(Unavailable):
    """The key that the row names is not (yet) in this process's repository."""

    reason = 'key_unavailable'
    default_message = 'A key of the key repository is not available.'


class KeyRetired(KeyUnavailable):
    """The primary key of this process's repository must open nothing."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer or is full."""

    reason = 'database_unavailable'
    default_message = 'The database is not available.'

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: int = 5,
        cause: str | None = None,
    ) -> None:
        """Make the error.

        :param message: safe to show
        :param retry_after: seconds until a new try makes sense
        :param cause: what is wrong and what to do about it; it names hosts
            and accounts, so it is for logs and for who runs a command here
        """
        super().__init__(message, retry_after=retry_after)
        self._cause = cause

    @property
    def cause(self) -> str:
        """What operators are told."""
        return self._cause or self.message
