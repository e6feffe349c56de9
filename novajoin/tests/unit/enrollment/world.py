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
"""The domain with everything real that fits into a directory.

A SQLite file, a key repository, the embedded identity backend, the embedded
CA. Nova alone is scripted. Any number of worlds, also in several processes,
may stand on one directory: that is how crashes and races are tested.
"""

import base64
import contextlib
import copy
import dataclasses
import datetime
import functools
import hashlib
import json
import pathlib
import tempfile
import threading
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid
import sqlalchemy

from novajoin import exceptions
from novajoin import models
from novajoin.ca import profiles
from novajoin.clients import base as clients_base
from novajoin.clients import null
from novajoin.db import certificates
from novajoin.db import engine
from novajoin.db import enrollments
from novajoin.db import events
from novajoin.db import hosts
from novajoin.db import migration
from novajoin.db import names
from novajoin.db import outbox as outbox_rows
from novajoin.db import stores
from novajoin.enrollment import admission
from novajoin.enrollment import decision
from novajoin.enrollment import generations
from novajoin.enrollment import inspection
from novajoin.enrollment import naming
from novajoin.enrollment import offers
from novajoin.enrollment import operations
from novajoin.enrollment import outbox
from novajoin.enrollment import reconciliation
from novajoin.enrollment import redemption
from novajoin.identity import embedded
from novajoin.injectors import vendordata
from novajoin.keys import repository
from novajoin.tests import base
from novajoin.tests import rows
from novajoin.tests.unit.enrollment import authority

DOMAIN = 'example.com'
PROJECT = '1' * 32
OTHER_PROJECT = '2' * 32
CHECKIN = 'join.example.com'
URLS = (models.CheckinUrl('https://join.example.com:9998', 0),)
LIFETIME = 3600
#: Longer than a lease and the longest back-off of the outbox.
LONG = 400


def make_uuid():
    return str(uuid.uuid4())


def make_caller(name='user'):
    return models.Caller('req-' + make_uuid(), name, PROJECT)


