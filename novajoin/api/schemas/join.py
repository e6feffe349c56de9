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
"""What nova posts and what it is answered."""

from typing import Final

from novajoin import models
from novajoin.api.schemas import parts

#: nova/api/metadata/vendordata_dynamic.py. Keys that are not known here are
#: let through: a newer nova may have more.
CREATE: Final[parts.Schema] = {
    'type': 'object',
    'properties': {
        'project-id': parts.PROJECT,
        'instance-id': parts.UUID,
        'image-id': {
            'type': ['string', 'null'],
            'pattern': '^([0-9A-Fa-f-]{36}(?!\\n))?$',
            'description': 'the uuid of an image, empty, or null',
        },
        # What a name may look like is for the domain to say: an instance
        # that asks for nothing is none of our business.
        'hostname': {'type': 'string'},
        # An instance without any has an empty object.
        'metadata': {
            'type': 'object',
            'additionalProperties': {
                'type': 'string',
                # PostgreSQL has no text with this character in it.
                'pattern': '^[^\\u0000]*$',
                'description': 'text without NUL characters',
            },
            'propertyNames': {
                'pattern': '^[^\\u0000]*$',
                'description': 'an object with keys without NUL characters',
            },
        },
        'user-data': {'type': ['string', 'null']},
        'boot-roles': {'type': ['string', 'null']},
    },
    'required': ['project-id', 'instance-id', 'hostname'],
}

#: Beside these, what the identity backend adds. An enrollment that has no
#: credential to give (contested, expired, suspended) has its state only.
CREATED: Final[parts.Schema] = {
    'type': 'object',
    'properties': {
        'hostname': {'type': 'string', 'minLength': 1, 'maxLength': 253},
        'bootstrap': parts.make_object(
            {
                'v': {'type': 'integer', 'const': 1},
                'payload': {
                    'type': 'string',
                    'pattern': '^[A-Za-z0-9+/]+=*$',
                },
                'sha256': parts.SHA256,
            }
        ),
        'ipaotp': {'type': 'string'},
        'krb_realm': {'type': 'string'},
        'state': {
            'type': 'string',
            'enum': [state.value for state in models.State],
        },
    },
    'required': ['hostname'],
    'anyOf': [{'required': ['bootstrap']}, {'required': ['state']}],
    'additionalProperties': {'type': 'string'},
}
