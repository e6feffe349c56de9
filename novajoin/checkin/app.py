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
"""The instance-facing application.

It shares the domain with the control plane and nothing of its API: no
keystone, no policies, no request arguments, eight resources.
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from pecan import core

from novajoin.checkin import hooks
from novajoin.checkin import limits
from novajoin.checkin import requests
from novajoin.checkin import services
from novajoin.checkin.controllers import root

WsgiApplication = Callable[
    [dict[str, Any], Callable[..., Any]], Iterable[bytes]
]


class Application(core.ExplicitPecan):
    """Pecan with a table of routes and controllers that return responses.

    Its own lookup of objects by the parts of a path would find more than is
    meant. Both that and its rendering inspect a function for each request,
    which costs more than most of what they are needed for.
    """

    def route(
        self, req: requests.Request, node: root.RootController, path: str
    ) -> tuple[root.Controller, list[str]]:
        """Return the controller of a request and its arguments."""
        return node.get_controller(path, req.method)

    def invoke_controller(
        self,
        controller: root.Controller,
        args: list[Any],
        kwargs: dict[str, Any],
        state: Any,
    ) -> None:
        """Take what the controller returns for the answer."""
        state.response = controller(*args, **kwargs)


def build(parts: services.Services, settings: Any) -> WsgiApplication:
    """Return the WSGI application.

    It has to be served by a server that hands out its TLS socket as
    ``gunicorn.socket``; what needs a client certificate answers 401 else.

    :param parts: what it works with
    :param settings: the oslo.config group ``[checkin]``
    """
    limit = limits.RateLimit(settings.rate_limit)
    application: WsgiApplication = Application(
        root.RootController(parts),
        hooks=[
            hooks.RequestHook(),
            hooks.RateLimitHook(limit, frozenset({root.HEALTH})),
            hooks.ErrorHook(),
        ],
        request_cls=requests.Request,
        force_canonical=False,
        guess_content_type_from_ext=False,
    )
    return application
