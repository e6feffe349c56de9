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
"""One loader for all kinds of plugins, on stevedore.

*Exactly one*: the identity and the CA backend. *An ordered list*: the
injectors. Each is named in join.conf; a name without a plugin stops the
process at start. A driver gets the oslo.config group ``[<kind>_<name>]`` as
its settings; one that comes in another package declares its options in a
class attribute ``options`` and they are registered there.
"""

from collections.abc import Sequence
from typing import Any
from typing import Final
from typing import TypeVar

from oslo_config import cfg
from stevedore import extension

from novajoin import exceptions
from novajoin.ca import base as ca_base
from novajoin.identity import base as identity_base
from novajoin.injectors import base as injectors_base

_T = TypeVar('_T')

_IDENTITY: Final = 'novajoin.identity'
_CA: Final = 'novajoin.ca'
_INJECTORS: Final = 'novajoin.injectors'


def _find(
    namespace: str, name: str, contract: type[_T], option: str
) -> type[_T]:
    broken: dict[str, BaseException] = {}

    def keep(manager: Any, entry_point: Any, error: BaseException) -> None:
        # A broken plugin that nobody enabled is let be.
        broken[entry_point.name] = error

    manager: Any = extension.ExtensionManager(
        namespace, invoke_on_load=False, on_load_failure_callback=keep
    )
    if name in broken:
        raise exceptions.ConfigurationError(
            option,
            'the plugin %r in the namespace %s cannot be loaded: %s: %s'
            % (name, namespace, type(broken[name]).__name__, broken[name]),
        )
    if name not in manager:
        raise exceptions.ConfigurationError(
            option,
            'there is no plugin %r in the namespace %s; installed: %s'
            % (name, namespace, ', '.join(sorted(manager.names())) or 'none'),
        )
    plugin = manager[name].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, contract)):
        raise exceptions.ConfigurationError(
            option,
            'the plugin %r is not a %s.%s'
            % (name, contract.__module__, contract.__name__),
        )
    return plugin


def _get_settings(conf: cfg.ConfigOpts, group: str, plugin: Any) -> Any:
    options: Sequence[cfg.Opt] = getattr(plugin, 'options', ())
    # A driver without options has a group all the same.
    conf.register_group(cfg.OptGroup(group))
    conf.register_opts(options, group=group)
    return conf[group]


def load_identity(
    conf: cfg.ConfigOpts, store: Any
) -> identity_base.IdentityBackend:
    """Return the identity backend, validated.

    :param store: what an embedded backend persists with
    :raises ConfigurationError: with the option at fault
    """
    name = conf.identity.backend
    plugin = _find(
        _IDENTITY,
        name,
        identity_base.IdentityBackend,  # type: ignore[type-abstract]
        '[identity] backend',
    )
    backend = plugin(_get_settings(conf, 'identity_%s' % name, plugin), store)
    backend.validate()
    return backend


def load_ca(conf: cfg.ConfigOpts, store: Any) -> ca_base.CABackend:
    """Return the CA backend, validated.

    :param store: what an embedded backend persists with
    :raises ConfigurationError: with the option at fault
    """
    name = conf.ca.backend
    plugin = _find(
        _CA,
        name,
        ca_base.CABackend,  # type: ignore[type-abstract]
        '[ca] backend',
    )
    backend = plugin(_get_settings(conf, 'ca_%s' % name, plugin), store)
    backend.validate()
    return backend


def load_injectors(conf: cfg.ConfigOpts) -> list[injectors_base.Injector]:
    """Return the injectors in their configured order, validated.

    :raises ConfigurationError: with the option at fault
    """
    injectors = []
    for name in conf.injectors.enabled:
        plugin = _find(
            _INJECTORS,
            name,
            injectors_base.Injector,  # type: ignore[type-abstract]
            '[injectors] enabled',
        )
        injector = plugin(_get_settings(conf, 'injector_%s' % name, plugin))
        injector.validate()
        injectors.append(injector)
    return injectors
