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
"""Certificates."""

from typing import Final

from novajoin.api.schemas import parts

_MEMBERS: Final[dict[str, parts.Schema]] = {
    'serial': parts.SERIAL,
    'instance': parts.UUID,
    'epoch': {'type': 'integer', 'minimum': 1},
    'generation': {'type': 'integer', 'minimum': 1},
    'issuer': {'type': ['string', 'null']},
    'public_key_sha256': parts.SHA256,
    'not_before': parts.TIME,
    'not_after': parts.TIME,
    'created_at': parts.TIME,
    'presented_at': parts.or_null(parts.TIME),
    'superseded_by': parts.or_null(parts.SERIAL),
    'revoked_at': parts.or_null(parts.TIME),
    'revocation_reason': {'type': ['string', 'null']},
}

LIST: Final = parts.make_query(
    {
        'project_id': parts.PROJECT,
        'instance': parts.UUID,
        'limit': parts.LIMIT,
        'marker': parts.SERIAL,
    }
)

LISTED: Final = parts.make_page('certificates', parts.make_object(_MEMBERS))

SHOWN: Final = parts.make_object(
    {
        'certificate': parts.make_object(
            {**_MEMBERS, 'pem': {'type': ['string', 'null']}}
        )
    }
)
