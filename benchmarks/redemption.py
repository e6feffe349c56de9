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
"""Redemption over keep-alive HTTPS, durable.

What one redemption costs the check-in process in CPU, beside the sum of what
it cannot do without, measured in the same run on the same machine:

* an empty Pecan application that takes the same POST over the same TLS;
* one transaction of three statements;
* parsing and verifying the request and signing the certificate.

The four are measured in turns. A request is different for each redemption, so
this has a load generator of its own: ``python -m benchmarks.redemption load``.
"""

import argparse
import base64
from collections.abc import Callable
from collections.abc import Iterator
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid
import pecan
import psutil
import sqlalchemy as sa

from benchmarks import harness
from novajoin import models
from novajoin.checkin import tls
from novajoin.cmd import assembly
from novajoin.cmd import configuration
from novajoin.wsgi import server

LIMIT = 1.5
COUNT = 300  # of each kind in a round
MOST = 20_000  # rows of the bare application
WHOLE = 'a redemption over TLS, durable'
TOGETHER = 'the three of them in one request'
RATE = 'redemptions with one worker process'
PATH = '/.well-known/est/simpleenroll'
CONNECTIONS = 4

CONF = """\
[DEFAULT]
state_path = {directory}/state
[api]
auth_strategy = noauth
[naming]
domain = bench.example.com
[checkin]
listen = 127.0.0.1
port = {port}
urls = https://localhost:{port}
workers = 1
rate_limit = 0
"""


def get_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


# The load, in a process of its own.


def send(port: int, ca: str, tasks: list[dict[str, str]]) -> None:
    """Send requests over one connection, one after the other."""
    connection = http.client.HTTPSConnection(
        'localhost', port, context=ssl.create_default_context(cafile=ca)
    )
    for task in tasks:
        connection.request(
            'POST',
            PATH,
            task['csr'],
            {
                'Authorization': task['basic'],
                'Content-Type': 'application/pkcs10',
            },
        )
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 204):
            raise SystemExit('%d: %r' % (answer.status, body))
    connection.close()


def load(port: int, ca: str, path: str) -> None:
    """Send all requests of a file and print how long it took."""
    tasks = json.loads(pathlib.Path(path).read_text())
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [
            pool.submit(send, port, ca, tasks[number::CONNECTIONS])
            for number in range(CONNECTIONS)
        ]:
            done.result()
    print(time.monotonic() - start)


# The bare applications.


class Empty:
    """Takes a POST and says nothing."""

    @pecan.expose(content_type='text/plain')
    def _default(self, *args: str) -> str:
        pecan.request.body  # noqa: B018 reads it, as everybody has to
        return ''


class Together:
    """Takes a POST, writes one transaction, verifies and signs.

    :param bare: does the work
    :param ids: the rows, one for each request
    """

    def __init__(self, bare: 'Bare', ids: list[str]) -> None:
        self._bare = bare
        self._ids = ids
        self._lock = threading.Lock()

    @pecan.expose(content_type='text/plain')
    def _default(self, *args: str) -> str:
        csr = base64.b64decode(pecan.request.body)
        with self._lock:
            self._bare.write(self._ids.pop())
        self._bare.sign(csr)
        return ''


def serve(kind: str, port: int, own: str, ca: str, directory: str) -> None:
    """Serve a bare application with the check-in's TLS.

    :param kind: ``empty`` or ``together``
    """
    context = tls.make_context(
        pathlib.Path(own), [pathlib.Path(ca).read_bytes()]
    )

    def make() -> server.Application:
        root: object = Empty()
        if kind == 'together':
            bare = Bare(pathlib.Path(directory))
            root = Together(bare, bare.fill(MOST))
        return pecan.make_app(  # type: ignore[no-any-return]
            root, force_canonical=False, guess_content_type_from_ext=False
        )

    server.Server(
        kind,
        server.Settings('127.0.0.1', port, processes=1, threads=32),
        make,
        tls=lambda: context,
    ).run()


# The processes.


