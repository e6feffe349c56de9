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
"""``novajoin-notify``: listen to nova, clean up, reconcile."""

import sys

from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import service

from novajoin import exceptions
from novajoin.ca import base as ca_base
from novajoin.cmd import assembly
from novajoin.cmd import configuration
from novajoin.cmd import reports
from novajoin.keys import authorities
from novajoin.keys import repository
from novajoin.notify import worker

LOG = logging.getLogger(__name__)

_DESCRIPTION = (
    'Follow what nova does with instances, do the work of the outbox, publish '
    'CRLs, and sign the certificates of the check-in service.'
)


def make_services(parts: assembly.Assembly) -> worker.Services:
    """Give the worker what it works with.

    :param parts: made in the process that works
    """
    ca = parts.ca
    # All that it works with is loaded here and not at the first row.
    outbox = parts.outbox

    def publish_crl() -> object:
        if isinstance(ca, ca_base.CrlPublisher):
            try:
                return ca.publish_crl(parts.clock())
            finally:
                ca.publish_other_crls(parts.clock())
        return None

    def sign() -> int:
        if isinstance(ca, ca_base.ServiceIssuer):
            return parts.service_certificates.sign_pending(
                ca, parts.checkin_names
            )
        return 0

    return worker.Services(
        database=parts.database,
        clock=parts.clock,
        process=parts.process,
        take_hint=parts.reconciliation.take_hint,
        work_outbox=lambda limit: outbox.work(limit=limit),
        sweep=parts.reconciliation.sweep,
        expire=parts.reconciliation.expire,
        sign_service_certificates=sign,
        list_keys=lambda: reports.list_keys(
            parts,
            (
                repository.CREDENTIAL,
                authorities.INSTANCE,
                authorities.SERVICE,
            ),
        ),
        publish_crl=publish_crl
        if isinstance(ca, ca_base.CrlPublisher)
        else None,
        close=parts.database.close,
    )


def load(conf: cfg.ConfigOpts) -> worker.Worker:
    """Load and validate everything, and open nothing.

    :raises ConfigurationError: a setting is wrong
    :raises Unavailable: what the embedded defaults need cannot be made
    """
    parts = assembly.Assembly(conf)
    subject = worker.Worker(
        conf,
        conf.notify,
        lambda: make_services(assembly.Assembly(conf)),
    )
    # Each of these complains about its own settings; nothing is made before
    # all of them are found right.
    parts.session  # noqa: B018
    parts.naming  # noqa: B018
    make_services(parts)
    parts.prepare()
    return subject


def main() -> None:
    """Run the worker until it is told to stop."""
    conf = configuration.start(description=_DESCRIPTION)
    try:
        subject = load(conf)
    except exceptions.NovajoinError as error:
        sys.exit('novajoin-notify: %s' % error.cause)
    launcher = service.launch(
        conf,
        subject,
        workers=conf.notify.workers,
        # On SIGHUP each worker is replaced by one with the new options.
        restart_method='reload',
    )
    launcher.wait()


if __name__ == '__main__':
    main()
