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
"""The object graph, the same for every process: each takes what it needs.

Nothing here opens a connection or starts a thread before it is used, but
for the thread pool of admissions; an assembly is made in the process that
uses it, after the fork.
"""

from collections.abc import Callable
import dataclasses
import datetime
import functools
import os
import pathlib
import socket
import threading
from typing import Final
import uuid

import cachetools
from keystoneauth1 import session as ksa_session
from oslo_config import cfg
from oslo_log import log as logging

from novajoin import context
from novajoin import exceptions
from novajoin import models
from novajoin import plugins
from novajoin.ca import base as ca_base
from novajoin.ca import constraints
from novajoin.ca import embedded as ca_embedded
from novajoin.checkin import certificate
from novajoin.clients import base as clients_base
from novajoin.clients import glance
from novajoin.clients import image_cache
from novajoin.clients import keystone
from novajoin.clients import nova
from novajoin.clients import null
from novajoin.cmd import configuration
from novajoin.conf import project as conf_project
from novajoin.conf import state
from novajoin.db import engine
from novajoin.db import migration
from novajoin.db import processes
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
from novajoin.enrollment import service_certificates
from novajoin.identity import base as identity_base
from novajoin.injectors import base as injectors_base
from novajoin.keys import repository

LOG = logging.getLogger(__name__)

_CREDENTIALS: Final = 'service_credentials'
#: Seconds for which the name of a project is remembered.
_PROJECT_TTL: Final = 300.0


