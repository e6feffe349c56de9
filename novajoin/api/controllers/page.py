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
"""Lists, page by page."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar
from urllib import parse

from novajoin import exceptions
from novajoin.api import services
from novajoin.api.controllers import resource

_T = TypeVar('_T')


class ListResource(resource.Resource):
    """What can be listed."""

    def __init__(
        self, parts: services.Services, settings: services.Settings
    ) -> None:
        self._services = parts
        self._settings = settings

    def _answer(
        self,
        request: Any,
        *,
        noun: str,
        rule: str,
        read: Callable[..., Sequence[_T]],
        describe: Callable[[_T], dict[str, Any]],
        get_marker: Callable[[_T], str],
    ) -> dict[str, Any]:
        """Answer with one page.

        :param noun: what the items are called in the answer
        :param rule: the policy rule for listing them
        :param read: returns items; takes ``project`` (None: of all of
            them), ``limit`` and ``marker`` by their names
        :param describe: makes an item's document
        :param get_marker: returns what the list is ordered by
        :raises BadRequest: the query wants more than a page may have
        :raises Forbidden: the caller may not see what he asks for
        """
        query = request.query
        project = find_project(request, self._services, rule)
        limit = get_limit(query, self._settings)
        # One more, so that it is known whether there is another page.
        found = read(
            project=project, limit=limit + 1, marker=query.get('marker')
        )
        shown = found[:limit]
        following = None
        if len(found) > limit:
            following = '%s%s?%s' % (
                request.script_name,
                request.path_info,
                parse.urlencode({**query, 'marker': get_marker(shown[-1])}),
            )
        return {
            noun: [describe(item) for item in shown],
            'links': {'next': following},
        }


def get_limit(query: Mapping[str, str], settings: services.Settings) -> int:
    """Return how many items a page is to have.

    :raises BadRequest: more than a page may have
    """
    if 'limit' not in query:
        return min(settings.page, settings.max_page)
    text = query['limit']
    # By its length first: Python refuses to read a number of many digits.
    if len(text) > len(str(settings.max_page)) or (
        int(text) > settings.max_page
    ):
        raise exceptions.BadRequest(
            'The query: limit may be %d at most.' % settings.max_page
        )
    return int(text)


def find_project(
    request: Any, settled: services.Services, rule: str
) -> str | None:
    """Return whose items the caller gets to see; None: everybody's.

    Who names no project sees everything if he may, else his own project's.

    :raises Forbidden: he may not see what he asks for
    """
    caller = request.caller
    project: str | None = request.query.get('project_id')
    if project is None:
        if settled.policy.is_allowed(caller, rule, {}):
            return None
        project = caller.project_id
    settled.policy.authorize(
        caller, rule, {} if project is None else {'project_id': project}
    )
    return project
