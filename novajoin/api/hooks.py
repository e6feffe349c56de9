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
"""What Pecan calls beside a controller."""

from typing import Any

from pecan import hooks
import webob
from webob import exc

from novajoin.api import errors


class ErrorHook(hooks.PecanHook):
    """Answer whatever was raised inside Pecan.

    Its own 404, 405 and 406 come here as well as the domain's errors and
    defects.
    """

    def on_error(self, state: Any, error: Exception) -> webob.Response:
        """Return the answer for an exception."""
        headers: list[tuple[str, str]] = []
        if isinstance(error, exc.HTTPException):
            found = errors.from_status(error.code)
            allowed = error.headers.get('Allow')
            if allowed:
                headers.append(('Allow', allowed))
        else:
            found = errors.from_exception(error)
        status, ours, body = errors.respond(found, state.request.environ)
        return webob.Response(
            status=status, headerlist=[*ours, *headers], body=body
        )
