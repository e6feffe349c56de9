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
"""Whether an instance asked to be enrolled."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Final

from novajoin import exceptions
from novajoin import models

#: The key in the instance's metadata and among the image's properties.
ENROLL: Final = 'ipa_enroll'

FindProperties = Callable[[str, float], Mapping[str, str] | None]


def is_true(values: Mapping[str, str]) -> bool:
    """Whether metadata or image properties ask for an identity.

    :param values: texts by key; the value is compared without case
    """
    value = values.get(ENROLL)
    return isinstance(value, str) and value.strip().lower() == 'true'


class Decision:
    """Look at the instance's metadata and, where needed, at its image.

    :param find_properties: takes an image id and a timeout in seconds and
        returns the image's properties, None when the image is gone; raises
        ImageUnavailable. Expected to remember its answers.
    """

    def __init__(self, find_properties: FindProperties) -> None:
        self._find_properties = find_properties

    def is_asked(self, post: models.VendordataPost, timeout: float) -> bool:
        """Whether the instance asked to be enrolled.

        :param timeout: seconds left for asking glance
        :raises ImageUnavailable: the metadata does not ask, the image is
            not known and glance does not answer
        """
        if is_true(post.metadata):
            return True
        if not post.image:
            return False
        return is_true(self._get_properties(post.image, timeout))

    def get_os_version(
        self, post: models.VendordataPost, timeout: float
    ) -> str | None:
        """Return ``os_distro`` and ``os_version`` of the image, if set.

        An image service that is away costs the text, not the enrollment.
        """
        if not post.image:
            return None
        try:
            properties = self._get_properties(post.image, timeout)
        except exceptions.ImageUnavailable:
            return None
        parts = [
            properties[key]
            for key in ('os_distro', 'os_version')
            if properties.get(key)
        ]
        return ' '.join(parts) or None

    def _get_properties(self, image: str, timeout: float) -> Mapping[str, str]:
        return self._find_properties(image, timeout) or {}
