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
"""Who calls, for which request."""

from collections.abc import Collection
from collections.abc import Mapping
import re
from typing import Any
from typing import Final
import uuid

from oslo_context import context

from novajoin import models

_REQUEST_ID = re.compile('req-' + models.UUID_PATTERN)

#: The keystone domain that every keystone has.
DEFAULT_DOMAIN: Final = 'default'


def make_request_id() -> str:
    """Return a new id of a request: ``req-`` and a random uuid."""
    return 'req-%s' % uuid.uuid4()


def find_request_id(text: str | None) -> str | None:
    """Return a request id that somebody sent, or None if it is not one.

    It goes into the log and to other services, so it is taken in this one
    form only.
    """
    if text is None or _REQUEST_ID.fullmatch(text) is None:
        return None
    return text


class RequestContext(context.RequestContext):
    """The caller as keystone knows it, and the request's ids.

    :ivar is_vendordata_user: whether the caller is nova's account for
        vendordata, see :func:`is_vendordata_user`
    """

    def __init__(
        self, *, is_vendordata_user: bool = False, **kwargs: Any
    ) -> None:
        self.is_vendordata_user = is_vendordata_user
        super().__init__(**kwargs)

    def to_policy_values(self) -> dict[str, Any]:
        """Return what rules may look at.

        Names are left out on purpose: anybody who owns a domain can give
        any name to a user of it.
        """
        return {
            'user_id': self.user_id,
            'user_domain_id': self.user_domain_id,
            'system_scope': self.system_scope,
            'domain_id': self.domain_id,
            'project_id': self.project_id,
            'project_domain_id': self.project_domain_id,
            'roles': self.roles,
            'service_user_id': self.service_user_id,
            'service_roles': self.service_roles,
            'is_vendordata_user': self.is_vendordata_user,
        }

    def get_caller(self) -> models.Caller:
        """Return the caller in the domain's words."""
        return models.Caller(
            request_id=self.request_id,
            user=self.user_id,
            project=self.project_id,
        )


def is_vendordata_user(
    environ: Mapping[str, Any], user_ids: Collection[str]
) -> bool:
    """Tell whether a request comes from nova's account for vendordata.

    :param environ: WSGI environment, after keystonemiddleware
    :param user_ids: ``[api] vendordata_user_ids``. When empty, the user
        ``nova`` of the domain whose id is ``default``: a name alone, or a
        domain's name, could be taken by somebody else.
    """
    user = environ.get('HTTP_X_USER_ID')
    if not user:
        return False
    if user_ids:
        return user in user_ids
    return (
        environ.get('HTTP_X_USER_NAME') == 'nova'
        and environ.get('HTTP_X_USER_DOMAIN_ID') == DEFAULT_DOMAIN
    )