class Process:
    """A program with one worker, whose CPU time is of interest."""

    def __init__(self, log: pathlib.Path, *command: str) -> None:
        with log.open('w') as stream:
            self._process = subprocess.Popen(
                [sys.executable, '-m', *command],
                stderr=stream,
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
            )
        self._log = log

    def wait_for(self, is_ready: Callable[[], bool]) -> None:
        """Wait until the program serves."""
        end = time.monotonic() + 60
        while not is_ready():
            if time.monotonic() > end or self._process.poll() is not None:
                raise SystemExit(self._log.read_text()[-4000:])
            time.sleep(0.05)

    def get_cpu(self) -> float:
        """Return the CPU seconds of the workers."""
        parent = psutil.Process(self._process.pid)
        return sum(
            sum(child.cpu_times()[:2])
            for child in parent.children(recursive=True)
        )

    def stop(self) -> None:
        """End the program; idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(40)


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    return False


def find_port() -> int:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port: int = sock.getsockname()[1]
        return port


def measure(
    process: Process, port: int, ca: pathlib.Path, tasks: pathlib.Path
) -> tuple[float, float]:
    """Return CPU and wall seconds of a load."""
    before = process.get_cpu()
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'benchmarks.redemption', 'load'),
            *(str(port), str(ca), str(tasks)),
        ],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return process.get_cpu() - before, float(done.stdout)


# What it cannot do without.


class Bare:
    """One transaction of three statements, and one signature.

    They take turns, as in a redemption: what follows a write to the disk
    finds cold caches.

    :param directory: where the database goes
    """

    def __init__(self, directory: pathlib.Path) -> None:
        path = directory / ('bare-%s.sqlite' % uuid.uuid4())
        self._engine = sa.create_engine('sqlite:///%s' % path)
        sa.event.listen(self._engine, 'connect', _make_durable)
        sa.event.listen(
            self._engine,
            'begin',
            lambda connection: connection.exec_driver_sql('BEGIN IMMEDIATE'),
        )
        metadata = sa.MetaData()
        self._rows = sa.Table(
            'bare_rows',
            metadata,
            sa.Column('id', sa.String(36), primary_key=True),
            sa.Column('state', sa.String(16)),
        )
        self._certificates = sa.Table(
            'bare_certificates',
            metadata,
            sa.Column('serial', sa.String(40), primary_key=True),
            sa.Column('der', sa.LargeBinary()),
        )
        metadata.create_all(self._engine)
        self._key = ec.generate_private_key(ec.SECP256R1())

    def measure(self, csrs: list[bytes]) -> dict[str, float]:
        """Return CPU seconds for one of each."""
        ids = self.fill(len(csrs))
        transactions = signatures = 0.0
        for id, csr in zip(ids, csrs, strict=True):
            start = time.process_time()
            self.write(id)
            middle = time.process_time()
            self.sign(csr)
            signatures += time.process_time() - middle
            transactions += middle - start
        self._engine.dispose()
        return {
            'one transaction of three statements': transactions / len(csrs),
            'parse, verify and sign': signatures / len(csrs),
        }

    def fill(self, count: int) -> list[str]:
        """Make rows that can be written; return their ids."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(self._rows),
                [{'id': id, 'state': 'offered'} for id in ids],
            )
        return ids

    def write(self, id: str) -> None:
        """Write one transaction of three statements."""
        rows = self._rows
        with self._engine.begin() as connection:
            connection.execute(sa.select(rows).where(rows.c.id == id)).one()
            connection.execute(
                sa.update(rows)
                .where(rows.c.id == id, rows.c.state == 'offered')
                .values(state='enrolled')
            )
            connection.execute(
                sa.insert(self._certificates),
                {'serial': id, 'der': b'x' * 800},
            )

    def sign(self, der: bytes) -> None:
        """Parse and verify a request, sign a certificate for it."""
        csr = x509.load_der_x509_csr(der)
        if not csr.is_signature_valid:
            raise SystemExit('a signature is wrong')
        now = get_now()
        issuer = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, 'x')])
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (csr.extensions[0].value, False),
            (x509.BasicConstraints(False, None), True),
            (
                x509.ExtendedKeyUsage(
                    [
                        oid.ExtendedKeyUsageOID.CLIENT_AUTH,
                        oid.ExtendedKeyUsageOID.SERVER_AUTH,
                    ]
                ),
                False,
            ),
            (
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._key.public_key()
                ),
                False,
            ),
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(issuer)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for value, is_critical in extensions:
            builder = builder.add_extension(value, critical=is_critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        certificate.public_bytes(serialization.Encoding.DER)


def _make_durable(dbapi: Any, record: object) -> None:
    dbapi.isolation_level = None
    dbapi.execute('PRAGMA journal_mode=WAL')
    dbapi.execute('PRAGMA synchronous=FULL')


# The run.


def make_tasks(
    parts: assembly.Assembly, count: int
) -> tuple[list[dict[str, str]], list[bytes]]:
    """Enroll instances; return what each of them sends."""
    tasks = []
    csrs = []
    for number in range(count):
        instance = str(uuid.uuid4())
        answer = parts.admission.answer(
            models.VendordataPost(
                instance,
                'bench',
                None,
                'vm-%d' % number,
                {'ipa_enroll': 'True'},
            ),
            models.Caller('req-%s' % uuid.uuid4()),
        )
        bootstrap = answer['bootstrap']
        payload = json.loads(base64.b64decode(bootstrap['payload']))  # type: ignore[index]
        csr = make_csr(payload['csr'])
        basic = '%s:%s' % (instance, payload['token'])
        tasks.append(
            {
                'basic': 'Basic ' + base64.b64encode(basic.encode()).decode(),
                'csr': base64.b64encode(csr).decode(),
            }
        )
        csrs.append(csr)
    while parts.outbox.work(limit=100):
        pass
    return tasks, csrs


def make_csr(asked: dict[str, list[str]]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        *(x509.DNSName(name) for name in asked['dns']),
        *(x509.UniformResourceIdentifier(uri) for uri in asked['uri']),
    ]
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(
                        oid.NameOID.COMMON_NAME, asked['subject'][0][1]
                    )
                ]
            )
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


