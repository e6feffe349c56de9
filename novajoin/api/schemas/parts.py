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
"""What several schemas are made of.

``description`` completes the sentence "… has to be" in an error message.
Patterns end in ``(?!\\n)$`` because Python's ``$`` also fits before a final
line feed.
"""

from typing import Any
from typing import Final

from novajoin import models

Schema = dict[str, Any]

UUID: Final[Schema] = {
    'type': 'string',
    'pattern': '^%s(?!\\n)$' % models.UUID_PATTERN,
    'description': 'a uuid in lower-case hex digits with dashes',
}

PROJECT: Final[Schema] = {
    'type': 'string',
    'pattern': '^[A-Za-z0-9_-]{1,64}(?!\\n)$',
    'description': 'the id of a project',
}

SERIAL: Final[Schema] = {
    'type': 'string',
    'pattern': '^[0-9a-f]{1,40}(?!\\n)$',
    'description': 'a serial in lower-case hex digits',
}

TIME: Final[Schema] = {
    'type': 'string',
    'pattern': '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$',
    'description': 'a time as 2026-11-21T08:00:00Z',
}

SHA256: Final[Schema] = {
    'type': 'string',
    'pattern': '^[0-9a-f]{64}(?!\\n)$',
    'description': 'a SHA-256 digest in lower-case hex digits',
}

#: How much is too much is a setting: the list itself says so.
LIMIT: Final[Schema] = {
    'type': 'string',
    'pattern': '^[1-9][0-9]*(?!\\n)$',
    'description': 'a whole number from 1 on',
}

LINKS: Final[Schema] = {
    'type': 'object',
    'properties': {'next': {'type': ['string', 'null']}},
    'required': ['next'],
    'additionalProperties': False,
}


def or_null(schema: Schema) -> Schema:
    """Return a schema that also takes null."""
    return {**schema, 'type': [schema['type'], 'null']}


def make_object(properties: dict[str, Schema]) -> Schema:
    """Return the schema of an object with exactly these members."""
    return {
        'type': 'object',
        'properties': properties,
        'required': list(properties),
        'additionalProperties': False,
    }


def make_query(properties: dict[str, Schema]) -> Schema:
    """Return the schema of a query with any of these parameters."""
    return {
        'type': 'object',
        'properties': properties,
        'additionalProperties': False,
    }


def make_page(noun: str, item: Schema) -> Schema:
    """Return the schema of one page of a list."""
    return make_object(
        {noun: {'type': 'array', 'items': item}, 'links': LINKS}
    )
