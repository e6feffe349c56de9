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
"""``/v1/enrollments``."""

from collections.abc import Callable
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
from novajoin.api.schemas import enrollment as schema
from novajoin.policies import enrollment as policies

_ETAG = re.compile(r'"([0-9]{1,9})\.([0-9]{1,9})"')


def describe(enrollment: models.Enrollment) -> dict[str, Any]:
    """Return an enrollment without anything that a credential is made of."""
    return {
        'instance': enrollment.instance,
        'project_id': enrollment.project,
        'hostname': enrollment.hostname,
        'state': enrollment.state.value,
        'suspended_from': (
            enrollment.suspended_from and enrollment.suspended_from.value
        ),
        'epoch': enrollment.epoch,
        'generation': enrollment.generation,
        'refusal': enrollment.refusal,
        'is_confirmed_by_nova': enrollment.nova_confirmed,
        'is_confirmed_by_identity': enrollment.identity_confirmed,
        'host_id': enrollment.host_id,
        'image': enrollment.image,
        'opened_at': documents.format_time(enrollment.opened_at),
        'expires_at': documents.format_time(enrollment.expires_at),
        'rebuild_at': documents.format_optional_time(enrollment.rebuild_at),
        'created_at': documents.format_time(enrollment.created_at),
        'updated_at': documents.format_time(enrollment.updated_at),
    }


def show(enrollment: models.Enrollment, response: Any) -> dict[str, Any]:
    """Answer with one enrollment and the ETag for a later If-Match."""
    response.headers['ETag'] = '"%d.%d"' % (
        enrollment.epoch,
        enrollment.generation,
    )
    return {'enrollment': describe(enrollment)}


def read_expected(request: Any) -> tuple[int, int] | None:
    """Return epoch and generation of the If-Match header, if there is one.

    :raises BadRequest: it is not an ETag of an enrollment
    """
    text = request.environ.get('HTTP_IF_MATCH')
    if text is None or text.strip() == '*':
        return None
    match = _ETAG.fullmatch(text.strip())
    if match is None:
        raise exceptions.BadRequest(
            'If-Match has to be the ETag of the enrollment, for instance '
            '"1.2".'
        )
    return int(match[1]), int(match[2])


def get_visible(
    parts: services.Services,
    caller: context.RequestContext,
    instance: str,
    rule: str = policies.SHOW,
) -> models.Enrollment:
    """Return an enrollment that the caller may see.

    :param rule: what it takes to see it
    :raises NotFound: there is none, or not for this caller
    """
    found = None
    if models.is_uuid(instance):
        found = parts.operations.find_enrollment(instance)
    if found is None or not parts.policy.is_allowed(
        caller, rule, {'project_id': found.project}
    ):
        raise exceptions.NotFound('There is no such enrollment.')
    return found


class EnrollmentsResource(page.ListResource):
    """The list."""

    def find_child(self, segment: str) -> resource.Resource | None:
        """Return one enrollment."""
        return EnrollmentResource(self._services, segment)

    @pecan.expose('json')
    @validation.schemas(query=schema.LIST, response=schema.LISTED)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """List enrollments in the order of their uuids."""
        query = request.query
        state = query.get('state')
        return self._answer(
            request,
            noun='enrollments',
            rule=policies.LIST,
            read=functools.partial(
                self._services.operations.list_enrollments,
                state=models.State(state) if state else None,
                hostname=query.get('hostname'),
            ),
            describe=describe,
            get_marker=lambda enrollment: enrollment.instance,
        )


class EnrollmentResource(resource.Resource):
    """One enrollment.

    :param instance: as it is in the path
    """

    def __init__(self, parts: services.Services, instance: str) -> None:
        self._services = parts
        self._instance = instance

    def find_child(self, segment: str) -> resource.Resource | None:
        """Return an action."""
        action = _ACTIONS.get(segment)
        return action and action(self._services, self._instance)

    @pecan.expose('json')
    @validation.schemas(response=schema.SHOWN)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """Show it."""
        return show(
            get_visible(self._services, request.caller, self._instance),
            response,
        )


class _Action(resource.Resource):
    def __init__(self, parts: services.Services, instance: str) -> None:
        self._services = parts
        self._instance = instance

    def _authorize(self, request: Any, rule: str) -> models.Caller:
        """Return the caller, who may see the enrollment and do this."""
        found = get_visible(self._services, request.caller, self._instance)
        self._services.policy.authorize(
            request.caller, rule, {'project_id': found.project}
        )
        caller: models.Caller = request.caller.get_caller()
        return caller


class RevokeResource(_Action):
    """Revoke the certificates; nothing is issued before a reissue."""

    @pecan.expose('json')
    @validation.schemas(response=schema.SHOWN)
    def post(self, request: Any, response: Any) -> dict[str, Any]:
        """Do it."""
        caller = self._authorize(request, policies.REVOKE)
        return show(
            self._services.operations.revoke(self._instance, caller), response
        )


class RetryResource(_Action):
    """Put failed work back into the queue."""

    @pecan.expose('json')
    @validation.schemas(response=schema.SHOWN)
    def post(self, request: Any, response: Any) -> dict[str, Any]:
        """Do it."""
        caller = self._authorize(request, policies.RETRY)
        return show(
            self._services.operations.retry(self._instance, caller), response
        )


class ReissueResource(_Action):
    """Open a new generation."""

    @pecan.expose('json')
    @validation.schemas(response=schema.SHOWN)
    def post(self, request: Any, response: Any) -> dict[str, Any]:
        """Do it, once for each If-Match."""
        expected = read_expected(request)
        caller = self._authorize(request, policies.REISSUE)
        return show(
            self._services.operations.reissue(
                self._instance, caller, expected=expected
            ),
            response,
        )


class ReleaseResource(_Action):
    """Take the identity away, whatever nova says."""

    @pecan.expose('json')
    @validation.schemas(request=schema.RELEASE, response=schema.SHOWN)
    def post(self, request: Any, response: Any) -> dict[str, Any]:
        """Do it, for a reason that goes to the audit log."""
        caller = self._authorize(request, policies.RELEASE)
        return show(
            self._services.operations.release(
                self._instance, caller, reason=request.document['reason']
            ),
            response,
        )


_ACTIONS: dict[str, Callable[[services.Services, str], _Action]] = {
    'reissue': ReissueResource,
    'release': ReleaseResource,
    'retry': RetryResource,
    'revoke': RevokeResource,
}
