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
"""``novajoin-checkin``: the service that instances reach."""

from collections.abc import Callable
import datetime
import functools
import logging
import pathlib
import socket
import ssl
import sys

from oslo_config import cfg

from novajoin import exceptions
from novajoin import models
from novajoin.ca import base as ca_base
from novajoin.checkin import app
from novajoin.checkin import files
from novajoin.checkin import hooks
from novajoin.checkin import keeper
from novajoin.checkin import services
from novajoin.checkin import tls
from novajoin.cmd import assembly as parts
from novajoin.cmd import configuration
from novajoin.cmd import reports
from novajoin.keys import authorities
from novajoin.wsgi import server

LOG = logging.getLogger(__name__)


_DESCRIPTION = (
    'Serve instances over TLS: exchange join tokens for certificates, renew '
    'them, and publish CRLs.'
)


def _make_keeper(
    assembly: parts.Assembly, contexts: tls.Contexts
) -> keeper.Keeper:
    directory = assembly.conf.checkin.directory
    own = files.Files(
        pathlib.Path(directory)
        if directory
        else assembly.state_path / 'checkin'
    )
    own.setup()
    return keeper.Keeper(
        own,
        assembly.checkin_names,
        socket.getfqdn(),
        assembly.service_certificates,
        assembly.ca.get_chain,
        contexts,
        assembly.clock,
    )


class _Process:
    """What one worker process works with, made after the fork."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._assembly = parts.Assembly(conf)
        self._contexts = tls.Contexts(self._assembly.clock)
        self._keeper = _make_keeper(self._assembly, self._contexts)
        self._report = reports.Reporter(
            self._assembly, 'checkin', (authorities.INSTANCE,)
        )

    def get_context(self) -> ssl.SSLContext:
        """Return the TLS context for a new connection."""
        return self._contexts.get()

    def start(self) -> app.WsgiApplication:
        """Look after the certificate from now on; return the application."""
        self._keeper.start()
        self._report.start()
        assembly = self._assembly
        return app.build(
            services.Services(
                redemption=assembly.redemption,
                get_chain=assembly.ca.get_chain,
                find_crl=functools.partial(_find_crl, assembly.ca),
                health={
                    'certificate': self._keeper.check,
                    'database': lambda: _check(assembly.check_database),
                    'ca': functools.partial(
                        _check_ca, assembly.ca, assembly.clock
                    ),
                },
            ),
            self._conf.checkin,
        )

    def stop(self) -> None:
        """End the threads."""
        self._report.stop()
        self._keeper.stop()


def _check(check: Callable[[], None]) -> None:
    check()


def _check_ca(
    ca: ca_base.CABackend, clock: Callable[[], datetime.datetime]
) -> str | None:
    ca.check()
    if isinstance(ca, ca_base.CrlPublisher):
        return ' '.join(ca.list_crl_faults(clock())) or None
    return None


def _find_crl(ca: ca_base.CABackend, issuer: str) -> models.Crl | None:
    if isinstance(ca, ca_base.CrlPublisher):
        return ca.find_crl(issuer)
    return None


class _Service:
    """The server's hooks; the workers' part is made in each of them."""

    def __init__(self, conf: configuration.Options) -> None:
        self._conf = conf
        self._process: _Process | None = None

    def make_application(self) -> server.Application:
        """Make the application of this worker."""
        self._process = _Process(self._conf)
        return self._process.start()

    def get_context(self) -> ssl.SSLContext:
        """Return the context of this worker for a new connection."""
        if self._process is None:
            return tls.make_refusal()
        return self._process.get_context()

    def stop(self) -> None:
        """End this worker's threads."""
        if self._process is not None:
            self._process.stop()

    def load_settings(self) -> server.Settings:
        """Read the files again and return what the server needs."""
        conf = configuration.read_again(self._conf)
        validate(conf)
        self._conf = conf
        return get_settings(conf)


def get_settings(conf: cfg.ConfigOpts) -> server.Settings:
    """Return how to serve."""
    checkin = conf.checkin
    return server.Settings(
        host=checkin.listen,
        port=checkin.port,
        processes=checkin.workers,
        threads=checkin.threads,
        connections=checkin.connections,
        client_timeout=checkin.client_timeout,
        request_timeout=checkin.request_timeout,
        keepalive_timeout=checkin.keepalive_timeout,
    )


def validate(conf: cfg.ConfigOpts) -> None:
    """Load everything once, so that a bad setting stops the process.

    :raises ConfigurationError: with the option at fault
    """
    assembly = parts.Assembly(conf)
    assembly.checkin_names  # noqa: B018 loads and validates
    assembly.ca  # noqa: B018 likewise
    assembly.naming  # noqa: B018 likewise


def main(arguments: list[str] | None = None) -> None:
    """Run the service until it is told to stop."""
    conf = configuration.start(arguments, description=_DESCRIPTION)
    try:
        validate(conf)
        assembly = parts.Assembly(conf)
        assembly.prepare()
        waiting = _make_keeper(assembly, tls.Contexts(assembly.clock))
        LOG.info('Waiting for the certificate that novajoin-notify signs.')
        waiting.wait()
        assembly.database.close()
    except exceptions.NovajoinError as exc:
        sys.exit('novajoin-checkin: %s' % exc.cause)
    service = _Service(conf)
    server.Server(
        'novajoin-checkin',
        get_settings(conf),
        service.make_application,
        tls=service.get_context,
        render_fault=hooks.render_fault,
        load_settings=service.load_settings,
        on_exit=service.stop,
    ).run()


if __name__ == '__main__':
    main()
