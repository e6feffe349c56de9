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
"""``/v1/``: nova's post."""

from typing import Any

import pecan

from novajoin import models
from novajoin.api import services
from novajoin.api import validation
from novajoin.api.controllers import allow_list
from novajoin.api.controllers import certificate
from novajoin.api.controllers import enrollment
from novajoin.api.controllers import event
from novajoin.api.controllers import resource
from novajoin.api.controllers import version
from novajoin.api.schemas import join as schema
from novajoin.api.schemas import version as version_schema
from novajoin.policies import join as policies


class JoinResource(resource.Resource):
    """``/v1`` and what is below."""

    def __init__(
        self, parts: services.Services, settings: services.Settings
    ) -> None:
        self._services = parts
        self._children: dict[str, resource.Resource] = {
            'allow-lists': allow_list.AllowListsResource(parts),
            'certificates': certificate.CertificatesResource(parts, settings),
            'enrollments': enrollment.EnrollmentsResource(parts, settings),
            'events': event.EventsResource(parts, settings),
        }

    def find_child(self, segment: str) -> resource.Resource | None:
        """Return a list."""
        return self._children.get(segment)

    @pecan.expose('json')
    @validation.schemas(response=version_schema.SHOWN)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """Describe this version."""
        return {'version': version.describe(request)}

    @pecan.expose('json')
    @validation.schemas(request=schema.CREATE, response=schema.CREATED)
    def post(self, request: Any, response: Any) -> Any:
        """Answer nova for one instance."""
        caller = request.caller
        self._services.policy.authorize(caller, policies.CREATE, {})
        response.cache_control = 'no-store'
        document = request.document
        return self._services.admission.answer(
            models.VendordataPost(
                instance=document['instance-id'],
                project=document['project-id'],
                image=document.get('image-id') or None,
                hostname=document['hostname'],
                metadata=document.get('metadata', {}),
            ),
            caller.get_caller(),
        )