@functools.cache
def _get_template():
    """Return a migrated database file; to copy it is quick."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, 'template.sqlite')
        database = engine.Database('sqlite:///%s' % path)
        migration.sync(database)
        with database.engine.connect() as connection:
            connection.exec_driver_sql('PRAGMA wal_checkpoint(TRUNCATE)')
        database.close()
        return path.read_bytes()


class Nova(clients_base.ComputeClient):
    """A nova that says what the test wrote down.

    :ivar servers: by uuid; one that is not there is a 404
    :ivar rebuilds: the newest one, by uuid
    :ivar is_away: every question is answered by an outage
    :ivar questions: what was asked, as (method, instance)
    :ivar hook: called at every question, with the method's name
    """

    def __init__(self, clock):
        self.clock = clock
        self.servers = {}
        self.rebuilds = {}
        self.is_away = False
        self.questions = []
        self.hook = lambda method: None
        #: Whether soft-deleted servers are on the list, which they are not
        #: in a real nova.
        self.lists_soft_deleted = False

    def add(self, instance, hostname, project=PROJECT, **kwargs):
        kwargs.setdefault('status', 'BUILD')
        kwargs.setdefault('task_state', 'spawning')
        self.servers[instance] = models.Server(
            instance=instance, project=project, hostname=hostname, **kwargs
        )

    def change(self, instance, **kwargs):
        self.servers[instance] = dataclasses.replace(
            self.servers[instance], **kwargs
        )

    def launch(self, instance):
        self.change(
            instance,
            status='ACTIVE',
            task_state=None,
            launched_at=self.clock(),
        )

    def begin_rebuild(self, instance, request_id=None, **kwargs):
        self.rebuilds[instance] = models.Rebuild(
            request_id or 'req-' + make_uuid(), self.clock()
        )
        kwargs.setdefault('task_state', 'rebuild_spawning')
        self.change(instance, status='REBUILD', **kwargs)

    def delete(self, instance):
        del self.servers[instance]

    def _ask(self, method, instance=None):
        self.questions.append((method, instance))
        self.hook(method)
        if self.is_away:
            raise exceptions.ComputeUnavailable

    def check(self):
        self._ask('check')

    def find_server(self, instance, *, timeout):
        self._ask('find_server', instance)
        return self.servers.get(instance)

    def find_rebuild(self, instance, *, timeout):
        self._ask('find_rebuild', instance)
        return self.rebuilds.get(instance)

    def list_servers(self, *, changes_since=None, marker=None, limit, timeout):
        self._ask('list_servers')
        shown = sorted(
            instance
            for instance, server in self.servers.items()
            if self.lists_soft_deleted or server.status != 'SOFT_DELETED'
        )
        later = [i for i in shown if marker is None or i > marker]
        return [self.servers[i] for i in later[:limit]]


class Identity(embedded.EmbeddedIdentity):
    """The embedded backend, with a hand on the line to it.

    :ivar hook: called before every method with its name; may raise
    :ivar after: likewise, after the work was done
    """

    hook = staticmethod(lambda method: None)
    after = staticmethod(lambda method: None)

    def ensure(self, request):
        self.hook('ensure')
        host = super().ensure(request)
        self.after('ensure')
        return host

    def disable(self, host_id):
        self.hook('disable')
        super().disable(host_id)
        self.after('disable')

    def remove(self, host_id):
        self.hook('remove')
        super().remove(host_id)
        self.after('remove')


class World:
    """Everything below the two applications, on one directory.

    :param directory: where it all is; made when it is not there
    :param url: of a database server with an empty or migrated database; by
        default there is a SQLite file in the directory
    :param is_blind: whether there is no nova to ask
    :param has_real_ca: whether the CA is the embedded one; it takes more time
    """

    def __init__(
        self,
        directory,
        *,
        clock=None,
        url=None,
        is_blind=False,
        has_real_ca=False,
        waiting=4,
        budget=10.0,
        token_delivery='any',
        properties=None,
        attempts=1000,
        takes_otp=False,
        host_classes=(),
        naming_settings=None,
        process='test',
    ):
        self.directory = pathlib.Path(directory)
        self.clock = clock or base.Clock()
        self.directory.mkdir(exist_ok=True, mode=0o700)
        self.database = (
            self._open_file()
            if url is None
            else engine.Database(url, mysql_sql_mode='TRADITIONAL')
        )
        self.keys = repository.Repository(self.directory / 'keys')
        self.keys.setup(repository.CREDENTIAL)
        self.nova = null.NullCompute() if is_blind else Nova(self.clock)
        self.identity = Identity(None, stores.IdentityStore(self.database))
        if takes_otp:
            self.identity.takes_otp = True
            self.identity.get_attributes = self._get_attributes
        self.ca = self._make_ca(has_real_ca)
        self.properties = {} if properties is None else properties
        self.naming = naming.Naming(
            naming_settings
            or naming.Settings(DOMAIN, reserved=frozenset({CHECKIN})),
            lambda project: 'project-' + project[0],
        )
        self.decision = decision.Decision(self._find_properties)
        self.generations = generations.Generations(
            self.keys,
            LIFETIME,
            lambda: self.ca.get_extended_key_usages(),
            self.clock,
        )
        self.inspector = inspection.Inspector(
            self.nova, self.naming, self.generations, self.clock
        )
        self.outbox = outbox.Outbox(
            self.database,
            self.nova,
            self.identity,
            self.ca,
            self.keys,
            self.inspector,
            outbox.Settings(process=process, attempts=attempts),
            self.clock,
        )
        self.offers = offers.Offers(
            self.database, self.keys, self.ca, URLS, self.clock
        )
        self.admission = self._make_admission(
            admission.Settings(
                budget=budget,
                waiting=waiting,
                token_delivery=token_delivery,
                get_host_classes=lambda project: (
                    host_classes if project == PROJECT else ()
                ),
            )
        )
        self.operations = operations.Operations(
            self.database, self.keys, self.generations, self.clock
        )
        self.redemption = redemption.Redemption(
            self.database,
            self.ca,
            redemption.Settings(certificate_lifetime=30 * 86400),
            self.clock,
        )
        self.reconciliation = reconciliation.Reconciliation(
            self.database,
            self.nova,
            reconciliation.Settings(page=3),
            self.clock,
        )

    def _make_ca(self, is_real):
        crls = stores.CAStore(self.database)
        if not is_real:
            return authority.Authority(self.directory, crls, self.clock)
        return authority.make_embedded(
            self.directory, crls, self.keys, self.clock
        )

    def _make_admission(self, settings):
        return admission.Admission(
            self.database,
            self.decision,
            self.naming,
            self.inspector,
            self.identity,
            vendordata.VendordataInjector(None),
            self.generations,
            self.outbox,
            self.offers,
            settings,
            self.clock,
        )

    def _open_file(self):
        path = self.directory / 'novajoin.sqlite'
        if not path.exists():
            path.write_bytes(_get_template())
        database = engine.Database('sqlite:///%s' % path)
        # A test may lose its last writes when the machine goes down.
        sqlalchemy.event.listen(
            database.engine,
            'connect',
            lambda dbapi, record: dbapi.execute('PRAGMA synchronous=OFF'),
        )
        return database

    def close(self):
        self.admission._pool.shutdown(wait=False)
        self.database.close()

    def _find_properties(self, image, timeout):
        found = self.properties.get(image)
        if isinstance(found, Exception):
            raise found
        return found

    def _get_attributes(self, hostname, otp):
        return {} if otp is None else {'ipaotp': otp}

    # What happens to it.

    def start(self, hostname='web1', project=PROJECT, **kwargs):
        """Let nova begin to build a server; return its uuid."""
        instance = make_uuid()
        if isinstance(self.nova, Nova):
            self.nova.add(instance, hostname, project, **kwargs)
        return instance

    def make_post(self, instance, hostname='web1', project=PROJECT, **kwargs):
        kwargs.setdefault('metadata', {'ipa_enroll': 'True'})
        kwargs.setdefault('image', None)
        return models.VendordataPost(
            instance=instance, project=project, hostname=hostname, **kwargs
        )

    def post(self, instance, hostname='web1', project=PROJECT, **kwargs):
        return self.admission.answer(
            self.make_post(instance, hostname, project, **kwargs),
            make_caller('nova'),
        )

    def enroll(self, hostname='web1', project=PROJECT):
        """Take an instance all the way; return its guest."""
        instance = self.start(hostname, project)
        guest = Guest(self, self.post(instance, hostname, project))
        if self.get_state(instance) is models.State.PENDING:
            self.work()
        guest.redeem()
        if isinstance(self.nova, Nova):
            self.nova.launch(instance)
        return guest

    def hint(self, instance, kind='delete'):
        return self.reconciliation.take_hint(
            models.Hint(instance, kind, 'instance.%s.end' % kind),
            'req-' + make_uuid(),
        )

    def work(self):
        """Work the outbox until nothing is due; return how many rows."""
        total = 0
        for _ in range(500):
            worked = self.outbox.work(limit=10)
            total += worked
            if not worked:
                return total
        raise AssertionError('the outbox does not come to an end')

    def work_on(self, rounds=8):
        """Work the outbox, and go on whenever its rows are due again."""
        for _ in range(rounds):
            self.work()
            if not self.list_ready():
                return
            self.clock.advance(LONG)
        self.work()

    # What became of it.

    def find(self, instance):
        return self.database.read(lambda tx: enrollments.find(tx, instance))

    def get_state(self, instance):
        return self.find(instance).state

    def list_rows(self, instance):
        return self.database.read(lambda tx: outbox_rows.list_of(tx, instance))

    def list_ready(self):
        return [
            row
            for enrollment in self.list_enrollments()
            for row in self.list_rows(enrollment.instance)
            if row.state is models.RowState.READY
        ]

    def list_enrollments(self):
        return self.database.read(
            lambda tx: enrollments.list_page(tx, limit=10000)
        )

    def list_certificates(self, instance):
        """Return all rows, also those that were never signed."""
        return [
            certificate
            for certificate in self.list_all_certificates()
            if certificate.instance == instance
        ]

    def list_all_certificates(self):
        def read(tx):
            table = certificates._T
            query = table.select().order_by(table.c.created_at)
            return [certificates._to_model(row) for row in tx.execute(query)]

        return self.database.read(read)

    def list_names(self, instance):
        return self.database.read(lambda tx: names.list_of(tx, instance))

    def find_host(self, hostname):
        return self.database.read(lambda tx: hosts.find(tx, hostname))

    def list_hosts(self):
        def read(tx):
            query = hosts._T.select().order_by(hosts._T.c.hostname)
            return [hosts._to_model(row) for row in tx.execute(query)]

        return self.database.read(read)

    def list_events(self, instance=None):
        return self.database.read(
            lambda tx: events.list_page(tx, instance=instance, limit=10000)
        )

    def list_kinds(self, instance=None):
        return [event.kind for event in self.list_events(instance)]

    def dump(self):
        """Return everything that is in the database, to compare it."""
        return rows.dump(self.database)


class Guest:
    """An instance that read its vendordata.

    :param answer: what nova put under ``join``
    """

    def __init__(self, world, answer):
        self.world = world
        self.answer = answer
        raw = base64.b64decode(answer['bootstrap']['payload'])
        assert hashlib.sha256(raw).hexdigest() == answer['bootstrap']['sha256']
        self.payload = json.loads(raw)
        self.instance = self.payload['instance']['uuid']
        self.token = self.payload.get('token')
        self.key = make_key()
        self.certificate = None

    def clone(self):
        """Return one who read the same and has a key of its own."""
        other = copy.copy(self)
        other.key = make_key()
        return other

    def make_csr(self, key=None):
        return make_csr(self.payload['csr'], key or self.key)

    def redeem(self, csr=None):
        """Redeem the token; return the outcome."""
        outcome = self.world.redemption.redeem(
            self.instance,
            self.token,
            self.make_csr() if csr is None else csr,
            'req-' + make_uuid(),
        )
        if outcome.certificate is not None:
            self.certificate = outcome.certificate
        return outcome

    def renew(self, key=None, certificate=None):
        """Renew; does not keep the successor."""
        return self.world.redemption.renew(
            self.certificate if certificate is None else certificate,
            self.make_csr(key),
            'req-' + make_uuid(),
        )

    def send_receipt(self, seq=None, sha256=None, certificate=None):
        self.world.redemption.receive_receipt(
            self.certificate if certificate is None else certificate,
            self.payload['seq'] if seq is None else seq,
            self.answer['bootstrap']['sha256'] if sha256 is None else sha256,
            'req-' + make_uuid(),
        )


def make_key():
    return ec.generate_private_key(ec.SECP256R1())


def make_csr(template, key):
    """Return a CSR, DER, of what the payload says and nothing else."""
    names = [x509.DNSName(name) for name in template['dns']]
    names += [x509.UniformResourceIdentifier(name) for name in template['uri']]
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(oid.NameOID.COMMON_NAME, value)
                    for _, value in template['subject']
                ]
            )
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage(
                profiles.get_extended_key_usages(template['eku'])
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def get_public_key(certificate):
    """Return the SubjectPublicKeyInfo, DER, in a certificate or of a key."""
    key = (
        x509.load_der_x509_certificate(certificate).public_key()
        if isinstance(certificate, bytes)
        else certificate.public_key()
    )
    return key.public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )


def get_serial(certificate):
    return '%x' % x509.load_der_x509_certificate(certificate).serial_number


class TestCase(base.TestCase):
    """A test with a world of its own."""

    def make_world(self, directory=None, **kwargs):
        made = World(directory or self.make_directory(), **kwargs)
        self.addCleanup(made.close)
        return made

    def at_once(self, *functions, timeout=60):
        """Run functions in threads, let go together.

        :returns: for each, what it returned or the exception that it raised
        """
        barrier = threading.Barrier(len(functions))
        results = [None] * len(functions)

        def run(number, function):
            barrier.wait(timeout)
            try:
                results[number] = function()
            except Exception as exc:  # noqa: BLE001 the test looks at it
                results[number] = exc

        threads = [
            threading.Thread(target=run, args=pair, daemon=True)
            for pair in enumerate(functions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout)
            self.assertFalse(thread.is_alive(), 'a thread hangs')
        return results

    @contextlib.contextmanager
    def assert_nothing_written(self, world):
        before = world.dump()
        yield
        self.assertEqual(before, world.dump())


def days(number):
    return datetime.timedelta(days=number)
