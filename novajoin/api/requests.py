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
"""A request as our controllers see it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from typing import Final
from urllib import parse

import webob
from webob import multidict

from novajoin import context as novajoin_context
from novajoin import exceptions
from novajoin.api import documents
from novajoin.api import errors

#: Where the caller's context is in the WSGI environment.
CONTEXT: Final = 'novajoin.context'

#: In the WSGI environment of a request that needs no caller.
IS_OPEN: Final = 'novajoin.open'

#: In the WSGI environment of a request on ``noauth``. A client can set no
#: such key, as it can set no key that does not begin with HTTP_.
IS_NOAUTH: Final = 'novajoin.noauth'


class Request(webob.Request):
    """A request whose body reaches a handler through its schema only.

    Pecan passes the members of query and body as arguments to a controller;
    here it sees none.

    :ivar document: the checked body, see :mod:`novajoin.api.validation`
    :ivar query: the checked query
    """

    # WebOb sets attributes that the class does not have at some cost.
    document: Any = None
    query: Mapping[str, str] = MappingProxyType({})
    context: Any = None
    pecan: Any = None

    @property
    def params(self) -> Any:
        """Return nothing; Pecan looks here."""
        return multidict.NoVars()

    @property
    def GET(self) -> Any:  # noqa: N802 the name is WebOb's
        """Return nothing; Pecan looks here."""
        return multidict.NoVars()

    @property
    def json(self) -> dict[str, Any]:
        """Return nothing; Pecan looks here."""
        return {}

    def read_query(self) -> list[tuple[str, str]]:
        """Return the names and values in the query.

        :raises BadRequest: they are no text
        """
        try:
            return parse.parse_qsl(
                self.environ.get('QUERY_STRING', ''),
                keep_blank_values=True,
                strict_parsing=bool(self.environ.get('QUERY_STRING')),
                errors='strict',
                max_num_fields=100,
            )
        except ValueError:  # UnicodeDecodeError included
            raise exceptions.BadRequest(
                'The query is not of the form name=value&name=value in UTF-8.'
            ) from None

    @property
    def caller(self) -> novajoin_context.RequestContext:
        """Return who asks."""
        found: novajoin_context.RequestContext = self.environ[CONTEXT]
        return found

    def read_document(self) -> Any:
        """Return the JSON document in the body.

        :raises UnsupportedMediaType: the body does not claim to be JSON
        :raises InvalidBody: it is not
        """
        media_type, _, parameters = self.environ.get(
            'CONTENT_TYPE', ''
        ).partition(';')
        if media_type.strip().lower() != 'application/json':
            raise exceptions.UnsupportedMediaType(
                'The content type has to be application/json.'
            )
        charset = parameters.strip().lower().replace('"', '')
        if charset not in ('', 'charset=utf-8', 'charset=utf8'):
            raise exceptions.UnsupportedMediaType(
                'JSON is sent in UTF-8 and without other parameters.'
            )
        return documents.parse(self.environ['wsgi.input'].read())

    @property
    def id(self) -> str:
        """Return the request's id."""
        found: str = self.environ[errors.REQUEST_ID]
        return found
