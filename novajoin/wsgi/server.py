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
"""Run a WSGI application under gunicorn: worker processes with threads.

Both console scripts that speak HTTP use it. gunicorn accepts, parses and
keeps the processes alive; what is added here is what a service that stands
in a hostile network needs beside that:

* a connection gets a thread only once it has sent its first bytes, must have
  sent a request's head within ``client_timeout`` and must be served within
  ``request_timeout``; no address has more than half of the threads while it
  is still sending. So slow clients cost little, and mostly themselves;
* what is wrong with the HTTP itself is answered in the error shape of the
  application, not in HTML;
* nothing is taken from ``sys.argv``, and no control socket is opened (from
  gunicorn 27 on there is one under ``~/.gunicorn`` unless it is refused);
* SIGHUP with settings that cannot be loaded is logged and changes nothing.

Signals to the master: TERM drains and ends, INT and QUIT end at once, HUP
reads the settings again and replaces the workers one by one.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from concurrent import futures
import contextlib
import dataclasses
import functools
import html
import ipaddress
import logging
import selectors
import socket
import ssl
import threading
import time
from typing import Any

from gunicorn import arbiter
from gunicorn import config
from gunicorn import glogging
from gunicorn import util
import gunicorn.app.base
from gunicorn.http import errors as http_errors
from gunicorn.workers import gthread

from novajoin import exceptions

LOG = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: What a status that the HTTP parser gives is called in an error body.
_REASONS = {
    400: ('bad_request', 'badRequest', 'Bad Request'),
    403: ('forbidden', 'forbidden', 'Forbidden'),
    408: ('request_timeout', 'requestTimeout', 'Request Timeout'),
    414: ('uri_too_long', 'badRequest', 'URI Too Long'),
    417: ('bad_request', 'badRequest', 'Expectation Failed'),
    431: (
        'headers_too_large',
        'overLimit',
        'Request Header Fields Too Large',
    ),
    500: (
        'internal_error',
        'internalServerError',
        'Internal Server Error',
    ),
    501: ('bad_request', 'badRequest', 'Not Implemented'),
}

#: A stopped connection may still be sending: how much of it is read and
#: thrown away, and for how long, so that the client sees the answer.
_LINGER_BYTES = 16 * 1024 * 1024
_LINGER_SECONDS = 2.0

_CLOSED = object()


@dataclasses.dataclass(frozen=True, slots=True)
class HttpFault:
    """An error below the application, which has to be put into words.

    :ivar status: HTTP status
    :ivar reason: stable word for programs, as in :mod:`novajoin.exceptions`
    :ivar fault_name: the word of novajoin 1.3.0's error bodies
    :ivar message: safe to show
    """

    status: int
    reason: str
    fault_name: str
    message: str


#: Puts a fault into words: returns the content type and the body.
FaultRenderer = Callable[[HttpFault], tuple[str, bytes]]


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How to serve. Times are in seconds.

    :ivar host: address to listen on, IPv4 or IPv6
    :ivar port: 0 takes any free one; it is in the log and goes to on_ready
    :ivar processes: worker processes
    :ivar threads: threads of each worker
    :ivar connections: open connections of each worker; more wait in the
        backlog of the socket
    :ivar client_timeout: for the TLS handshake and the head of a request
    :ivar request_timeout: for the rest, from the head to the last byte sent
    :ivar keepalive_timeout: how long an idle connection is kept; 0 closes
        after each answer
    :ivar graceful_timeout: how long requests may take that run at a stop
    :ivar stall_timeout: a worker whose main thread gives no sign of life
        for so long is killed and replaced
    """

    host: str
    port: int
    processes: int = 1
    threads: int = 8
    connections: int = 1000
    backlog: int = 1024
    client_timeout: float = 10.0
    request_timeout: float = 30.0
    keepalive_timeout: int = 15
    graceful_timeout: int = 30
    stall_timeout: int = 60


def format_address(host: str, port: int) -> str:
    """Write host and port as in a URL."""
    return '%s:%d' % ('[%s]' % host if ':' in host else host, port)


