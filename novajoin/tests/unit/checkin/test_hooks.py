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
"""The line in the log, and what an error says."""

import logging

import fixtures

from novajoin import exceptions
from novajoin.checkin import hooks
from novajoin.tests import base
from novajoin.tests.unit.checkin import fakes
from novajoin.wsgi import server


class TestLog(fakes.AppTestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))

    def test_a_line_for_each_request(self):
        self.redemption.redeem.return_value = fakes.Outcome(None)
        self.enroll()
        self.ask('/nowhere')
        lines = self.log.output.splitlines()
        self.assertEqual(2, len(lines), lines)
        self.assertIn(
            "192.0.2.7 POST '%ssimpleenroll' 202" % fakes.EST, lines[0]
        )
        self.assertIn("GET '/nowhere' 404 not_found: ", lines[1])

    def test_no_credentials(self):
        for error in (exceptions.Unauthorized, RuntimeError):
            self.redemption.redeem.side_effect = error
            self.enroll()
            self.enroll(path='/' + fakes.TOKEN[:5])
        basic = fakes.make_basic()
        for secret in (fakes.TOKEN, basic, basic[6:]):
            self.assertNotIn(secret, self.log.output)

    def test_text_of_the_request_makes_no_lines(self):
        self.redemption.redeem.side_effect = exceptions.CsrMismatch(
            'cn',
            'CN is "a\n2026 INFO forged\r\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}b"',
        )
        answer = self.enroll()
        self.assert_error(answer, 400, 'csr_mismatch.cn')
        self.assertIn('forged ?[2J?b', answer.text)
        self.assertEqual(1, len(self.log.output.splitlines()))

    def test_long_text(self):
        self.redemption.redeem.side_effect = exceptions.CsrMismatch(
            'cn', 'x' * 100_000
        )
        self.assertLess(len(self.enroll().text), 1000)
        self.ask('/' + 'x' * 100_000)
        self.assertLess(len(self.log.output), 2000)


class TestRenderFault(base.TestCase):
    def test_three_lines(self):
        fault = server.HttpFault(400, 'bad_request', 'badRequest', 'Not HTTP.')
        content_type, body = hooks.render_fault(fault)
        self.assertTrue(content_type.startswith('text/plain'))
        reason, message, request_id, end = body.decode().split('\n')
        self.assertEqual(
            ('bad_request', 'Not HTTP.', ''), (reason, message, end)
        )
        self.assertRegex(request_id, '^req-')
