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
"""The whole surface in one table.

A path is served when it is written exactly as in the table: no redirects, no
final slash more or less, no EST labels, nothing that has to be resolved.
"""

from collections.abc import Callable
import dataclasses
import re
from typing import Any
from typing import Final

import pecan
import webob

from novajoin import exceptions
from novajoin.checkin import requests
from novajoin.checkin import services
from novajoin.checkin.controllers import authorities
from novajoin.checkin.controllers import est
from novajoin.checkin.controllers import health
from novajoin.checkin.controllers import receipts

Controller = Callable[..., webob.Response]

HEALTH: Final = '/healthcheck'
_EST: Final = '/.well-known/est/'
_CRL: Final = re.compile(r'/crl/([0-9a-f]{16})\.crl')


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """One resource.

    :ivar method: ``GET``, which implies HEAD, or ``POST``
    """

    method: str
    controller: Controller

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods that the resource takes."""
        if self.method == 'GET':
            return ('GET', 'HEAD', 'OPTIONS')
        return (self.method, 'OPTIONS')


class MethodNotAllowed(exceptions.MethodNotAllowed):
    """The method is not allowed, and these are.

    :param allowed: names of methods
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__('This resource takes %s.' % ' and '.join(allowed))
        self.allowed = allowed


class RootController:
    """Finds the controller of a path."""

    def __init__(self, parts: services.Services) -> None:
        authority = authorities.AuthorityController(parts)
        enrollment = est.EstController(parts)
        receipt = receipts.ReceiptController(parts)
        self._crl = Route('GET', authority.get_crl)
        self._routes = {
            _EST + 'cacerts': Route('GET', enrollment.get_ca_certificates),
            _EST + 'csrattrs': Route('GET', enrollment.get_csr_attributes),
            _EST + 'simpleenroll': Route('POST', enrollment.enroll),
            _EST + 'simplereenroll': Route('POST', enrollment.reenroll),
            '/ca.crt': Route('GET', authority.get_root),
            '/v1/receipts': Route('POST', receipt.receive),
            HEALTH: Route('GET', health.HealthController(parts).check),
        }

    def get_controller(
        self, path: str, method: str
    ) -> tuple[Controller, list[str]]:
        """Return the controller and its arguments.

        :raises NotFound: there is nothing at the path
        :raises MethodNotAllowed: there is, for other methods
        """
        route, remainder = self._find(path)
        if route is None:
            raise exceptions.NotFound()
        if method not in route.allowed:
            raise MethodNotAllowed(route.allowed)
        if method == 'OPTIONS':
            return self.list_methods, list(route.allowed)
        return route.controller, remainder

    def _find(self, path: str) -> tuple[Route | None, list[str]]:
        match = _CRL.fullmatch(path)
        if match:
            return self._crl, [match[1]]
        return self._routes.get(path), []

    @pecan.expose()
    def list_methods(
        self, request: requests.Request, response: webob.Response, *args: Any
    ) -> webob.Response:
        """Answer OPTIONS (RFC 9110 section 9.3.7)."""
        return webob.Response(status=204, headers={'Allow': ', '.join(args)})
