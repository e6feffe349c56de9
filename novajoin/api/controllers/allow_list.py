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
"""``/v1/allow-lists``."""

import re
from typing import Any

import pecan

from novajoin import exceptions
from novajoin.api import services
from novajoin.api import validation
from novajoin.api.controllers import resource
from novajoin.api.schemas import allow_list as schema
from novajoin.policies import allow_list as policies

_PROJECT = re.compile('[A-Za-z0-9_-]{1,64}')


class AllowListsResource(resource.Resource):
    """All of them; there is no list of lists."""

    def __init__(self, parts: services.Services) -> None:
        self._services = parts

    def find_child(self, segment: str) -> resource.Resource | None:
        """Return that of a project."""
        return AllowListResource(self._services, segment)


class AllowListResource(resource.Resource):
    """What the instances of one project may ask for.

    :param project: as it is in the path
    """

    def __init__(self, parts: services.Services, project: str) -> None:
        self._services = parts
        self._project = project

    @pecan.expose('json')
    @validation.schemas(response=schema.SHOWN)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """Show it. A project without a section may ask for nothing."""
        if not (
            _PROJECT.fullmatch(self._project)
            and self._services.policy.is_allowed(
                request.caller,
                policies.SHOW,
                {'project_id': self._project},
            )
        ):
            raise exceptions.NotFound('There is no such allow-list.')
        found = self._services.find_allow_list(self._project)
        return {
            'allow_list': {
                'project_id': self._project,
                'allowed_classes': list(found.classes),
                'allowed_services': list(found.services),
                'allowed_subhosts': list(found.subhosts),
                'allowed_zones': list(found.zones),
            }
        }
