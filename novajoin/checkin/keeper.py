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
"""Gets, renews and reloads the certificate that check-in serves with.

The key is made here and stays here. The request is left in the database,
where ``novajoin-notify``, which holds the key of the service intermediate,
signs it; each renewal has a new key. No process is restarted for it.
"""

from collections.abc import Callable
import dataclasses
import datetime
import random
import threading
import time
from typing import Final
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from oslo_log import log as logging

from novajoin import exceptions
from novajoin import models
from novajoin.checkin import certificate as own_certificate
from novajoin.checkin import files as own_files
from novajoin.checkin import tls

LOG = logging.getLogger(__name__)

#: Seconds between two looks at file, clock and chain; also how soon a jump
#: of the clock or the work of another process is noticed.
_LOOK: Final = 5.0
#: Seconds between two looks at a request that waits, first and later.
_POLL: Final = (0.25, 5.0)
#: An answer usually comes within seconds, or much later.
_SOON: Final = 60.0
_LONGEST_PAUSE: Final = 60.0
#: Seconds between two lines about waiting.
_TELL: Final = 30.0


class Requests(Protocol):
    """Where requests are left and answers are found."""

    def request(self, csr: bytes, host: str) -> str:
        """Leave a request (DER) and return its id."""

    def find(self, request_id: str) -> models.ServiceCertificate | None:
        """Return the request with its answer, if there is one."""

    def is_revoked(self, serial: str) -> bool:
        """Tell whether a certificate that was answered is revoked."""


