# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The direction of imports, read from the source and not from memory.

doc/source/contributor/architecture.rst draws the same arrows in words.
"""

import ast
import pathlib
import sys

import testscenarios

import novajoin
from novajoin.tests import base

ROOT = pathlib.Path(novajoin.__file__).parent

VOCABULARY = frozenset({'exceptions', 'models', 'secret', 'version'})
KINDS = frozenset({'bmc', 'ca', 'identity', 'injectors'})
DOMAIN = frozenset({'bootstrap', 'bundles', 'enrollment', 'profiles'})
STORES = frozenset({'clients', 'db', 'keys'})

# Whoever is above a kind of plugin sees its contract and what its drivers
# share, never a driver: those are loaded by name.
CONTRACT = frozenset({'base', 'csr'})

# The top-level name of the importer: the top-level names that it may import.
ARROWS = {
    **dict.fromkeys(VOCABULARY, VOCABULARY),
    'conf': VOCABULARY,
    'policies': VOCABULARY,
    'context': VOCABULARY,
    'policy': VOCABULARY | {'context', 'policies'},
    'keys': VOCABULARY,
    'clients': VOCABULARY,
    'db': VOCABULARY,
    'identity': VOCABULARY | {'clients'},
    'ca': VOCABULARY | {'clients', 'keys'},
    'injectors': VOCABULARY | {'clients'},
    'bmc': VOCABULARY | {'clients'},
    'plugins': VOCABULARY | KINDS,
    'bootstrap': VOCABULARY | KINDS | STORES,
    'bundles': VOCABULARY | KINDS | STORES | {'bootstrap'},
    'profiles': VOCABULARY | KINDS | STORES | {'bootstrap'},
    'enrollment': VOCABULARY | KINDS | STORES | DOMAIN,
    'api': (
        ((VOCABULARY | KINDS | STORES | DOMAIN) - {'db', 'keys'})
        | {'context', 'policies', 'policy'}
    ),
    'checkin': VOCABULARY | KINDS | STORES | DOMAIN,
    'notify': VOCABULARY | KINDS | STORES | DOMAIN,
    'agent': VOCABULARY | KINDS | STORES | DOMAIN,
}
COMPOSITION_ROOTS = frozenset({'cmd', 'wsgi'})

# Libraries that would let HTTP, the message bus or SQL into the domain.
FOREIGN_TO_THE_DOMAIN = frozenset(
    {
        'alembic',
        'glanceclient',
        'gunicorn',
        'http',
        'keystoneauth1',
        'keystonemiddleware',
        'novaclient',
        'oslo_db',
        'oslo_messaging',
        'oslo_service',
        'pecan',
        'requests',
        'socket',
        'sqlalchemy',
        'urllib3',
        'webob',
        'wsgiref',
    }
)


def get_sources(root: pathlib.Path = ROOT):
    """Return (dotted path below the package, file) of each of our modules."""
    sources = []
    for path in sorted(root.rglob('*.py')):
        parts = list(path.relative_to(root).with_suffix('').parts)
        if parts[0] == 'tests' or parts == ['__init__']:
            continue
        if parts[-1] == '__init__':
            parts.pop()
        sources.append(('.'.join(parts), path))
    return sources


def get_imports(tree: ast.AST):
    """Return (line, dotted name) of every absolute import in a module.

    ``from a import b`` gives ``a.b``: b may be a module as well as a name.
    """
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                imports.append((node.lineno, '.' * node.level))
            else:
                imports.extend(
                    (node.lineno, f'{node.module}.{alias.name}')
                    for alias in node.names
                )
    return imports


def find_fault(importer: str, name: str) -> str | None:
    """Say what is wrong with one import, or return None.

    :param importer: dotted path below the package, e.g. ``ca.embedded``.
    :param name: dotted name of what is imported, e.g. ``novajoin.ca.base``.
    """
    if name.startswith('.'):
        return 'relative imports hide the direction'
    source = importer.split('.')
    target = name.split('.')
    if target[0] != 'novajoin':
        return find_library_fault(source[0], target[0])
    if len(target) == 1:
        return None
    top = target[1]
    if source[0] == 'guest':
        return 'what runs in the instance imports nothing of ours'
    if top in ('guest', 'tests'):
        return f'nothing imports {top}'
    if top == source[0] or source[0] in COMPOSITION_ROOTS:
        return None
    if top not in ARROWS[source[0]]:
        return f'{source[0]} is not above {top}'
    if top in KINDS and target[2:3] and target[2] not in CONTRACT:
        return f'only base and csr of {top} are seen from outside it'
    return None


def find_library_fault(source: str, library: str) -> str | None:
    """Say what is wrong with importing a library, or return None."""
    if source in DOMAIN and library in FOREIGN_TO_THE_DOMAIN:
        return f'the domain does not know {library}'
    if source in VOCABULARY | {'guest'} and (
        library not in sys.stdlib_module_names
    ):
        return f'{source} needs nothing but the standard library'
    return None


class TestLayers(base.TestCase):
    def test_every_package_has_a_layer(self):
        known = ARROWS.keys() | COMPOSITION_ROOTS | {'guest'}
        tops = {name.split('.')[0] for name, _ in get_sources()}
        self.assertEqual(set(), tops - known)

    def test_imports_point_downwards(self):
        faults = []
        for name, path in get_sources():
            for line, target in get_imports(ast.parse(path.read_text())):
                fault = find_fault(name, target)
                if fault:
                    faults.append(f'{path}:{line}: {target}: {fault}')
        self.assertEqual([], faults)

    def test_only_composition_roots_touch_the_global_configuration(self):
        faults = [
            f'{path}:{node.lineno}'
            for name, path in get_sources()
            if name.split('.')[0] not in COMPOSITION_ROOTS
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
            and node.attr == 'CONF'
            and isinstance(node.value, ast.Name)
            and node.value.id == 'cfg'
        ]
        self.assertEqual([], faults)


class TestFindFault(testscenarios.WithScenarios, base.TestCase):
    """The rules themselves, also for packages that come later."""

    scenarios = [
        (
            f'{importer} imports {name}',
            {
                'importer': importer,
                'name': name,
                'allowed': allowed,
            },
        )
        for importer, name, allowed in (
            ('cmd.server', 'novajoin.api.app', True),
            ('wsgi.api', 'novajoin.conf', True),
            ('wsgi.api', 'novajoin.guest.client', False),
            ('api.app', 'novajoin.enrollment.lifecycle', True),
            ('api.app', 'novajoin.models.Enrollment', True),
            ('api.app', 'novajoin.checkin.app', False),
            ('api.app', 'novajoin.keys.repository', False),
            ('api.app', 'novajoin.db.enrollments', False),
            ('checkin.est', 'novajoin.policies.base', False),
            ('checkin.est', 'novajoin.keys.repository', True),
            ('agent.worker', 'novajoin.bmc.base', True),
            ('agent.worker', 'novajoin.bmc.redfish', False),
            ('enrollment.lifecycle', 'novajoin.ca.csr', True),
            ('enrollment.lifecycle', 'novajoin.ca.embedded', False),
            ('enrollment.lifecycle', 'novajoin.api.app', False),
            ('enrollment.lifecycle', 'novajoin.conf', False),
            ('enrollment.lifecycle', 'sqlalchemy.orm', False),
            ('bootstrap.payload', 'novajoin.enrollment.naming', False),
            ('bootstrap.payload', 'rfc8785', True),
            ('ca.embedded', 'novajoin.ca.base', True),
            ('ca.embedded', 'novajoin.db.certificates', False),
            ('identity.ipa', 'novajoin.ca.base', False),
            ('identity.ipa', 'novajoin.clients.ipa', True),
            ('db.tables', 'novajoin.enrollment.lifecycle', False),
            ('keys.repository', 'novajoin.db.tables', False),
            ('keys.repository', 'novajoin.secret', True),
            ('models', 'cryptography.x509', False),
            ('models', 'dataclasses', True),
            ('guest.node', 'novajoin.models', False),
            ('guest.node', 'requests', False),
            ('profiles.node', '..', False),
        )
    ]

    def test_find_fault(self):
        fault = find_fault(self.importer, self.name)
        self.assertEqual(self.allowed, fault is None, fault)
