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
"""What an intermediate may put into certificates (RFC 5280 4.2.1.10).

The names of the check-in service and those of the instances are kept apart
by cryptography, not by care: the service intermediate is permitted the
names in the check-in URLs and nothing else; the instance intermediate is
permitted the zones, without those names and all below them. Otherwise an
instance that gets the check-in service's name would become it.

URIs are left alone: a constraint on them rejects ``urn:uuid:`` too, which
has no host. Permitted dNSNames are without a leading dot, which not every
verifier understands.
"""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
import ipaddress
from typing import Final
from typing import Self

from cryptography import x509

from novajoin import exceptions
from novajoin.ca import csr

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ALL_NETWORKS: Final[tuple[Network, ...]] = (
    ipaddress.IPv4Network('0.0.0.0/0'),
    ipaddress.IPv6Network('::/0'),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Constraints:
    """What the configuration says that certificates may name.

    :ivar zones: all DNS zones in which instances may be named
    :ivar checkin: the host names and IP addresses in the check-in URLs
    """

    zones: frozenset[str]
    checkin: frozenset[str]

    def split_checkin(self) -> tuple[frozenset[Address], frozenset[str]]:
        """Return (addresses, canonical host names) of the check-in URLs."""
        addresses, names = csr.split_names(self.checkin)
        return frozenset(map(ipaddress.ip_address, addresses)), names


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """The name constraints of a CA certificate, ready to be asked.

    A type of name without a permitted subtree is permitted, except where it
    is excluded.
    """

    permitted_dns: tuple[str, ...] = ()
    excluded_dns: tuple[str, ...] = ()
    permitted_ip: tuple[Network, ...] = ()
    excluded_ip: tuple[Network, ...] = ()

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Read them from a CA certificate; none: everything is permitted."""
        try:
            value = certificate.extensions.get_extension_for_class(
                x509.NameConstraints
            ).value
        except x509.ExtensionNotFound:
            return cls()
        permitted = value.permitted_subtrees or []
        excluded = value.excluded_subtrees or []
        return cls(
            permitted_dns=_select_dns(permitted),
            excluded_dns=_select_dns(excluded),
            permitted_ip=_select_ip(permitted),
            excluded_ip=_select_ip(excluded),
        )

    def make_extension(self) -> x509.NameConstraints:
        """Return them as an extension."""
        return x509.NameConstraints(
            permitted_subtrees=_make_subtrees(
                self.permitted_dns, self.permitted_ip
            ),
            excluded_subtrees=_make_subtrees(
                self.excluded_dns, self.excluded_ip
            ),
        )

    def permits_dns(self, name: str) -> bool:
        """Whether a certificate may name a host, in lower case."""
        permitted = not self.permitted_dns or _is_below(
            name, self.permitted_dns
        )
        return permitted and not _is_below(name, self.excluded_dns)

    def permits_ip(self, address: Address) -> bool:
        """Whether a certificate may name an address."""
        permitted = not self.permitted_ip or _is_in(address, self.permitted_ip)
        return permitted and not _is_in(address, self.excluded_ip)


def make_instance_bounds(
    constraints: Constraints, networks: Iterable[Network]
) -> Bounds:
    """Return what a new instance intermediate may name.

    :param networks: those whose addresses it may certify; none: no address
    :raises ConfigurationError: nothing would be left
    """
    addresses, names = constraints.split_checkin()
    permitted = tuple(networks)
    hosts = tuple(ipaddress.ip_network(str(a)) for a in addresses)
    bounds = Bounds(
        permitted_dns=tuple(sorted(constraints.zones)),
        excluded_dns=tuple(sorted(names)),
        permitted_ip=permitted,
        excluded_ip=hosts if permitted else _ALL_NETWORKS,
    )
    check_instance(bounds, constraints)
    return bounds


def make_service_bounds(constraints: Constraints) -> Bounds:
    """Return what a new service intermediate may name.

    A type of name that the check-in URLs do not use is excluded as a whole.
    """
    addresses, names = constraints.split_checkin()
    hosts = tuple(
        ipaddress.ip_network(str(a)) for a in sorted(map(str, addresses))
    )
    return Bounds(
        permitted_dns=tuple(sorted(names)),
        excluded_dns=() if names else ('',),
        permitted_ip=hosts,
        excluded_ip=() if hosts else _ALL_NETWORKS,
    )


def check_instance(bounds: Bounds, constraints: Constraints) -> None:
    """Compare the instance intermediate with the configuration.

    :raises ConfigurationError: a zone is not permitted, or a name of the
        check-in service is
    """
    addresses, names = constraints.split_checkin()
    if not constraints.zones:
        raise exceptions.ConfigurationError(
            '[naming] domain', 'there is no zone in which to name instances.'
        )
    for zone in sorted(constraints.zones):
        if _is_below(zone, names):
            raise exceptions.ConfigurationError(
                '[checkin] urls',
                'the zone %s is a name of the check-in service, or below one: '
                'its instances could pass for the service. Give the service '
                'a name of its own, for instance join.%s.' % (zone, zone),
            )
        if not bounds.permits_dns(zone):
            raise exceptions.ConfigurationError(
                '[naming] domain',
                'the certificate of the instance intermediate does not '
                'permit the zone %s. Run "novajoin-manage keys rotate '
                'ca/instance" to make a new one, or take the zone out.' % zone,
            )
    open_names = [name for name in sorted(names) if bounds.permits_dns(name)]
    open_names += [str(a) for a in addresses if bounds.permits_ip(a)]
    if open_names:
        raise exceptions.ConfigurationError(
            '[checkin] urls',
            'the certificate of the instance intermediate does not exclude '
            '%s: an instance could pass for the check-in service. Run '
            '"novajoin-manage keys rotate ca/instance" to make a new one.'
            % ', '.join(open_names),
        )


def check_service(bounds: Bounds, constraints: Constraints) -> None:
    """Compare the service intermediate with the configuration.

    :raises ConfigurationError: a name of the check-in service is not
        permitted
    """
    addresses, names = constraints.split_checkin()
    closed = [name for name in sorted(names) if not bounds.permits_dns(name)]
    closed += [str(a) for a in addresses if not bounds.permits_ip(a)]
    if closed:
        raise exceptions.ConfigurationError(
            '[checkin] urls',
            'the certificate of the service intermediate does not permit %s. '
            'Run "novajoin-manage keys rotate ca/service" to make a new one.'
            % ', '.join(closed),
        )


def _is_below(name: str, bases: Collection[str]) -> bool:
    return any(
        not base or name == base or name.endswith('.' + base) for base in bases
    )


def _is_in(address: Address, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


def _select_dns(subtrees: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    return tuple(
        name.value for name in subtrees if isinstance(name, x509.DNSName)
    )


def _select_ip(subtrees: Iterable[x509.GeneralName]) -> tuple[Network, ...]:
    return tuple(
        name.value
        for name in subtrees
        if isinstance(name, x509.IPAddress)
        and isinstance(
            name.value, ipaddress.IPv4Network | ipaddress.IPv6Network
        )
    )


def _make_subtrees(
    dns: Iterable[str], networks: Iterable[Network]
) -> list[x509.GeneralName] | None:
    subtrees: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
    subtrees += [x509.IPAddress(network) for network in networks]
    return subtrees or None
