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
"""``/v1/events``."""

from typing import Any

import pecan

from novajoin import models
from novajoin.api import documents
from novajoin.api import services
from novajoin.api import validation
from novajoin.api.controllers import page
from novajoin.api.controllers import resource
from novajoin.api.schemas import event as schema
from novajoin.db import events
from novajoin.policies import event as policies


def describe(event: models.Event) -> dict[str, Any]:
    """Return a line of the audit log."""
    return {
        'id': event.id,
        'at': documents.format_time(event.at),
        'kind': event.kind,
        'instance': event.instance,
        'project_id': event.project,
        'request_id': event.request_id,
        'detail': dict(event.detail),
    }


class EventsResource(resource.Resource):
    """The audit log."""

    def __init__(
        self, parts: services.Services, settings: services.Settings
    ) -> None:
        self._services = parts
        self._settings = settings

    @pecan.expose('json')
    @validation.schemas(query=schema.LIST, response=schema.LISTED)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """List what happened."""
        query = request.query
        project = page.find_project(request, self._services, policies.LIST)
        limit = page.get_limit(query, self._settings)
        marker = query.get('marker')
        found = self._services.database.read(
            lambda tx: events.list_page(
                tx,
                project=project,
                instance=query.get('instance'),
                limit=limit + 1,
                marker=int(marker) if marker else None,
            )
        )
        return page.make(
            'events',
            found,
            limit=limit,
            request=request,
            to_document=describe,
            get_marker=lambda event: str(event.id),
        )
