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
"""The servers that the benchmarks put load on.

``python -m benchmarks.served KIND DIRECTORY OPTIONS``; KIND is the name of a
function here, OPTIONS a JSON object of what it takes. All of them serve
through novajoin.wsgi.server with the same settings.
"""

from collections.abc import Callable
from collections.abc import Mapping
import functools
import json
import logging
import pathlib
import sys
import time
from typing import Any

import pecan

from novajoin.clients import base as clients_base
from novajoin.cmd import assembly as parts
from novajoin.cmd import configuration
from novajoin.cmd import server as cmd_server
from novajoin.identity import base as identity_base
from novajoin.wsgi import server

CONF = """\
[DEFAULT]
state_path = {directory}/state
[api]
auth_strategy = noauth
port = 0
{api}
[naming]
domain = example.com
"""


class _Empty:
    """What answers in the empty application."""

    @pecan.expose(generic=True, template='json')
    def index(self) -> dict[str, Any]:
        return {}

    @index.when(method='POST', template='json')
    def post(self, **kwargs: Any) -> dict[str, Any]:
        return {}


class _Root:
    v1 = _Empty()


def empty(
    directory: pathlib.Path, settings: server.Settings
) -> Callable[[], server.Application]:
    """Return a factory for an empty Pecan application."""
    logging.basicConfig(level=logging.INFO)
    return lambda: pecan.make_app(_Root())


class _RememberedImages(clients_base.ImageClient):
    """A glance that answers once for each image and then hangs."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def check(self) -> None:
        """Accept."""

    def find_properties(
        self, image: str, *, timeout: float
    ) -> Mapping[str, str] | None:
        """Answer the first question; anything else hangs."""
        if image in self._known:
            time.sleep(timeout)
        self._known.add(image)
        return {}


class _SlowIdentity:
    """An identity backend that takes its time.

    :param seconds: for each call
    """

    def __init__(
        self, backend: identity_base.IdentityBackend, seconds: float
    ) -> None:
        self._backend = backend
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._backend, name)
        if name not in ('ensure', 'disable', 'remove'):
            return method

        def run(*args: Any, **kwargs: Any) -> Any:
            time.sleep(self._seconds)
            return method(*args, **kwargs)

        return run


class _Assembly(parts.Assembly):
    """The service with peers that are as slow as asked for.

    :cvar identity_seconds: what each call of the identity backend takes
    """

    identity_seconds = 0.0
    has_images = False

    @functools.cached_property
    def images(self) -> clients_base.ImageClient:
        """Glance."""
        if self.has_images:
            return _RememberedImages()
        return super().images

    @functools.cached_property
    def identity(self) -> Any:
        """The identity backend."""
        backend = super().identity
        if self.identity_seconds:
            return _SlowIdentity(backend, self.identity_seconds)
        return backend


def novajoin(
    directory: pathlib.Path,
    settings: server.Settings,
    *,
    identity_seconds: float = 0.0,
    has_images: bool = False,
    api: Mapping[str, Any] | None = None,
) -> Callable[[], server.Application]:
    """Return a factory for the control plane on the embedded defaults.

    :param identity_seconds: what each call of the identity backend takes
    :param has_images: whether there is a glance; it answers once for each
        image and then hangs
    :param api: further options of ``[api]``
    """
    # The cap on waiting requests follows from the number of threads.
    values = {'threads': settings.threads, **(api or {})}
    path = directory / 'join.conf'
    path.write_text(
        CONF.format(
            directory=directory,
            api='\n'.join('%s = %s' % item for item in values.items()),
        )
    )
    conf = configuration.start(['--config-file', str(path)])
    cmd_server.validate(conf)
    parts.Assembly(conf).prepare()
    _Assembly.identity_seconds = identity_seconds
    _Assembly.has_images = has_images
    return lambda: cmd_server.build(_Assembly(conf))


def main() -> None:
    """Serve until told to stop."""
    kind, directory, text = sys.argv[1:]
    options = json.loads(text)
    settings = server.Settings(
        '127.0.0.1',
        0,
        processes=options.pop('processes', 1),
        threads=options.pop('threads', 8),
    )
    factory = {'empty': empty, 'novajoin': novajoin}[kind](
        pathlib.Path(directory), settings, **options
    )
    server.Server('bench-' + kind, settings, factory).run()


if __name__ == '__main__':
    main()
