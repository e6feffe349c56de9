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
"""What a rotation of the instance intermediate is to instances: nothing."""

from novajoin import models
from novajoin.keys import authorities
from novajoin.tests.contract import ca as contract
from novajoin.tests.unit.enrollment import world


class RotationTestCase(world.TestCase):
    def setUp(self):
        super().setUp()
        self.world = self.make_world(has_real_ca=True)
        self.world.clock.now = contract.get_now()
        self.guest = self.world.enroll('web1')
        self.former = self.world.ca.get_chain()
        self.world.ca.rotate(authorities.INSTANCE)
        self.chain = self.world.ca.get_chain()

    def verify(self, outcome, crls=()):
        return contract.verify(
            self.chain.root.der,
            list(outcome.chain),
            outcome.certificate,
            crls=crls,
            at=self.world.clock(),
        ).stderr

    def test_a_stored_certificate_goes_out_with_its_own_issuer(self):
        again = self.guest.redeem()
        self.assertEqual((self.former.instance.der,), again.chain)
        self.assertEqual('', self.verify(again))

    def test_a_new_certificate_is_of_the_new_one(self):
        outcome = self.world.enroll('web2').redeem()
        self.assertEqual((self.chain.instance.der,), outcome.chain)
        self.assertEqual('', self.verify(outcome))

    def test_a_certificate_of_the_former_one_is_still_revoked(self):
        outcome = self.guest.redeem()
        self.world.nova.change(self.guest.instance, status='DELETED')
        self.world.hint(self.guest.instance)
        self.world.work_on()
        self.assertEqual(
            models.State.CLOSED, self.world.get_state(self.guest.instance)
        )
        crl = self.world.ca.find_crl(self.former.instance.id)
        self.assertIn(
            'certificate revoked', self.verify(outcome, crls=[crl.der])
        )
