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

"""The samples of the API reference are what the API takes and gives."""

import json
import pathlib

import jsonschema
import testscenarios

import novajoin
from novajoin.api.schemas import allow_list
from novajoin.api.schemas import certificate
from novajoin.api.schemas import enrollment
from novajoin.api.schemas import event
from novajoin.api.schemas import join
from novajoin.api.schemas import version
from novajoin.tests import base

SAMPLES = pathlib.Path(novajoin.__file__).parents[1] / 'api-ref/source/samples'


class TestSamples(testscenarios.WithScenarios, base.TestCase):
    scenarios = [
        (name, {'name': name, 'schema': schema})
        for name, schema in (
            ('allow-list-show', allow_list.SHOWN),
            ('certificate-show', certificate.SHOWN),
            ('certificates-list', certificate.LISTED),
            ('enrollment-release-request', enrollment.RELEASE),
            ('enrollment-show', enrollment.SHOWN),
            ('enrollments-list', enrollment.LISTED),
            ('events-list', event.LISTED),
            ('vendordata-request', join.CREATE),
            ('vendordata-response', join.CREATED),
            ('version', version.SHOWN),
            ('versions', version.LISTED),
        )
    ]

    def test_sample(self):
        sample = json.loads((SAMPLES / f'{self.name}.json').read_text())
        jsonschema.validate(
            sample, self.schema, jsonschema.Draft202012Validator
        )