class Bench:
    """The running service, the empty application and the tasks.

    :param directory: for everything
    :param stack: ends what was started
    :param count: how many instances are enrolled
    """

    def __init__(
        self,
        directory: pathlib.Path,
        stack: contextlib.ExitStack,
        count: int,
    ) -> None:
        self._directory = directory
        self._stack = stack
        self._port = find_port()
        conf_path = directory / 'join.conf'
        conf_path.write_text(CONF.format(directory=directory, port=self._port))
        options = ('--config-file', str(conf_path))
        notify = self._start('notify', 'novajoin.cmd.notify', *options)
        self._checkin = self._start(
            'checkin', 'novajoin.cmd.checkin', *options
        )
        self._checkin.wait_for(lambda: is_open(self._port))
        conf = configuration.make_conf()
        configuration.read(conf, options)
        parts = assembly.Assembly(conf)
        self._tasks, self._csrs = make_tasks(parts, count)
        chain = parts.ca.get_chain()
        parts.database.close()
        # It would take some of the CPU that the others are to have.
        notify.stop()
        self._root = directory / 'root.pem'
        self._root.write_text(ssl.DER_cert_to_PEM_cert(chain.root.der))
        client_ca = directory / 'instance.der'
        client_ca.write_bytes(chain.instance.der)
        own = directory / 'state' / 'checkin' / 'certificate.pem'
        paths = (str(own), str(client_ca), str(directory))
        self._bare = {
            kind: self._serve(kind, *paths) for kind in ('empty', 'together')
        }

    def _serve(self, kind: str, *paths: str) -> tuple[Process, int]:
        port = find_port()
        process = self._start(
            kind, 'benchmarks.redemption', 'serve', kind, str(port), *paths
        )
        process.wait_for(lambda: is_open(port))
        return process, port

    def _start(self, name: str, *command: str) -> Process:
        process = Process(self._directory / (name + '.log'), *command)
        self._stack.callback(process.stop)
        return process

    def measure(self, start: int, count: int) -> dict[str, float]:
        """Return CPU seconds for one of each kind, and redemptions/s."""
        tasks = self._directory / 'tasks.json'
        tasks.write_text(json.dumps(self._tasks[start : start + count]))
        cpu: dict[str, float] = {}
        spent, _ = measure(*self._bare['empty'], self._root, tasks)
        cpu['an empty Pecan POST over TLS'] = spent / count
        cpu.update(
            Bare(self._directory).measure(self._csrs[start : start + count])
        )
        spent, _ = measure(*self._bare['together'], self._root, tasks)
        cpu[TOGETHER] = spent / count
        spent, wall = measure(self._checkin, self._port, self._root, tasks)
        return {**cpu, WHOLE: spent / count, RATE: count / wall}


def run(options: argparse.Namespace) -> Iterator[harness.Figure]:
    """Measure in turns; the medians count."""
    with (
        tempfile.TemporaryDirectory(prefix='novajoin-bench-') as name,
        contextlib.ExitStack() as stack,
    ):
        bench = Bench(pathlib.Path(name), stack, COUNT * (options.rounds + 1))
        bench.measure(0, COUNT)  # warms up
        rounds = [
            bench.measure(COUNT * number, COUNT)
            for number in range(1, options.rounds + 1)
        ]
    parts = [
        sum(
            value
            for kind, value in each.items()
            if kind not in (WHOLE, RATE, TOGETHER)
        )
        for each in rounds
    ]
    whole = [each[WHOLE] for each in rounds]
    for kind in rounds[0]:
        middle = statistics.median(each[kind] for each in rounds)
        if kind == RATE:
            yield harness.Figure(kind, middle, '/s')
        else:
            yield harness.Figure(kind, middle * 1000, 'ms of CPU')
    yield harness.Figure(
        'a redemption, in sums of the three measured apart',
        harness.get_median_ratio(whole, parts),
        target=LIMIT,
    )
    yield harness.Figure(
        'a redemption, in requests that do the three',
        harness.get_median_ratio(whole, [each[TOGETHER] for each in rounds]),
    )


if __name__ == '__main__':
    role, *arguments = sys.argv[1:]
    if role == 'load':
        load(int(arguments[0]), *arguments[1:])
    else:
        serve(arguments[0], int(arguments[1]), *arguments[2:])
