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
"""``/v1/certificates``."""

import base64
import functools
import re
from typing import Any

import pecan

from novajoin import context
from novajoin import exceptions
from novajoin import models
from novajoin.api import documents
from novajoin.api import services
from novajoin.api import validation
from novajoin.api.controllers import page
from novajoin.api.controllers import resource
from novajoin.api.schemas import certificate as schema
from novajoin.policies import certificate as policies

_SERIAL = re.compile('[0-9a-f]{1,40}')


def describe(certificate: models.Certificate) -> dict[str, Any]:
    """Return what is known about a certificate."""
    reason = certificate.revocation_reason
    return {
        'serial': certificate.serial,
        'instance': certificate.instance,
        'epoch': certificate.epoch,
        'generation': certificate.generation,
        'issuer': certificate.issuer,
        'public_key_sha256': certificate.public_key_sha256.hex(),
        'not_before': documents.format_time(certificate.not_before),
        'not_after': documents.format_time(certificate.not_after),
        'created_at': documents.format_time(certificate.created_at),
        'presented_at': documents.format_optional_time(
            certificate.presented_at
        ),
        'superseded_by': certificate.superseded_by,
        'revoked_at': documents.format_optional_time(certificate.revoked_at),
        'revocation_reason': reason and reason.value,
    }


def show(certificate: models.Certificate) -> dict[str, Any]:
    """Answer with one certificate, itself included."""
    pem = None
    if certificate.der is not None:
        pem = '-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n' % (
            re.sub(
                '(.{1,64})',
                r'\1\n',
                base64.b64encode(certificate.der).decode('ascii'),
            )
        )
    return {'certificate': {**describe(certificate), 'pem': pem}}


class CertificatesResource(page.ListResource):
    """The list."""

    def find_child(self, segment: str) -> resource.Resource | None:
        """Return one certificate."""
        return CertificateResource(self._services, segment)

    @pecan.expose('json')
    @validation.schemas(query=schema.LIST, response=schema.LISTED)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """List certificates in the order of their serials."""
        return self._answer(
            request,
            noun='certificates',
            rule=policies.LIST,
            read=functools.partial(
                self._services.operations.list_certificates,
                instance=request.query.get('instance'),
            ),
            describe=describe,
            get_marker=lambda certificate: certificate.serial,
        )


class CertificateResource(resource.Resource):
    """One certificate.

    :param serial: as it is in the path
    """

    def __init__(self, parts: services.Services, serial: str) -> None:
        self._services = parts
        self._serial = serial

    def find_child(self, segment: str) -> resource.Resource | None:
        """Return the one action."""
        if segment == 'revoke':
            return RevokeResource(self._services, self._serial)
        return None

    @pecan.expose('json')
    @validation.schemas(response=schema.SHOWN)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """Show it."""
        certificate, _ = get_visible(
            self._services, request.caller, self._serial
        )
        return show(certificate)


def get_visible(
    parts: services.Services, caller: context.RequestContext, serial: str
) -> tuple[models.Certificate, str]:
    """Return a certificate that the caller may see, and its project.

    :raises NotFound: there is none, or not for this caller
    """
    found = None
    if _SERIAL.fullmatch(serial):
        found = parts.operations.find_certificate(serial)
    if found is not None:
        owner = parts.operations.find_enrollment(found.instance)
        if owner is not None and parts.policy.is_allowed(
            caller, policies.SHOW, {'project_id': owner.project}
        ):
            return found, owner.project
    raise exceptions.NotFound('There is no such certificate.')


class RevokeResource(resource.Resource):
    """Revoke one certificate."""

    def __init__(self, parts: services.Services, serial: str) -> None:
        self._services = parts
        self._serial = serial

    @pecan.expose('json')
    @validation.schemas(response=schema.SHOWN)
    def post(self, request: Any, response: Any) -> dict[str, Any]:
        """Do it."""
        caller = request.caller
        _, project = get_visible(self._services, caller, self._serial)
        self._services.policy.authorize(
            caller, policies.REVOKE, {'project_id': project}
        )
        return show(
            self._services.operations.revoke_certificate(
                self._serial, caller.get_caller()
            )
        )
