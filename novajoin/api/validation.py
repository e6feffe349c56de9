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
"""Schemas of what comes in and what goes out.

A handler states them::

    @pecan.expose('json')
    @validation.schemas(request=BODY, query=QUERY, response=ANSWER)
    def post(self, request, response): ...

and finds what was checked in ``request.document`` and ``request.query``. An
answer that does not fit is a defect of ours: it is not sent.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any
from typing import Final

import jsonschema

from novajoin import exceptions
from novajoin.api import documents

Schema = Mapping[str, Any]
Handler = Callable[..., Any]

#: The query of a resource that has none.
NO_QUERY: Final[Schema] = {'type': 'object', 'additionalProperties': False}

#: The body of what takes none; some clients send an empty object.
NO_BODY: Final[Schema] = {'type': 'object', 'additionalProperties': False}

_NOUNS = {
    'array': 'a list',
    'boolean': 'true or false',
    'integer': 'an integer',
    'null': 'null',
    'number': 'a number',
    'object': 'an object',
    'string': 'a string',
}


class InvalidAnswer(Exception):
    """The answer of a handler does not fit its schema."""


@dataclasses.dataclass(frozen=True, slots=True)
class Schemas:
    """What a handler states.

    :ivar request: of the body; None: it takes none, or an empty object
    :ivar query: of the query, whose values are texts
    :ivar response: of the answer
    """

    request: Schema | None
    query: Schema
    response: Schema


def _make_validator(schema: Schema) -> Any:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _get_path(error: Any) -> str:
    """Write where the fault is, as ``metadata.ipa_enroll``."""
    parts = []
    for part in error.absolute_path:
        if isinstance(part, int):
            parts.append('[%d]' % part)
        elif part.isidentifier() and part.isascii() and len(part) <= 80:
            parts.append('.' + part)
        elif part.replace('-', '').isalnum() and part.isascii():
            parts.append('.' + part[:80])
        else:
            parts.append('[%s]' % documents.quote(part))
    return ''.join(parts).removeprefix('.')


def explain(error: Any, root: str) -> str:
    """Say what is wrong, where, and what would be right.

    The value is not quoted: it may be a secret in the wrong place.

    :param error: a ``jsonschema.ValidationError``
    :param root: what the whole is called
    """
    path = _get_path(error)
    where = '%s: %s' % (root, path) if path else root
    value = error.validator_value
    match error.validator:
        case 'type':
            names = [value] if isinstance(value, str) else value
            return '%s has to be %s.' % (
                where,
                ' or '.join(_NOUNS[name] for name in names),
            )
        case 'required':
            missing = [name for name in value if name not in error.instance]
            return '%s lacks %s.' % (where, ', '.join(missing))
        case 'additionalProperties':
            known = error.schema.get('properties', {})
            unknown = [
                documents.quote(name)
                for name in error.instance
                if name not in known
            ]
            return '%s has the unknown key %s.' % (where, unknown[0])
        case 'enum':
            return '%s has to be one of %s.' % (where, ', '.join(value))
    return '%s has to be %s.' % (
        where,
        error.schema.get('description', 'of the form %s' % (value,)),
    )


def _read_query(request: Any, validator: Any) -> dict[str, str]:
    """Return the query as a dictionary.

    :raises BadRequest: a name is there twice, unknown, or has a bad value
    """
    if not request.environ.get('QUERY_STRING'):
        return {}
    query: dict[str, str] = {}
    for name, value in request.read_query():
        if name in query:
            raise exceptions.BadRequest(
                'The query has %s twice.' % documents.quote(name)
            )
        query[name] = value
    for error in validator.iter_errors(query):
        raise exceptions.BadRequest(explain(error, 'The query'))
    return query


def schemas(
    *,
    request: Schema | None = None,
    query: Schema = NO_QUERY,
    response: Schema,
) -> Callable[[Handler], Handler]:
    """Attach schemas to a handler ``(self, request, response) -> document``.

    The validators are made once, here. What the handler returns is put into
    the answer as JSON; an empty object, the answer to most posts, is not
    looked at.
    """
    has_body = request is not None
    check_body = _make_validator(NO_BODY if request is None else request)
    check_query = _make_validator(query)
    check_answer = _make_validator(response)

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def run(self: Any, req: Any, resp: Any) -> Any:
            req.query = _read_query(req, check_query)
            if has_body or req.environ.get('CONTENT_LENGTH', '0') != '0':
                req.document = req.read_document()
                for error in check_body.iter_errors(req.document):
                    raise exceptions.InvalidBody(explain(error, 'The body'))
            answer = handler(self, req, resp)
            if answer:
                for error in check_answer.iter_errors(answer):
                    raise InvalidAnswer(explain(error, 'The answer'))
                resp.body = documents.dump(answer)
            else:
                resp.body = b'{}'
            resp.content_type = 'application/json'
            return resp

        run.schemas = Schemas(  # type: ignore[attr-defined]
            request, query, response
        )
        return run

    return decorate