def render_html(fault: HttpFault) -> tuple[str, bytes]:
    """Put a fault into HTML; for applications that have no shape of
    their own."""
    body = '<html><body><h1>%d</h1><p>%s</p></body></html>\n' % (
        fault.status,
        html.escape(fault.message),
    )
    return 'text/html; charset=utf-8', body.encode()


class _Logger(glogging.Logger):
    """Let gunicorn's log go where the service's log goes.

    The applications write a line for each request themselves.
    """

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True
        self.access_log.propagate = True

    def reopen_files(self) -> None:
        """Leave files to the handlers of oslo.log, which watch them."""


class _Config(config.Config):
    """gunicorn's settings, with TLS decided by the hook alone.

    gunicorn asks for files. Ours may be a context that is made in memory
    and changed while it serves.
    """

    def __init__(self, has_tls: bool, prog: str) -> None:
        super().__init__(prog=prog)
        self.has_tls = has_tls

    @property
    def is_ssl(self) -> bool:
        return self.has_tls


@functools.lru_cache(maxsize=4096)
def get_origin(host: str) -> str:
    """Return what stands for one client: its address, or its /64 of IPv6.

    :param host: an address as the socket gives it, or anything else
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return host


def _find_origin(conn: Any) -> str:
    client = conn.client  # a socket in the file system has no address
    return get_origin(client[0]) if isinstance(client, tuple) else ''


class Shares:
    """Let nobody have all threads while still sending a request.

    A thread that reads from a slow client can do nothing else. So each
    origin has a share of them; what is above it waits in its own line,
    where it is in nobody's way.

    :param share: threads
    """

    def __init__(self, share: int) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._lines: dict[str, collections.deque[Any]] = {}

    def take(self, origin: str, connection: Any = None) -> bool:
        """Take a thread of the share; a connection waits in line if not.

        :returns: whether there was one
        """
        with self._lock:
            count = self._counts.get(origin, 0)
            if count < self._share:
                self._counts[origin] = count + 1
                return True
            if connection is not None:
                line = self._lines.setdefault(origin, collections.deque())
                line.append(connection)
            return False

    def give_back(self, origin: str) -> Any:
        """Give a thread back.

        :returns: the connection that has it now, or None
        """
        with self._lock:
            line = self._lines.get(origin)
            if line:
                connection = line.popleft()
                if not line:
                    del self._lines[origin]
                return connection
            self._counts[origin] -= 1
            if not self._counts[origin]:
                del self._counts[origin]
            return None


class _Worker(gthread.ThreadWorker):
    """A threaded worker that slow clients cannot fill.

    :ivar _deadlines: until when a thread may work for a connection: (time,
        whether the request is still being read)
    :ivar _readers: the connections that hold a thread of the share of their
        origin
    :ivar _faulty: sockets on which something else than a request came
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server: Server = self.app
        self._deadlines: dict[Any, tuple[float, bool]] = {}
        self._late: set[Any] = set()
        self._next_look = 0.0
        self._shares = Shares(max(self.cfg.threads // 2, 1))
        self._readers: dict[Any, str] = {}
        self._faulty: set[Any] = set()

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection to a thread once it has something to read.

        gunicorn lets a thread wait five seconds for the first byte, so
        that as many silent clients as there are threads stop everybody.
        """
        if not (conn.initialized or conn.data_ready):
            client_timeout = self.server.settings.client_timeout
            conn.timeout = time.monotonic() + client_timeout
            self.pending_conns.append(conn)
            self.poller.register(
                conn.sock,
                selectors.EVENT_READ,
                lambda sock: self.on_pending_socket_readable(conn, sock),
            )
            return
        origin = _find_origin(conn)
        self._readers[conn] = origin
        if self._shares.take(origin, conn):
            super().enqueue_req(conn)

    def _end_reading(self, conn: Any) -> None:
        """Let the next one of this origin have the share; in a thread."""
        origin = self._readers.pop(conn, None)
        if origin is not None:
            following = self._shares.give_back(origin)
            if following is None:
                return
            try:
                super().enqueue_req(following)
            except RuntimeError:  # the worker ends and takes no more
                following.close()

    def handle(self, conn: Any) -> Any:
        """Serve one request of a connection; runs in a thread."""
        self._deadlines[conn] = (
            time.monotonic() + self.server.settings.client_timeout,
            True,
        )
        try:
            result = super().handle(conn)
            if result is not False:
                return result
            self._tell_late(conn)
            self._close(conn)
            return _CLOSED
        finally:
            self._end_reading(conn)
            self._deadlines.pop(conn, None)
            self._late.discard(conn)
            self._faulty.discard(conn.sock)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Run the application for a request whose head is read."""
        self._end_reading(conn)
        self._deadlines[conn] = (
            time.monotonic() + self.server.settings.request_timeout,
            False,
        )
        return super().handle_request(req, conn)

    def _close(self, conn: Any) -> None:
        """Close a connection so that the client sees the answer.

        Where the client may still be sending this takes a while, for which
        the thread counts as one of its origin's share.
        """
        # What was not read is looked for first: to a TLS socket that has said
        # its end, nothing seems to be left.
        is_sending = conn not in self._late and self._is_sending(conn)
        if isinstance(conn.sock, ssl.SSLSocket):
            _say_end(conn.sock)
        if is_sending:
            if conn not in self._readers:
                origin = _find_origin(conn)
                if self._shares.take(origin):
                    self._readers[conn] = origin
            if conn in self._readers:
                _linger(conn.sock)
        conn.close()

    def _is_sending(self, conn: Any) -> bool:
        """Tell whether more may come than was read."""
        return (
            conn.sock in self._faulty
            or conn.parser is None
            or not _is_read(conn.parser)
        )

    def finish_request(self, conn: Any, fs: futures.Future[Any]) -> None:
        """Take a connection back from its thread; in the main thread.

        gunicorn lingers here, where two seconds stop the whole worker; ours
        was closed by its thread.
        """
        is_done = not fs.cancelled() and fs.exception() is None
        if is_done and fs.result() is _CLOSED:
            self.nr_conns -= 1
            return
        super().finish_request(conn, fs)

    def notify(self) -> None:
        """Give a sign of life; the main loop does so at each turn."""
        super().notify()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 0.5
            self._stop_late(now)

    def _stop_late(self, now: float) -> None:
        """End the connections whose time is over.

        The thread that serves one sees the end of its input, or an error
        when it writes. The methods of the plain socket are used: those of a
        TLS socket would change it under the feet of its thread.
        """
        for conn, (deadline, is_reading) in list(self._deadlines.items()):
            if now < deadline:
                continue
            LOG.debug('a client was too slow: %s', conn.client)
            how = socket.SHUT_RDWR
            if is_reading and conn not in self._late:
                # First the reading side, so that it can be told why.
                how = socket.SHUT_RD
                self._late.add(conn)
                self._deadlines[conn] = (now + _LINGER_SECONDS, True)
            try:
                socket.socket.shutdown(conn.sock, how)
            except OSError:
                LOG.debug('and has gone by now')

    def _tell_late(self, conn: Any) -> None:
        """Say why, when the head of a request did not come in time."""
        if conn in self._late and conn.parser is not None:
            self._write_fault(
                conn.sock,
                408,
                'The request was not sent within %g seconds.'
                % self.server.settings.client_timeout,
            )

    def handle_error(
        self, req: Any, client: Any, addr: Any, exc: BaseException
    ) -> None:
        """Answer what is wrong below the application."""
        self._faulty.add(client)
        if isinstance(exc, ssl.SSLError):
            LOG.debug('TLS with %s failed: %s', addr, exc)
            return
        status = _get_status(exc)
        if status >= 500 and status != 501:
            LOG.error('a request failed below the application', exc_info=exc)
            message = exceptions.NovajoinError.default_message
        else:
            # Its text may quote a header with a token.
            name = type(exc).__name__
            LOG.debug('a request from %s is not HTTP: %s', addr, name)
            message = 'The request is not valid HTTP: %s.' % _get_words(exc)
        self._write_fault(client, status, message)

    def _write_fault(self, client: Any, status: int, message: str) -> None:
        reason, fault_name, phrase = _REASONS[status]
        content_type, body = self.server.render_fault(
            HttpFault(status, reason, fault_name, message)
        )
        head = (
            'HTTP/1.1 %d %s\r\nConnection: close\r\nDate: %s\r\n'
            'Content-Type: %s\r\nContent-Length: %d\r\n\r\n'
            % (status, phrase, util.http_date(), content_type, len(body))
        )
        try:
            util.write_nonblock(client, head.encode('latin-1') + body)
        except OSError as error:
            LOG.debug('the answer could not be sent: %s', error)


def _get_status(exc: BaseException) -> int:
    """Return the HTTP status for an exception of the HTTP parser."""
    name = type(exc).__name__
    if name.startswith('InvalidResponseHeader'):
        return 500  # the application's fault
    by_name = {
        'ConfigurationProblem': 500,
        'ExpectationFailed': 417,
        'ForbiddenProxyRequest': 403,
        'LimitRequestHeaders': 431,
        'LimitRequestLine': 414,
        'UnsupportedTransferCoding': 501,
    }
    if name in by_name:
        return by_name[name]
    # The classes for chunks changed their base between 26 and 27.
    if isinstance(exc, http_errors.ParseException) or (
        type(exc).__module__ == http_errors.__name__
    ):
        return 400
    return 500


def _get_words(exc: BaseException) -> str:
    """Say what the parser did not like, without what the client sent."""
    words = {
        'ExpectationFailed': 'the expectation is not supported',
        'LimitRequestHeaders': 'the header fields are too large',
        'LimitRequestLine': 'the request line is too long',
        'UnsupportedTransferCoding': 'the transfer coding is not supported',
        'InvalidRequestLine': 'the request line is malformed',
        'InvalidRequestMethod': 'the method is malformed',
        'InvalidHTTPVersion': 'the version is not supported',
        'InvalidHeader': 'a header field is malformed',
        'InvalidHeaderName': 'the name of a header field is malformed',
        'ObsoleteFolding': 'a header field is folded',
        'InvalidChunkSize': 'a chunk is malformed',
        'ChunkMissingTerminator': 'a chunk is malformed',
        'InvalidChunkExtension': 'a chunk is malformed',
    }
    return words.get(type(exc).__name__, 'it cannot be parsed')


def _is_read(parser: Any) -> bool:
    """Tell whether all that belongs to the request was read."""
    try:
        return bool(parser.finish_body(deadline=time.monotonic() + 0.05))
    except Exception:  # noqa: BLE001 malformed chunks, a client that went
        return False


def _linger(sock: Any) -> None:
    """Let the client read the answer before the connection goes.

    Closing with unread input makes the kernel send a reset, which throws
    away what the client has not read yet (RFC 9112 section 9.6).
    """
    raw = socket.socket
    deadline = time.monotonic() + _LINGER_SECONDS
    left = _LINGER_BYTES
    try:
        raw.shutdown(sock, socket.SHUT_WR)
        while left > 0:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            raw.settimeout(sock, remaining)
            data = raw.recv(sock, 65536)
            if not data:
                return
            left -= len(data)
    except OSError:
        return


def _say_end(sock: ssl.SSLSocket) -> None:
    """Tell a TLS client that nothing follows (RFC 8446 section 6.1).

    Without it, a client cannot tell the end from an attack, and OpenSSL's
    s_client ends with an error. The client's own word is not waited for.
    """
    # There may be no TLS yet, or nobody to hear it.
    with contextlib.suppress(OSError, ValueError):
        sock.setblocking(False)
        sock.unwrap()


class Server(gunicorn.app.base.BaseApplication):
    """One listening address and the processes that serve it.

    Every hook but *load_settings* runs in a worker, after the fork, where
    threads, sockets and database engines may be made.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        factory: Callable[[], Application],
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
        render_fault: FaultRenderer = render_html,
        load_settings: Callable[[], Settings] | None = None,
        on_ready: Callable[[Sequence[str]], None] | None = None,
        on_exit: Callable[[], None] | None = None,
    ) -> None:
        """Make the server; it listens only when it runs.

        :param name: name of the process, for the log and for ``ps``
        :param factory: makes the application; called once in each worker.
            An exception of it ends the whole server with exit code 3.
        :param tls: gives the context for a new connection; called for each
            one, so it should return the same object until something
            changed. None: plain HTTP.
        :param load_settings: reads the settings again on SIGHUP, in the
            master; may raise :exc:`novajoin.exceptions.ConfigurationError`,
            which leaves everything as it is
        :param on_ready: told in the master once it listens: the URLs
        :param on_exit: called in a worker that ends in an orderly way
        """
        self.name = name
        self.settings = settings
        self.factory = factory
        self.tls = tls
        self.render_fault = render_fault
        self.load_settings = load_settings
        self.on_ready = on_ready
        self.on_exit = on_exit
        super().__init__(prog=name)

    def load_default_config(self) -> None:
        """Start from gunicorn's defaults (an override)."""
        self.cfg = _Config(self.tls is not None, self.name)

    def load_config(self) -> None:
        """Say how gunicorn is to serve (an override).

        Everything that gunicorn would take from the environment is set.
        """
        settings = self.settings
        values: dict[str, Any] = {
            'bind': format_address(settings.host, settings.port),
            'backlog': settings.backlog,
            'workers': settings.processes,
            'worker_class': _Worker,
            'threads': settings.threads,
            'worker_connections': settings.connections,
            'keepalive': settings.keepalive_timeout,
            'graceful_timeout': settings.graceful_timeout,
            'timeout': settings.stall_timeout,
            'limit_request_line': 4094,
            'limit_request_fields': 64,
            # A keystone token may be long, an X.509 header is not wanted.
            'limit_request_field_size': 16380,
            # The application decides about proxies.
            'forwarded_allow_ips': '',
            'proxy_allow_ips': '',
            'proc_name': self.name,
            'logger_class': _Logger,
            'when_ready': self._tell_ready,
            'post_worker_init': self._tell_booted,
            'worker_exit': self._tell_exit,
            'do_handshake_on_connect': False,
            'umask': 0o077,
            # Only from gunicorn 25 and 27 on.
            'control_socket_disable': True,
            'http2_cleartext': 'off',
        }
        if self.tls is not None:
            values['ssl_context'] = self._get_context
        for name, value in values.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Application:
        """Make the application; in a worker (an override)."""
        return self.factory()

    def reload(self) -> None:
        """Read the settings again; in the master at SIGHUP (an override)."""
        if self.load_settings is None:
            return
        try:
            self.settings = self.load_settings()
        except exceptions.NovajoinError as error:
            LOG.error(
                'the settings were not taken over: %s; %s goes on with those '
                'that it has',
                error.message,
                self.name,
            )
            return
        super().reload()

    def run(self) -> None:
        """Serve until a signal says stop; ends with :exc:`SystemExit`."""
        arbiter.Arbiter(self).run()

    def _get_context(self, cfg: Any, default: Any) -> ssl.SSLContext:
        if self.tls is None:
            raise TypeError('there is no TLS context')
        return self.tls()

    def _tell_ready(self, server: Any) -> None:
        scheme = 'http' if self.tls is None else 'https'
        urls = [
            '%s://%s' % (scheme, format_address(*listener.getsockname()[:2]))
            for listener in server.LISTENERS
        ]
        LOG.info('%s is listening at %s', self.name, ', '.join(urls))
        if self.on_ready is not None:
            self.on_ready(urls)

    def _tell_booted(self, worker: Any) -> None:
        LOG.info('%s worker %d is ready', self.name, worker.pid)

    def _tell_exit(self, server: Any, worker: Any) -> None:
        # gunicorn calls this in the master too, for workers that are gone.
        if self.on_exit is not None and worker.booted:
            self.on_exit()
