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

import base64
import dataclasses

from novajoin import models
from novajoin.tests.unit.api import base

URL = '/v1/certificates/' + base.CERTIFICATE.serial


class TestCertificates(base.ApiTestCase):
    def setUp(self):
        super().setUp()
        self.put_enrollment()
        self.put_certificate()

    def test_show(self):
        certificate = self.app.get(URL).json['certificate']
        pem = certificate.pop('pem').splitlines()
        self.assertEqual('-----BEGIN CERTIFICATE-----', pem[0])
        self.assertEqual('-----END CERTIFICATE-----', pem[-1])
        self.assertEqual({64}, {len(line) for line in pem[1:-2]})
        self.assertEqual(
            base.CERTIFICATE.der, base64.b64decode(''.join(pem[1:-1]))
        )
        self.assertEqual(
            {
                'serial': '5' * 32,
                'instance': base.INSTANCE,
                'epoch': 2,
                'generation': 3,
                'issuer': 'fedcba9876543210',
                'public_key_sha256': '6b' * 32,
                'not_before': '2026-11-21T08:00:00Z',
                'not_after': '2026-12-21T08:00:00Z',
                'created_at': '2026-11-21T08:00:00Z',
                'presented_at': None,
                'superseded_by': None,
                'revoked_at': None,
                'revocation_reason': None,
            },
            certificate,
        )

    def test_list(self):
        other = '6' * 32
        self.put_certificate(
            serial=other, generation=4, public_key_sha256=b'l' * 32
        )
        response = self.app.get('/v1/certificates?limit=1')
        self.assertEqual(
            [base.CERTIFICATE.serial],
            [row['serial'] for row in response.json['certificates']],
        )
        self.assertNotIn('pem', response.text)
        response = self.app.get(response.json['links']['next'])
        self.assertEqual(
            [other], [row['serial'] for row in response.json['certificates']]
        )
        self.assertIsNone(response.json['links']['next'])

    def test_filters(self):
        for query, count in (
            ('instance=' + base.INSTANCE, 1),
            ('instance=' + base.OTHER_INSTANCE, 0),
            ('project_id=' + base.PROJECT, 1),
            ('project_id=' + base.OTHER_PROJECT, 0),
        ):
            response = self.app.get('/v1/certificates?' + query)
            self.assertEqual(count, len(response.json['certificates']), query)

    def test_unknown(self):
        for part in ('6' * 32, 'X', '5' * 41, '-', '5%0A'):
            response = self.app.get('/v1/certificates/' + part, status='*')
            self.assert_error(response, 404, 'not_found')

    def test_revoke(self):
        self.operations.revoke_certificate.return_value = dataclasses.replace(
            base.CERTIFICATE,
            revoked_at=base.NOW,
            revocation_reason=models.RevocationReason.UNSPECIFIED,
        )
        response = self.app.post(URL + '/revoke')
        self.assertEqual(
            'unspecified', response.json['certificate']['revocation_reason']
        )
        self.operations.revoke_certificate.assert_called_once_with(
            base.CERTIFICATE.serial,
            models.Caller(
                response.headers['X-Openstack-Request-Id'], 'noauth', 'noauth'
            ),
        )

    def test_revoke_unknown(self):
        response = self.app.post('/v1/certificates/66/revoke', status='*')
        self.assert_error(response, 404, 'not_found')
        self.operations.revoke_certificate.assert_not_called()
