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

import dataclasses

from cryptography import x509

from novajoin import exceptions
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


class UsagesTestCase(world.TestCase):
    """EM11: what was handed out is accepted, whatever the settings are now."""

    def setUp(self):
        super().setUp()
        self.world = self.make_world(has_real_ca=True)
        self.world.clock.now = contract.get_now()

    def change(self, *usages):
        """Restart with other usages in join.conf."""
        ca = self.world.ca
        ca.settings._conf.set_override(
            'extended_key_usages', list(usages), 'ca_embedded'
        )
        ca._known_hierarchy = None

    def offer(self, hostname='web1'):
        instance = self.world.start(hostname)
        return world.Guest(self.world, self.world.post(instance, hostname))

    def get_usages(self, outcome):
        certificate = x509.load_der_x509_certificate(outcome.certificate)
        value = certificate.extensions.get_extension_for_class(
            x509.ExtendedKeyUsage
        ).value
        return {usage._name for usage in value}

    def test_one_less(self):
        offered = self.offer()
        enrolled = self.world.enroll('web2')
        self.change('clientAuth')
        for rotates in (False, True):
            if rotates:
                self.world.ca.rotate(authorities.INSTANCE)
            self.world.ca.validate()
            for outcome in (enrolled.renew(), offered.redeem()):
                self.assertIsNotNone(outcome.certificate)
            again = world.Guest(self.world, self.world.post(offered.instance))
            self.assertEqual(offered.payload['csr'], again.payload['csr'])
            enrolled.certificate = enrolled.renew().certificate
        self.assertEqual({'clientAuth'}, self.get_usages(enrolled.renew()))
        self.assertEqual({'clientAuth'}, self.get_usages(offered.redeem()))
        fresh = self.offer('web3')
        self.assertEqual(['clientAuth'], fresh.payload['csr']['eku'])
        self.assertEqual({'clientAuth'}, self.get_usages(fresh.redeem()))

    def test_one_more(self):
        """For what opens from then on; a reissue brings it to the others."""
        offered = self.offer()
        self.change('clientAuth', 'serverAuth', 'ipsecIKE')
        self.assertRaises(
            exceptions.ConfigurationError, self.world.ca.validate
        )
        early = self.offer('web2')
        self.assertEqual(
            {'clientAuth', 'serverAuth'}, self.get_usages(early.redeem())
        )
        self.world.ca.rotate(authorities.INSTANCE)
        self.world.ca.validate()
        self.assertEqual(
            {'clientAuth', 'serverAuth'}, self.get_usages(offered.redeem())
        )
        self.world.operations.reissue(
            offered.instance, world.make_caller('operator')
        )
        self.world.work()
        again = world.Guest(self.world, self.world.post(offered.instance))
        self.assertEqual(
            {'clientAuth', 'serverAuth', 'ipsecIKE'},
            set(again.payload['csr']['eku']),
        )
        self.assertEqual(3, len(self.get_usages(again.redeem())))

    def rotate_to(self, zone):
        ca = self.world.ca
        ca.store = dataclasses.replace(
            ca.store,
            constraints=dataclasses.replace(
                ca.store.constraints, zones=frozenset({zone})
            ),
        )
        ca._known_hierarchy = None
        ca.rotate(authorities.INSTANCE)

    def test_nothing_is_bound_by_a_refusal(self):
        """Neither a token nor a certificate is used up by it."""
        enrolled = self.world.enroll('web2')
        enrolled.send_receipt()
        offered = self.offer()
        self.rotate_to('example.net')
        with self.assert_nothing_written(self.world):
            self.assertRaises(exceptions.IdentityRefused, offered.redeem)
            self.assertRaises(exceptions.IdentityRefused, enrolled.renew)
        self.rotate_to('example.com')
        self.assertIsNotNone(offered.redeem().certificate)
        self.assertIsNotNone(enrolled.renew().certificate)
