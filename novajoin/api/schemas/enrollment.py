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
"""Enrollments; without anything that a credential is made of."""

from typing import Final

from novajoin import models
from novajoin.api.schemas import parts

_STATE: Final[parts.Schema] = {
    'type': 'string',
    'enum': [state.value for state in models.State],
}

_VERDICT: Final[parts.Schema] = {'type': ['boolean', 'null']}

_COUNT: Final[parts.Schema] = {'type': 'integer', 'minimum': 1}

_ENROLLMENT: Final = parts.make_object(
    {
        'instance': parts.UUID,
        'project_id': parts.PROJECT,
        'hostname': {'type': 'string'},
        'state': _STATE,
        'suspended_from': {'type': ['string', 'null']},
        'epoch': _COUNT,
        'generation': _COUNT,
        'refusal': {'type': ['string', 'null']},
        'is_confirmed_by_nova': _VERDICT,
        'is_confirmed_by_identity': _VERDICT,
        'host_id': {'type': ['string', 'null']},
        'image': {'type': ['string', 'null']},
        'opened_at': parts.TIME,
        'expires_at': parts.TIME,
        'rebuild_at': parts.or_null(parts.TIME),
        'created_at': parts.TIME,
        'updated_at': parts.TIME,
    }
)

LIST: Final = parts.make_query(
    {
        'project_id': parts.PROJECT,
        'state': _STATE,
        'hostname': {
            'type': 'string',
            # No NUL among others: PostgreSQL refuses to compare with it.
            'pattern': '^[!-~]{1,253}(?!\\n)$',
            'description': 'a host name of 1 to 253 ASCII characters',
        },
        'limit': parts.LIMIT,
        'marker': parts.UUID,
    }
)

LISTED: Final = parts.make_page('enrollments', _ENROLLMENT)

SHOWN: Final = parts.make_object({'enrollment': _ENROLLMENT})

RELEASE: Final = parts.make_object(
    {
        'reason': {
            'type': 'string',
            'minLength': 1,
            'maxLength': 255,
            'pattern': '^[^\\x00-\\x1f\\x7f]+(?!\\n)$',
            'description': (
                'text of 1 to 255 characters without control characters'
            ),
        }
    }
)