def get_now() -> datetime.datetime:
    """Return the present, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


def _canonicalize(option: str, name: str) -> str:
    """Return a DNS name of the configuration in canonical form.

    :raises ConfigurationError: it is not one
    """
    try:
        return naming.canonicalize(name)
    except exceptions.InvalidHostname as exc:
        raise exceptions.ConfigurationError(option, exc.message) from exc


def _check_place(option: str, directory: pathlib.Path) -> None:
    """Refuse a place where there cannot be a directory.

    :raises ConfigurationError: something else is there, or on the way
    """
    for place in (directory, *directory.parents):
        try:
            is_wrong = place.exists() and not place.is_dir()
        except OSError:
            continue  # May not be looked at: who uses it says why.
        if is_wrong:
            raise exceptions.ConfigurationError(
                option, '%s is not a directory' % place
            )


class Assembly:
    """Build the parts of a process, each once and when it is asked for.

    :param conf: all options, read
    :param clock: returns the present, in UTC
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        clock: Callable[[], datetime.datetime] = get_now,
    ) -> None:
        self.conf = conf
        self.clock = clock
        #: The id of this process, for leases and reports.
        self.process = '%s:%d:%s' % (
            socket.gethostname()[:24],
            os.getpid(),
            uuid.uuid4().hex[:8],
        )

    # What everything stands on.

    @functools.cached_property
    def state_path(self) -> pathlib.Path:
        """The state directory.

        :raises ConfigurationError: a file is in its place
        """
        path = state.get_state_path(self.conf)
        _check_place('[DEFAULT] state_path', path)
        return path

    @functools.cached_property
    def database(self) -> engine.Database:
        """The database; opened at first use.

        :raises ConfigurationError: its URL is wrong
        """
        option = '[database] connection'
        if not self.conf.database.connection:
            option = '[DEFAULT] state_path'
        url = state.get_database_url(self.conf)
        engine.validate_url(url)
        database = engine.Database(url, **state.get_engine_options(self.conf))
        if database.path is not None:
            _check_place(option, database.path.parent)
        return database

    @functools.cached_property
    def keys(self) -> repository.Repository:
        """The key repository.

        :raises ConfigurationError: a file is in its place
        """
        directory = self.conf['keys'].directory
        if not directory:
            return repository.Repository(self.state_path / 'keys')
        _check_place('[keys] directory', pathlib.Path(directory))
        return repository.Repository(pathlib.Path(directory))

    def check_database(self) -> None:
        """Ask the database for nothing; after a failed write, write.

        Reading does not tell that a disk is full. A process writes by itself
        (:mod:`novajoin.cmd.reports`), so that it gets to know this without
        a write for each who asks.

        :raises DatabaseUnavailable: with what is wrong
        """
        if self.database.has_failed:
            # Before: a write that fails, these too, sets it again. What
            # another write manages does not: it may need no room.
            self.database.has_failed = False
            # Two transactions: what is taken back in the same one may never
            # get to the disk.
            self.database.write(
                lambda tx: processes.fill(tx, self.process, self.clock())
            )
            self.database.write(lambda tx: processes.drop(tx, self.process))
        stores.IdentityStore(self.database).check()

    # Other services.

    @functools.cached_property
    def session(self) -> ksa_session.Session | None:
        """The session for other OpenStack services, None without any.

        :raises ConfigurationError: the credentials are wrong or, with
            ``auth_strategy = keystone``, missing
        """
        auth = keystone.load_auth(self.conf, _CREDENTIALS)
        if auth is not None:
            return keystone.build_session(self.conf, _CREDENTIALS, auth)
        if self.conf.api.auth_strategy == 'keystone':
            raise exceptions.ConfigurationError(
                '[%s] auth_type' % _CREDENTIALS,
                'with auth_strategy = keystone, novajoin must be able to ask '
                'nova; set the account to ask with',
            )
        return None

    @functools.cached_property
    def compute(self) -> clients_base.ComputeClient:
        """Nova, or nobody on the embedded defaults."""
        if self.session is None:
            return null.NullCompute()
        return nova.Nova(self.session, self.conf.nova)

    @functools.cached_property
    def images(self) -> clients_base.ImageClient:
        """Glance, or nobody on the embedded defaults."""
        if self.session is None:
            return null.NullImages()
        return glance.Glance(self.session, self.conf.glance)

    @functools.cached_property
    def image_cache(self) -> image_cache.ImageCache:
        """Glance, remembered by image id."""
        return image_cache.ImageCache(
            self.images,
            size=self.conf.glance.cache_size,
            ttl=self.conf.glance.cache_ttl,
        )

    @functools.cached_property
    def find_project(self) -> Callable[[str], models.Project | None]:
        """Return a project by its id."""
        if self.session is None:
            # Nobody to ask: the id is the name.
            return lambda project: models.Project(
                project, context.DEFAULT_DOMAIN
            )
        client = keystone.Keystone(self.session, self.conf.keystone)
        memory: cachetools.TTLCache[str, models.Project | None]
        memory = cachetools.TTLCache(4096, _PROJECT_TTL)
        cached: Callable[[str], models.Project | None] = cachetools.cached(
            memory, lock=threading.Lock()
        )(client.find_project)
        return cached

    @functools.cached_property
    def find_project_name(self) -> Callable[[str], str | None]:
        """Return the name of a project by its id."""
        find = self.find_project

        def find_name(project: str) -> str | None:
            found = find(project)
            return None if found is None else found.name

        return find_name

    # Plugins.

    @functools.cached_property
    def identity(self) -> identity_base.IdentityBackend:
        """The identity backend, validated."""
        return plugins.load_identity(
            self.conf, stores.IdentityStore(self.database)
        )

    @functools.cached_property
    def ca(self) -> ca_base.CABackend:
        """The CA backend, validated."""
        return plugins.load_ca(
            self.conf,
            ca_embedded.make_store(
                stores.CAStore(self.database), self.keys, self.constraints
            ),
        )

    @functools.cached_property
    def renderer(self) -> injectors_base.VendordataRenderer:
        """The first enabled injector that can answer nova.

        :raises ConfigurationError: there is none
        """
        for injector in plugins.load_injectors(self.conf):
            if isinstance(injector, injectors_base.VendordataRenderer):
                return injector
        raise exceptions.ConfigurationError(
            '[injectors] enabled',
            'none of them can answer nova; add vendordata',
        )

    # Names.

    @functools.cached_property
    def checkin_urls(self) -> tuple[models.CheckinUrl, ...]:
        """The URLs that the payload advertises, the first is tried first.

        :raises ConfigurationError: a URL is not ``https://name[:port]``, or
            there are too many
        """
        urls = self.conf.checkin.urls or [
            'https://%s:%d' % (socket.getfqdn(), self.conf.checkin.port)
        ]
        return tuple(
            models.CheckinUrl(url, priority)
            for priority, url in enumerate(certificate.canonicalize_urls(urls))
        )

    @functools.cached_property
    def checkin_names(self) -> frozenset[str]:
        """The host names and addresses in the check-in URLs.

        :raises ConfigurationError: a URL is not ``https://name[:port]``
        """
        return certificate.get_names([url.url for url in self.checkin_urls])

    @functools.cached_property
    def allow_lists(self) -> dict[str, models.AllowList]:
        """What projects may ask for, by project id.

        :raises ConfigurationError: a section is not of a project, or a zone
            is not a DNS name
        """
        return {
            project: dataclasses.replace(
                allowed,
                zones=tuple(
                    _canonicalize('[project:%s] allowed_zones' % project, zone)
                    for zone in allowed.zones
                ),
            )
            for project, allowed in conf_project.list_projects(
                self.conf
            ).items()
        }

    @functools.cached_property
    def _old_classes(self) -> dict[str, tuple[str, ...]]:
        return conf_project.list_old_classes(self.conf)

    def get_allow_list(self, project: str) -> models.AllowList:
        """Return what a project may ask for; without a section, nothing.

        :param project: project id
        :raises Unavailable: keystone, which has to be asked for its name
            where there are sections of novajoin 1.x, gave no usable answer
        """
        allowed = self.allow_lists.get(project)
        if allowed is not None:
            return allowed
        found = self.find_project(project) if self._old_classes else None
        if found is None or found.domain != context.DEFAULT_DOMAIN:
            return models.AllowList(project)
        return models.AllowList(
            project, classes=self._old_classes.get(found.name, ())
        )

    @functools.cached_property
    def domain(self) -> str:
        """The canonical domain of the instances.

        :raises ConfigurationError: it is not a DNS name
        """
        return _canonicalize('[naming] domain', self.conf.naming.domain)

    @functools.cached_property
    def zones(self) -> frozenset[str]:
        """All zones in which instances may be named."""
        return frozenset(
            {self.domain}.union(
                *(allowed.zones for allowed in self.allow_lists.values())
            )
        )

    @functools.cached_property
    def constraints(self) -> constraints.Constraints:
        """What the embedded CA may name in certificates."""
        return constraints.Constraints(
            zones=self.zones, checkin=self.checkin_names
        )

    @functools.cached_property
    def naming(self) -> naming.Naming:
        """How instances are named."""
        lists = self.allow_lists

        def get_zones(project: str) -> tuple[str, ...]:
            allowed = lists.get(project)
            return () if allowed is None else allowed.zones

        reserved = {
            name.lower().removesuffix('.')
            for name in self.conf.naming.reserved
        }
        return naming.Naming(
            naming.Settings(
                domain=self.domain,
                reserved=frozenset(reserved | self.checkin_names),
                project_subdomain=self.conf.naming.project_subdomain,
                normalize_project=self.conf.naming.normalize_project,
                allowed_zones=get_zones,
            ),
            self.find_project_name,
        )

    # The domain.

    @functools.cached_property
    def generations(self) -> generations.Generations:
        """What new generations begin with."""
        return generations.Generations(
            self.keys,
            self.conf.credential.token_lifetime,
            lambda: self.ca.get_extended_key_usages(),
            self.clock,
        )

    @functools.cached_property
    def inspector(self) -> inspection.Inspector:
        """Who looks at nova."""
        return inspection.Inspector(
            self.compute,
            self.naming,
            self.generations,
            self.clock,
        )

    @functools.cached_property
    def outbox(self) -> outbox.Outbox:
        """Who works the outbox."""
        notify = self.conf.notify
        return outbox.Outbox(
            self.database,
            self.compute,
            self.identity,
            self.ca,
            self.keys,
            self.inspector,
            outbox.Settings(
                process=self.process,
                lease=notify.outbox_lease,
                call_timeout=self.conf.nova.timeout,
                first_delay=notify.outbox_first_delay,
                longest_delay=notify.outbox_longest_delay,
                attempts=notify.outbox_attempts,
            ),
            self.clock,
        )

    @functools.cached_property
    def admission(self) -> admission.Admission:
        """Who answers nova."""
        api = self.conf.api
        return admission.Admission(
            self.database,
            decision.Decision(
                lambda image, timeout: self.image_cache.find_properties(
                    image, timeout=timeout
                )
            ),
            self.naming,
            self.inspector,
            self.identity,
            self.renderer,
            self.generations,
            self.outbox,
            offers.Offers(
                self.database,
                self.keys,
                self.ca,
                self.checkin_urls,
                self.clock,
            ),
            admission.Settings(
                budget=api.budget,
                waiting=api.max_waiting
                if api.max_waiting is not None
                else max(api.threads // 2, 1),
                token_delivery=self.conf.credential.token_delivery,
                get_host_classes=lambda project: (
                    self.get_allow_list(project).classes
                ),
            ),
            self.clock,
        )

    @functools.cached_property
    def operations(self) -> operations.Operations:
        """What operators do."""
        return operations.Operations(
            self.database,
            self.keys,
            self.generations,
            self.clock,
        )

    @functools.cached_property
    def redemption(self) -> redemption.Redemption:
        """Who serves instances."""
        return redemption.Redemption(
            self.database,
            self.ca,
            redemption.Settings(
                certificate_lifetime=self.conf.ca.certificate_lifetime
            ),
            self.clock,
        )

    @functools.cached_property
    def reconciliation(self) -> reconciliation.Reconciliation:
        """Who notices what happened to instances."""
        notify = self.conf.notify
        return reconciliation.Reconciliation(
            self.database,
            self.compute,
            reconciliation.Settings(
                page=notify.sweep_page,
                call_timeout=notify.sweep_timeout,
                most_missing=notify.sweep_most_missing,
                most_missing_share=notify.sweep_most_missing_share,
            ),
            self.clock,
        )

    @functools.cached_property
    def service_certificates(
        self,
    ) -> service_certificates.ServiceCertificates:
        """Certificates of the check-in service itself."""
        return service_certificates.ServiceCertificates(
            self.database, self.clock
        )

    # Start.

    def prepare(self) -> None:
        """Make, on the embedded defaults, what is missing on this machine.

        A database server is never migrated behind the operator's back.

        :raises ConfigurationError: a setting is wrong
        :raises DatabaseUnavailable: the file cannot be written
        """
        if not self.database.is_embedded:
            return
        # Who calls this tells what is wrong, and ends.
        with configuration.hush_database(self.conf):
            migration.sync(self.database)
            # First what may be refused: a database whose keys are elsewhere
            # must not get new ones.
            self.ca.get_chain()
        self.keys.setup(repository.CREDENTIAL)
        self.database.close()
