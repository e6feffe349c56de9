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
"""The injector ``vendordata``: nova's dynamic vendordata carries it."""

import base64
from collections.abc import Mapping

from novajoin import models
from novajoin import secret
from novajoin.injectors import base


class VendordataInjector(base.Injector, base.VendordataRenderer):
    """Answer nova's call; the metadata service or a config drive delivers."""

    direction = base.Direction.ONE_WAY

    def validate(self) -> None:
        """Accept: there is nothing to set."""

    def check(self) -> None:
        """Accept: the carrier is nova's call itself."""

    def render(
        self,
        hostname: str,
        attributes: Mapping[str, str | secret.Secret],
        payload: models.Payload,
    ) -> dict[str, object]:
        answer: dict[str, object] = {'hostname': hostname}
        for name, value in attributes.items():
            answer[name] = (
                value.reveal() if isinstance(value, secret.Secret) else value
            )
        answer['bootstrap'] = {
            'v': 1,
            'payload': base64.b64encode(payload.document).decode('ascii'),
            'sha256': payload.sha256,
        }
        return answer
