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
"""What is documented is what there is."""

import ast
from importlib import metadata
import json
import pathlib
import re

import jsonschema

import novajoin
from novajoin import policies
from novajoin.api.schemas import allow_list
from novajoin.api.schemas import certificate
from novajoin.api.schemas import enrollment
from novajoin.api.schemas import event
from novajoin.api.schemas import join
from novajoin.api.schemas import version
from novajoin.tests import base

TREE = pathlib.Path(novajoin.__file__).parent.parent

# The samples of the API reference and what the API itself holds them to.
SAMPLES = {
    'allow-list-show': allow_list.SHOWN,
    'certificate-show': certificate.SHOWN,
    'certificates-list': certificate.LISTED,
    'enrollment-release-request': enrollment.RELEASE,
    'enrollment-show': enrollment.SHOWN,
    'enrollments-list': enrollment.LISTED,
    'events-list': event.LISTED,
    'vendordata-request': join.CREATE,
    'vendordata-response': join.CREATED,
    'version': version.SHOWN,
    'versions': version.LISTED,
}


def get_documented_methods():
    """Return (method, path) of all that the API reference describes.

    Names of path variables do not matter.
    """
    directive = re.compile(r'^\.\. rest_method:: (\w+) (\S+)$', re.MULTILINE)
    return {
        (method, anonymize(path))
        for page in (TREE / 'api-ref' / 'source').glob('*.inc')
        for method, path in directive.findall(page.read_text())
    }


def get_named_tests():
    """Return (module, class and method) of what proves the requirements.

    The latter is empty where a whole module is named.
    """
    page = TREE / 'doc' / 'source' / 'reference' / 'requirements.rst'
    return re.findall(
        r'^ +\* ``((?:unit|contract|functional)\.[\w.]+)``'
        r'(?::\s+``([\w.]+)``)?$',
        page.read_text(),
        re.MULTILINE,
    )


def get_tests(path):
    """Return the names of the classes and the tests that a file defines."""
    classes = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    return {''} | {
        name
        for definition in classes
        for name in (
            definition.name,
            *(
                f'{definition.name}.{node.name}'
                for node in definition.body
                if isinstance(node, ast.FunctionDef)
            ),
        )
    }


def anonymize(path):
    """Return a path with ``{}`` in place of each variable."""
    return re.sub(r'\{\w+\}', '{}', path)


class TestDocumentation(base.TestCase):
    def test_every_operation_is_in_the_api_reference(self):
        operations = {
            (operation['method'], anonymize(operation['path']))
            for rule in policies.list_rules()
            for operation in getattr(rule, 'operations', ())
        }
        self.assertEqual(set(), operations - get_documented_methods())

    def test_every_program_has_a_manual_page(self):
        programs = {
            entry_point.name
            for entry_point in metadata.entry_points(group='console_scripts')
            if entry_point.value.startswith('novajoin.')
        }
        pages = (TREE / 'doc' / 'source' / 'cli').glob('novajoin-*.rst')
        self.assertEqual(programs, {page.stem for page in pages})

    def test_samples_fit_the_schemas(self):
        folder = TREE / 'api-ref' / 'source' / 'samples'
        for name, schema in SAMPLES.items():
            sample = json.loads((folder / f'{name}.json').read_text())
            jsonschema.Draft202012Validator(schema).validate(sample)

    def test_tests_that_prove_requirements_exist(self):
        named = get_named_tests()
        self.assertNotEqual([], named)
        folder = pathlib.Path(novajoin.__file__).parent / 'tests'
        missing = []
        for module, test in named:
            path = folder.joinpath(*module.split('.')).with_suffix('.py')
            if not path.exists() or test not in get_tests(path):
                missing.append((module, test))
        self.assertEqual([], missing)
