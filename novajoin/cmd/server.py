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
"""``novajoin-server``: the control plane that nova and operators talk to."""

from collections.abc import Callable
import os
import ssl
import sys

from oslo_config import cfg
from oslo_middleware import http_proxy_to_wsgi

from novajoin import context
from novajoin import exceptions
from novajoin import policy
from novajoin.api import app
from novajoin.api import errors
from novajoin.api import health
from novajoin.api import services
from novajoin.cmd import assembly as parts
from novajoin.cmd import configuration
from novajoin.cmd import reports
from novajoin.conf import api as conf_api
from novajoin.keys import repository
from novajoin.wsgi import certificate
from novajoin.wsgi import server

_DESCRIPTION = (
    "Answer nova's dynamic vendordata posts, and serve the REST API for "
    'operators.'
)


def validate(conf: cfg.ConfigOpts) -> None:
    """Load everything once, so that a bad setting stops the process.

    :raises ConfigurationError: with the option at fault
    """
    conf_api.validate(conf)
    if conf.api.auth_strategy == 'keystone':
        app.validate(conf)
    assembly = parts.Assembly(conf)
    policy.Policy(conf).load()
    assembly.admission  # noqa: B018 loads all that answers nova


def build(assembly: parts.Assembly) -> errors.Application:
    """Return the control plane's WSGI application."""
    conf = assembly.conf
    rules = policy.Policy(conf)
    rules.load()
    conf.register_opts(http_proxy_to_wsgi.OPTS, group='oslo_middleware')
    return app.build(
        services.Services(
            admission=assembly.admission,
            operations=assembly.operations,
            policy=rules,
            find_allow_list=assembly.get_allow_list,
            checks=_make_checks(assembly),
        ),
        services.Settings(
            conf=conf,
            is_noauth=conf.api.auth_strategy == 'noauth',
            vendordata_user_ids=frozenset(conf.api.vendordata_user_ids),
            max_body=conf.api.max_body,
            max_page=conf.api.max_page,
            has_proxy=conf.oslo_middleware.enable_proxy_headers_parsing,
        ),
    )


def _make_checks(assembly: parts.Assembly) -> dict[str, health.Check]:
    def check_keys() -> None:
        assembly.keys.get_primary(repository.CREDENTIAL)

    # What the outbox makes up for later is not needed. Of the CA the payload
    # holds certificates: this process signs nothing and needs no key.
    return {
        'database': health.Check(assembly.check_database),
        'keys': health.Check(check_keys),
        'ca': health.Check(assembly.ca.get_chain),
        'identity': health.Check(assembly.identity.check, is_needed=False),
        'nova': health.Check(assembly.compute.check, is_needed=False),
        'glance': health.Check(assembly.images.check, is_needed=False),
    }


def _render_fault(fault: server.HttpFault) -> tuple[str, bytes]:
    """Put what is wrong below the application into its shape."""
    body = errors.render(
        fault.status,
        fault.reason,
        fault.fault_name,
        fault.message,
        context.make_request_id(),
    )
    return 'application/json', body


class Service:
    """The server's hooks; the workers' part is made in each of them."""

    def __init__(self, conf: configuration.Options) -> None:
        self._conf = conf
        self._report: reports.Reporter | None = None
        self._context: certificate.Context | None = None
        if conf.api.tls_certificate:
            self._context = certificate.Context(
                conf.api.tls_certificate, conf.api.tls_key
            )

    @property
    def get_context(self) -> Callable[[], ssl.SSLContext] | None:
        """What gives the TLS context, None for plain HTTP."""
        return None if self._context is None else self._get_context

    def _get_context(self) -> ssl.SSLContext:
        assert self._context is not None  # noqa: S101 for the type checker
        return self._context.get()

    def make_application(self) -> errors.Application:
        """Make the application of this worker."""
        assembly = parts.Assembly(self._conf)
        self._report = reports.Reporter(
            assembly, 'server', (repository.CREDENTIAL,)
        )
        self._report.start()
        return build(assembly)

    def stop(self) -> None:
        """End this worker's thread."""
        if self._report is not None:
            self._report.stop()

    def load_settings(self) -> server.Settings:
        """Read the files again and return what the server needs."""
        conf = configuration.read_again(self._conf)
        validate(conf)
        if bool(conf.api.tls_certificate) != (self._context is not None):
            raise exceptions.ConfigurationError(
                '[api] tls_certificate',
                'TLS is not switched on or off without a restart',
            )
        if conf.api.tls_certificate:
            self._context = certificate.Context(
                conf.api.tls_certificate, conf.api.tls_key
            )
        self._conf = conf
        return get_settings(conf)


def get_settings(conf: cfg.ConfigOpts) -> server.Settings:
    """Return how to serve."""
    api = conf.api
    return server.Settings(
        host=api.listen,
        port=api.port,
        processes=api.workers or min(os.cpu_count() or 1, 4),
        threads=api.threads,
        connections=api.connections,
        client_timeout=api.client_timeout,
        request_timeout=api.request_timeout,
        keepalive_timeout=api.keepalive_timeout,
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the service until it is told to stop."""
    conf = configuration.start(arguments, description=_DESCRIPTION)
    try:
        validate(conf)
        parts.Assembly(conf).prepare()
        service = Service(conf)
    except exceptions.NovajoinError as exc:
        sys.exit('novajoin-server: %s' % exc.cause)
    server.Server(
        'novajoin-server',
        get_settings(conf),
        service.make_application,
        tls=service.get_context,
        render_fault=_render_fault,
        load_settings=service.load_settings,
        on_exit=service.stop,
    ).run()


if __name__ == '__main__':
    main()
