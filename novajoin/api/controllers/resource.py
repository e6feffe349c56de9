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
"""Resources: the way from a path and a method to a handler.

Pecan's own RestController lets ``?_method=`` in a query choose the method.
Here a path is walked segment by segment, and the handler is the Python method
named like the HTTP method.
"""

from typing import Any
from typing import Final

from pecan import core
from webob import exc

from novajoin import exceptions

#: HTTP methods and the names of their handlers.
METHODS: Final = {
    'DELETE': 'delete',
    'GET': 'get',
    'HEAD': 'get',
    'PATCH': 'patch',
    'POST': 'post',
    'PUT': 'put',
}


class Resource:
    """What one path names."""

    def find_child(self, segment: str) -> 'Resource | None':
        """Return what is below this path under a segment, if anything.

        :param segment: never empty
        """
        return None


class Application(core.ExplicitPecan):
    """Pecan, walking our resources.

    :param root: the resource of the path ``/``
    """

    def route(
        self, req: Any, node: Resource, path: str
    ) -> tuple[Any, list[str]]:
        """Find the handler for a request (an override).

        :raises NotFound: no resource has this path
        """
        segments = path.split('/')[1:]
        if segments and segments[-1] == '':
            segments.pop()
        resource = node
        for segment in segments:
            child = resource.find_child(segment) if segment else None
            if child is None:
                raise exceptions.NotFound()
            resource = child
        handler = getattr(resource, METHODS.get(req.method, ''), None)
        if handler is None:
            allowed = [
                method
                for method, name in METHODS.items()
                if hasattr(resource, name)
            ]
            raise exc.HTTPMethodNotAllowed(
                headers=[('Allow', ', '.join(allowed))]
            )
        return handler, []

    def invoke_controller(
        self, controller: Any, args: list[Any], kwargs: Any, state: Any
    ) -> None:
        """Run a handler, which returns a whole response (an override).

        Pecan looks at the signature of the handler each time, which takes
        longer than most handlers.
        """
        state.response = controller(*args)
