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
"""Allow-lists."""

from typing import Final

from novajoin.api.schemas import parts

_TEXTS: Final[parts.Schema] = {'type': 'array', 'items': {'type': 'string'}}

SHOWN: Final = parts.make_object(
    {
        'allow_list': parts.make_object(
            {
                'project_id': parts.PROJECT,
                'allowed_classes': _TEXTS,
                'allowed_services': _TEXTS,
                'allowed_subhosts': _TEXTS,
                'allowed_zones': _TEXTS,
            }
        )
    }
)
