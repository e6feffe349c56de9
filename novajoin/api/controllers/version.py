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
"""``/``: the versions."""

from typing import Any

import pecan

from novajoin.api import validation
from novajoin.api.controllers import resource
from novajoin.api.schemas import version as schema


def describe(request: Any) -> dict[str, Any]:
    """Return what a client has to know about version 1."""
    return {
        'id': 'v1.0',
        'status': 'CURRENT',
        'links': [{'rel': 'self', 'href': request.application_url + '/v1/'}],
    }


class VersionsResource(resource.Resource):
    """The root.

    :param v1: the resource of version 1
    """

    def __init__(self, v1: resource.Resource) -> None:
        self._v1 = v1

    def find_child(self, segment: str) -> resource.Resource | None:
        """Return a version."""
        return self._v1 if segment == 'v1' else None

    @pecan.expose('json')
    @validation.schemas(response=schema.LISTED)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """List the versions."""
        return {'versions': [describe(request)]}
