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
"""NJ8: who asked to be enrolled."""

from unittest import mock

from novajoin import exceptions
from novajoin import models
from novajoin.enrollment import decision
from novajoin.tests import base


def make_post(metadata=None, image=None):
    return models.VendordataPost('i', 'p', image, 'web', metadata or {})


class DecisionTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.find = mock.Mock(spec=lambda image, timeout: None)
        self.find.return_value = None
        self.decision = decision.Decision(self.find)

    def test_metadata(self):
        for value in ('True', 'true', 'TRUE', 'tRuE', ' true '):
            self.assertTrue(
                self.decision.is_asked(make_post({'ipa_enroll': value}), 1)
            )
        self.find.assert_not_called()

    def test_not_asked(self):
        for value in ('False', '', '1', 'yes', 'truetrue', None, True):
            self.assertFalse(
                self.decision.is_asked(make_post({'ipa_enroll': value}), 1)
            )
        self.assertFalse(
            self.decision.is_asked(make_post({'IPA_ENROLL': 'true'}), 1)
        )
        self.find.assert_not_called()

    def test_image(self):
        self.find.return_value = {'ipa_enroll': 'True'}
        self.assertTrue(self.decision.is_asked(make_post(image='x'), 1.5))
        self.find.assert_called_once_with('x', 1.5)

    def test_metadata_does_not_forbid(self):
        """As ever: either of the two is enough."""
        self.find.return_value = {'ipa_enroll': 'True'}
        self.assertTrue(
            self.decision.is_asked(make_post({'ipa_enroll': 'False'}, 'x'), 1)
        )

    def test_image_is_gone(self):
        self.assertFalse(self.decision.is_asked(make_post(image='x'), 1))

    def test_volume(self):
        """Booted from a volume, there is no image to ask about."""
        for image in (None, ''):
            self.assertFalse(self.decision.is_asked(make_post(image=image), 1))
        self.find.assert_not_called()

    def test_glance_is_away(self):
        self.find.side_effect = exceptions.ImageUnavailable
        self.assertRaises(
            exceptions.ImageUnavailable,
            self.decision.is_asked,
            make_post(image='x'),
            1,
        )

    def test_os_version(self):
        """NJ11; an image service that is away costs only the text."""
        for properties, expected in (
            ({'os_distro': 'debian', 'os_version': '13'}, 'debian 13'),
            ({'os_distro': 'debian'}, 'debian'),
            ({'os_version': '13', 'os_distro': ''}, '13'),
            ({}, None),
            (None, None),
        ):
            self.find.return_value = properties
            self.assertEqual(
                expected,
                self.decision.get_os_version(make_post(image='x'), 1),
            )
        self.assertIsNone(self.decision.get_os_version(make_post(), 1))
        self.find.side_effect = exceptions.ImageUnavailable
        self.assertIsNone(
            self.decision.get_os_version(make_post(image='x'), 1)
        )
