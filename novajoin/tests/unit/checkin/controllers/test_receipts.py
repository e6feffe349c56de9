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
"""Receipts over the application."""

import json

from novajoin import exceptions
from novajoin.tests.unit.checkin import fakes
from novajoin.tests.unit.checkin import hostile


class TestReceipts(fakes.AppTestCase):
    def setUp(self):
        super().setUp()
        self.peer = self.pki.issue_instance().der

    def send(self, body, peer=None, **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return self.ask(
            '/v1/receipts',
            'POST',
            body=body,
            headers={'Content-Type': 'application/json', **headers},
            peer=self.peer if peer is None else peer,
        )

    def test_taken(self):
        answer = self.send(hostile.RECEIPT)
        self.assertEqual((204, b''), (answer.status_int, answer.body))
        self.redemption.receive_receipt.assert_called_once_with(
            self.peer,
            3,
            hostile.DIGEST,
            answer.headers['X-Openstack-Request-Id'],
        )

    def test_refused_by_the_domain(self):
        for error, status, reason in (
            (exceptions.ReceiptConflict, 409, 'receipt_conflict'),
            (exceptions.CertificateRevoked, 403, 'certificate_revoked'),
            (exceptions.DatabaseUnavailable, 503, 'database_unavailable'),
        ):
            self.redemption.receive_receipt.side_effect = error
            self.assert_error(self.send(hostile.RECEIPT), status, reason)

    def test_without_certificate(self):
        self.assert_error(
            self.send(hostile.RECEIPT, peer=b''), 401, 'unauthorized'
        )
        self.assert_untouched()

    def test_of_the_service(self):
        peer = self.pki.issue_own().der
        answer = self.send(hostile.RECEIPT, peer=peer)
        self.assert_error(answer, 403, 'certificate_revoked')
        self.assert_untouched()

    def test_media_type(self):
        for named in ('text/plain', 'application/pkcs10', ''):
            answer = self.send(hostile.RECEIPT, **{'Content-Type': named})
            self.assert_error(answer, 415, 'unsupported_media_type')
        self.assert_untouched()

    def test_size(self):
        answer = self.send({**hostile.RECEIPT, 'x': 'x' * 2000})
        self.assert_error(answer, 413, 'body_too_large')

    def test_bad_bodies(self):
        for body in hostile.RECEIPTS:
            self.assert_error(self.send(body), 400, 'invalid_body')
        self.assert_untouched()
