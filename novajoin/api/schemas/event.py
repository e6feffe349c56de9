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
"""The audit log."""

from typing import Final

from novajoin.api.schemas import parts

LIST: Final = parts.make_query(
    {
        'project_id': parts.PROJECT,
        'instance': parts.UUID,
        'limit': parts.LIMIT,
        'marker': {
            'type': 'string',
            'pattern': '^[0-9]{1,18}(?!\\n)$',
            'description': 'the id of an event',
        },
    }
)

LISTED: Final = parts.make_page(
    'events',
    parts.make_object(
        {
            'id': {'type': 'integer', 'minimum': 0},
            'at': parts.TIME,
            'kind': {'type': 'string'},
            'instance': {'type': ['string', 'null']},
            'project_id': {'type': ['string', 'null']},
            'request_id': {'type': ['string', 'null']},
            'detail': {'type': 'object'},
        }
    ),
)
