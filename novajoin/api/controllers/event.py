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
from novajoin.api import validation
from novajoin.api.controllers import page
from novajoin.api.schemas import event as schema
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


class EventsResource(page.ListResource):
    """The audit log."""

    @pecan.expose('json')
    @validation.schemas(query=schema.LIST, response=schema.LISTED)
    def get(self, request: Any, response: Any) -> dict[str, Any]:
        """List what happened."""
        instance = request.query.get('instance')
        return self._answer(
            request,
            noun='events',
            rule=policies.LIST,
            read=lambda marker, **page: self._services.operations.list_events(
                instance=instance,
                marker=int(marker) if marker else None,
                **page,
            ),
            describe=describe,
            get_marker=lambda event: str(event.id),
        )
