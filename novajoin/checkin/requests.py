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
"""The request as this surface sees it.

Pecan reads the query and the body of each request to find arguments for the
controller. Nothing here takes an argument that way, and a body must not be
parsed before its sender is known, so both are switched off.
"""

from typing import Any
import uuid

from oslo_log import log as logging
import pecan
from webob import multidict

from novajoin import exceptions

LOG = logging.getLogger(__name__)

_REQUEST_ID = 'novajoin.request_id'


def make_id() -> str:
    """Return a new request id."""
    return 'req-%s' % uuid.uuid4()


class Request(pecan.Request):
    """A request without arguments, whose body is read when asked for."""

    #: There is one representation of each resource.
    accept = None

    @property
    def params(self) -> multidict.NestedMultiDict:
        """No arguments."""
        return multidict.NestedMultiDict()

    GET = params
    POST = params

    @property
    def json(self) -> dict[str, Any]:
        """Nothing: for Pecan only, which asks before anyone is known."""
        return {}

    @property
    def path_info(self) -> str:
        """The path; one that is not UTF-8 is the path of nothing."""
        path: str = self.environ.get('PATH_INFO', '')
        return path.encode('latin-1', 'replace').decode('utf-8', 'replace')

    @property
    def id(self) -> str:
        """The id of this request, ``req-<uuid>``; always our own."""
        known: str | None = self.environ.get(_REQUEST_ID)
        if known is None:
            known = self.environ[_REQUEST_ID] = make_id()
        return known

    def check_content_type(self, expected: str) -> None:
        """Refuse a body of another media type; parameters are ignored.

        :param expected: lower case
        :raises UnsupportedMediaType: it is another one, or none is named
        """
        named = self.environ.get('CONTENT_TYPE', '')
        if named.partition(';')[0].strip().lower() != expected:
            raise exceptions.UnsupportedMediaType(
                'Content-Type is to be %s.' % expected
            )

    def check_length(self, limit: int) -> None:
        """Refuse a body that says that it is too long.

        :param limit: bytes
        :raises BodyTooLarge: it is longer
        :raises BadRequest: Content-Length is no number
        """
        text = self.environ.get('CONTENT_LENGTH') or '0'
        if not (text.isascii() and text.isdigit()):
            raise exceptions.BadRequest('Content-Length is not a number.')
        # Longer than any limit can be, and no work for int().
        if len(text) > 18 or int(text) > limit:
            raise exceptions.BodyTooLarge(
                'The body is larger than %d bytes.' % limit
            )

    def read_body(self, limit: int) -> bytes:
        """Return the body, also one sent in chunks.

        :param limit: bytes
        :raises BodyTooLarge: there is more than that
        :raises BadRequest: it does not come, or not in proper chunks
        """
        self.check_length(limit)
        stream = self.environ['wsgi.input']
        if self.environ.get('CONTENT_LENGTH'):
            length = int(self.environ['CONTENT_LENGTH'])
        elif self.environ.get('wsgi.input_terminated'):
            length = limit + 1
        else:
            length = 0
        body = bytearray()
        while len(body) < length:
            part = _read(stream, length - len(body))
            if not part:
                break
            body += part
        if len(body) > limit:
            raise exceptions.BodyTooLarge(
                'The body is larger than %d bytes.' % limit
            )
        return bytes(body)


def _read(stream: Any, size: int) -> bytes:
    """Read at most so many bytes.

    :raises BadRequest: the server cannot
    """
    try:
        part: bytes = stream.read(size)
    except Exception as error:  # noqa: BLE001 each server has its own
        # Its text quotes what was sent: at a wrong length, a token perhaps.
        LOG.debug('a body could not be read: %s', type(error).__name__)
        raise exceptions.BadRequest(
            'The body could not be read to its end.'
        ) from None
    return part