class Keeper:
    """Sees to it that there is a certificate, and that it is in use.

    Each process has one; :meth:`wait` is for the parent before it listens,
    :meth:`start` for the workers. All waiting is in :meth:`wait` and in the
    thread: :meth:`look` does one step and returns.

    :param files: where key and certificate are
    :param names: what the certificate has to be good for
    :param host: of this machine, for people who look at the requests
    :param requests: where requests are left
    :param get_chain: returns the CA certificates
    :param contexts: gets a context for each new certificate
    :param clock: the present, UTC
    """

    def __init__(
        self,
        files: own_files.Files,
        names: frozenset[str],
        host: str,
        requests: Requests,
        get_chain: Callable[[], models.Chain],
        contexts: tls.Contexts,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._files = files
        self._names = names
        self._host = host
        self._requests = requests
        self._get_chain = get_chain
        self._contexts = contexts
        self._clock = clock
        self._chain: models.Chain | None = None
        self._own: own_certificate.Own | None = None
        self._loaded: tuple[object, ...] | None = None
        self._failures = 0
        self._trouble: str | None = None
        self._asked_at: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is a certificate that has not run out."""
        return self._own is not None and self._clock() < self._own.not_after

    def look(self) -> float:
        """Do what is to be done now; it never waits for the signature.

        Whatever goes wrong is logged, told by :meth:`check` and tried again;
        the certificate in use is used until it runs out.

        :returns: seconds until the next look
        """
        try:
            pause = self._look()
        except exceptions.NovajoinError as error:
            return self._fail(error.message)
        except OSError as error:
            return self._fail(
                '%s: %s' % (error.filename or 'TLS', error.strerror or error)
            )
        if self._trouble is not None:
            LOG.info('the certificate is looked after again')
        self._failures = 0
        self._trouble = None
        return pause

    def wait(self, seconds: float | None = None) -> None:
        """Return once there is a certificate to serve with.

        :param seconds: how long at most; None: for ever
        :raises Unavailable: there is still none
        """
        started = told = time.monotonic()
        while True:
            pause = self.look()
            if self.is_ready:
                return
            now = time.monotonic()
            if seconds is not None and now - started >= seconds:
                raise exceptions.Unavailable(
                    'There is no certificate for %s: %s'
                    % (self._list_names(), self._get_reason())
                )
            if now - told >= _TELL or told == started:
                told = now
                LOG.warning(
                    'not ready: no certificate for %s yet; %s',
                    self._list_names(),
                    self._get_reason(),
                )
            time.sleep(pause)

    def start(self) -> None:
        """Look now, and from now on in a thread of its own."""
        pause = self.look()
        self._thread = threading.Thread(
            target=self._run,
            args=(pause,),
            name='checkin-certificate',
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread of :meth:`start`; idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def check(self) -> str | None:
        """Tell how the certificate is, for ``/healthcheck``.

        :returns: what needs attention, or None
        :raises Unavailable: there is no valid certificate
        """
        own = self._own
        if own is None or not self.is_ready:
            raise exceptions.Unavailable(
                'There is no valid certificate: %s' % self._get_reason()
            )
        if self._clock() < own.not_before:
            return (
                'the certificate is valid from %s on: is the clock right?'
                % own.not_before
            )
        if self._trouble is not None:
            return 'the certificate runs out at %s: %s' % (
                own.not_after,
                self._trouble,
            )
        return None

    def _run(self, pause: float) -> None:
        while not self._stop.wait(pause):
            try:
                pause = self.look()
            except Exception:  # noqa: BLE001 -- the thread has to live on
                LOG.exception('the certificate could not be looked after')
                pause = _LONGEST_PAUSE

    def _fail(self, message: str) -> float:
        if message != self._trouble:
            LOG.warning('the certificate: %s; it is tried again', message)
        self._trouble = message
        pause = min(2.0**self._failures, _LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        # Not security: it keeps processes from asking in step.
        return pause * random.uniform(0.5, 1.0)  # noqa: S311

    def _look(self) -> float:
        chain = self._read_chain()
        self._load(chain)
        if not self._is_due(chain):
            return _LOOK
        with self._files.try_lock() as is_asking:
            if not is_asking:
                return _POLL[0] if not self.is_ready else _LOOK
            # Another process may just have done it.
            self._load(chain)
            if not self._is_due(chain):
                return _LOOK
            return self._ask(chain)

    def _read_chain(self) -> models.Chain:
        try:
            self._chain = self._get_chain()
        except exceptions.Unavailable:
            # What there is is served, whatever else is away.
            if self._chain is None:
                raise
        return self._chain

    def _is_due(self, chain: models.Chain) -> bool:
        own = self._own
        return (
            own is None
            or not self._names <= own.names
            or own.issuer != chain.service.der
            or self._clock() >= own.renew_at
            or self._is_revoked(own)
        )

    def _is_revoked(self, own: own_certificate.Own) -> bool:
        try:
            return self._requests.is_revoked(own.serial)
        except exceptions.Unavailable:
            return False  # It is served as long as nobody says otherwise.

    def _load(self, chain: models.Chain) -> None:
        """Use the certificate of the file, if it is another one."""
        signature = self._files.get_signature()
        if signature is None or (signature, chain) == self._loaded:
            return
        try:
            own = own_certificate.parse(self._files.read_certificate())
            context = tls.make_context(
                self._files.certificate,
                (issuer.der for issuer in chain.issuers),
            )
        except (OSError, ValueError) as error:
            if self._loaded != (signature, None):
                LOG.warning(
                    '%s is not used: %s', self._files.certificate, error
                )
            self._loaded = (signature, None)
            return
        if signature != self._files.get_signature():
            return  # replaced between the two reads: the next look sees it
        self._own = own
        self._contexts.put(context, own.not_after)
        self._loaded = (signature, chain)
        LOG.info(
            'serving %s with a certificate until %s',
            ', '.join(sorted(own.names)),
            own.not_after,
        )

    def _ask(self, chain: models.Chain) -> float:
        """Leave a request, or look for the answer to the one that waits."""
        pending = self._files.find_pending()
        if pending is None or pending.names != tuple(sorted(self._names)):
            pending = self._make_pending()
        if pending.id is None:
            csr = own_certificate.make_csr(pending.key, self._names)
            request_id = self._requests.request(csr, self._host)
            pending = dataclasses.replace(pending, id=request_id)
            self._files.write_pending(pending)
            LOG.info(
                'asked for a certificate for %s, request %s',
                self._list_names(),
                request_id,
            )
            self._asked_at = time.monotonic()
            return _POLL[0]
        answer = self._requests.find(pending.id)
        if answer is None:
            self._files.drop_pending()
            raise exceptions.Unavailable(
                'request %s is no longer in the database' % pending.id
            )
        if answer.refusal is not None:
            self._files.drop_pending()
            raise exceptions.Unavailable(
                'request %s was refused: %s' % (pending.id, answer.refusal)
            )
        if answer.certificate is None:
            return self._get_poll()
        self._take(pending, answer.certificate, chain)
        return _LOOK

    def _make_pending(self) -> own_files.Pending:
        pending = own_files.Pending(
            own_certificate.make_key(), tuple(sorted(self._names)), None
        )
        self._files.write_pending(pending)
        return pending

    def _get_poll(self) -> float:
        """Return seconds: an answer usually comes soon or much later."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        waited = time.monotonic() - self._asked_at
        if waited < _SOON:
            return _POLL[0]
        if waited < 2 * _SOON:
            return _POLL[1]
        # Not an error of ours, and yet somebody has to be told.
        raise exceptions.Unavailable(
            'the request is not signed yet; is novajoin-notify running?'
        )

    def _take(
        self,
        pending: own_files.Pending,
        certificate: bytes,
        chain: models.Chain,
    ) -> None:
        """Put the answer in place, if it is one."""
        try:
            text = pending.key.encode() + b''.join(
                x509.load_der_x509_certificate(der).public_bytes(
                    serialization.Encoding.PEM
                )
                for der in (certificate, chain.service.der)
            )
            own = own_certificate.parse(text)
            if not self._names <= own.names:
                raise ValueError('it lacks a name')
            if self._clock() >= own.renew_at:
                raise ValueError('it is old')
        except ValueError as error:
            self._files.drop_pending()
            raise exceptions.Unavailable(
                'the certificate for request %s is of no use: %s'
                % (pending.id, error)
            ) from None
        self._files.write_certificate(text)
        self._files.drop_pending()
        self._asked_at = None
        self._load(chain)

    def _list_names(self) -> str:
        return ', '.join(sorted(self._names))

    def _get_reason(self) -> str:
        return self._trouble or 'waiting for novajoin-notify to sign it'
