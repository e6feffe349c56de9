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
"""What the sections of the services that novajoin asks have in common."""

from oslo_config import cfg

_SERVICE_TYPE = """
The type under which %s is in keystone's catalog. Change it only when your
catalog names %s differently.
"""

_REGION_NAME = """
The region whose %s is asked. Set it when the catalog has more than one.
"""

_VALID_INTERFACES = """
The kinds of endpoint to use from the catalog, best first. Change it when the
internal endpoint cannot be reached from here.
"""


def make_catalog_options(
    peer: str,
    *,
    service_type: str | None = None,
    region_help: str | None = None,
) -> list[cfg.Opt]:
    """Return the options that find a service in the catalog.

    :param peer: the name of the service, for the help
    :param service_type: its default type; None: the type is not for the
        operator to choose
    :param region_help: the help of ``region_name``, where it has to say more
    """
    options: list[cfg.Opt] = [
        cfg.StrOpt('region_name', help=region_help or _REGION_NAME % peer),
        cfg.ListOpt(
            'valid_interfaces',
            default=['internal', 'public'],
            help=_VALID_INTERFACES,
        ),
    ]
    if service_type is None:
        return options
    return [
        cfg.StrOpt(
            'service_type',
            default=service_type,
            help=_SERVICE_TYPE % (peer, peer),
        ),
        *options,
    ]


def make_waiting_options(
    *, timeout: float, timeout_help: str, retries_help: str | None = None
) -> list[cfg.Opt]:
    """Return the options that say how patient novajoin is.

    :param timeout: the default, in seconds
    :param retries_help: the help of ``connect_retries``; None: there is no
        such option
    """
    options: list[cfg.Opt] = [
        cfg.FloatOpt('timeout', default=timeout, min=0.1, help=timeout_help)
    ]
    if retries_help is not None:
        options.append(
            cfg.IntOpt('connect_retries', default=0, min=0, help=retries_help)
        )
    return options
