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
"""Names: what nova posts becomes a canonical, fully qualified one.

Canonical: lower-case A-labels (RFC 5890) joined by dots, no final dot.
"""

from collections.abc import Callable
from collections.abc import Collection
import dataclasses
import re
from typing import Final

import idna

from novajoin import exceptions

_LABEL = re.compile(r'[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?', re.ASCII)
_INVALID = re.compile(r'[^a-z0-9-]+', re.ASCII)
_LONGEST: Final = 253
#: Longer input is not looked at.
_LONGEST_INPUT: Final = 1024
#: So much of it is quoted in a message.
_LONGEST_SHOWN: Final = 80


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How names are made.

    :ivar domain: canonical; names of instances end in it
    :ivar reserved: canonical names that no instance gets, each with its
        whole subtree: the check-in service's, the identity servers'
    :ivar project_subdomain: put the project's name before the domain
    :ivar normalize_project: turn what a label cannot hold into dashes
    :ivar allowed_zones: further zones, by project id
    """

    domain: str
    reserved: frozenset[str] = frozenset()
    project_subdomain: bool = False
    normalize_project: bool = True
    allowed_zones: Callable[[str], Collection[str]] = lambda project: ()


def _quote(text: str) -> str:
    # A hostile name must not write to the reader's terminal or log.
    shown = ascii(text[:_LONGEST_SHOWN])
    if max(len(text), len(shown) - 2) <= _LONGEST_SHOWN:
        return shown
    return shown[: _LONGEST_SHOWN + 1] + '…'


def _make_label(text: str, subject: str) -> str:
    """Return the canonical form of one label.

    :param subject: how an error begins: what the name is, and all of it
    """
    label = text.lower()
    if not label.isascii():
        try:
            label = idna.encode(label, uts46=True).decode('ascii')
        except (idna.IDNAError, UnicodeError) as exc:
            raise exceptions.InvalidHostname(
                '%s is not a valid internationalised name.' % subject
            ) from exc
    elif label.startswith('xn--'):
        try:
            idna.decode(label)
        except (idna.IDNAError, UnicodeError) as exc:
            raise exceptions.InvalidHostname(
                '%s is not valid punycode.' % subject
            ) from exc
    if _LABEL.fullmatch(label) is None:
        raise exceptions.InvalidHostname(
            '%s has what is not a DNS label: 1 to 63 letters, digits and '
            'dashes, no dash at either end.' % subject
        )
    if label[2:4] == '--' and not label.startswith('xn--'):
        raise exceptions.InvalidHostname(
            '%s has dashes where only punycode has them.' % subject
        )
    return label


def canonicalize(name: str, what: str = 'The name') -> str:
    """Return the canonical form of a fully qualified name.

    :param name: labels and dots, a final dot allowed
    :param what: how an error calls it
    :raises InvalidHostname: it cannot be a DNS name
    """
    subject = '%s %s' % (what, _quote(name))
    if not name or len(name) > _LONGEST_INPUT:
        raise exceptions.InvalidHostname('%s is empty or too long.' % subject)
    text = name.removesuffix('.')
    canonical = '.'.join(
        _make_label(label, subject) for label in text.split('.')
    )
    if len(canonical) > _LONGEST:
        raise exceptions.InvalidHostname(
            '%s is longer than %d characters.' % (subject, _LONGEST)
        )
    return canonical


def normalize_label(text: str) -> str:
    """Turn a project's name into a DNS label.

    Runs of what a label cannot hold become one dash; dashes at the ends are
    dropped; at most 63 characters are kept.

    :raises InvalidHostname: nothing is left
    """
    lowered = text.lower()
    if not lowered.isascii():
        try:
            lowered = idna.encode(lowered, uts46=True).decode('ascii')
        except (idna.IDNAError, UnicodeError):
            lowered = text.lower()
    label = _INVALID.sub('-', lowered).strip('-')[:63].strip('-')
    if label[2:4] == '--':
        # Only valid punycode may have dashes there.
        try:
            return _make_label(label, 'The project name %s' % _quote(text))
        except exceptions.InvalidHostname:
            label = re.sub('-+', '-', label)
    if _LABEL.fullmatch(label) is None:
        raise exceptions.InvalidHostname(
            'Nothing of the project name %s can be in a DNS label.'
            % _quote(text)
        )
    return label


def is_within(name: str, zone: str) -> bool:
    """Whether a canonical name is a zone or below it."""
    return name == zone or name.endswith('.' + zone)


class Naming:
    """Name instances.

    :param settings: how
    :param find_project_name: returns a project's name by its id, or None
        for an unknown one; asked only for ``project_subdomain``
    """

    def __init__(
        self,
        settings: Settings,
        find_project_name: Callable[[str], str | None],
    ) -> None:
        self._settings = settings
        self._find_project_name = find_project_name

    def find_subdomain(self, project: str) -> str | None:
        """Return the project's own subdomain, None where it has none.

        :raises InvalidHostname: the project's name cannot be a label
        """
        if not self._settings.project_subdomain:
            return None
        name = self._find_project_name(project)
        if name is None:
            raise exceptions.InvalidHostname(
                'The project of the instance is not known to keystone.'
            )
        if self._settings.normalize_project:
            label = normalize_label(name)
        else:
            label = _make_label(name, 'The project name %s' % _quote(name))
        return '%s.%s' % (label, self._settings.domain)

    def get_fqdn(self, hostname: str, project: str) -> str:
        """Return the canonical name of an instance.

        :param hostname: as posted: one label, or one label and a zone that
            the project may use
        :param project: project id
        :raises InvalidHostname: with what is wrong
        :raises ForeignZone: the project may not use its zone
        :raises ReservedHostname: no instance may have it
        """
        home = self.find_subdomain(project) or self._settings.domain
        posted = canonicalize(hostname, 'The hostname')
        label, _, zone = posted.partition('.')
        if not zone:
            fqdn = canonicalize('%s.%s' % (label, home), 'The name')
        elif zone == home or zone in self._settings.allowed_zones(project):
            fqdn = posted
        else:
            raise exceptions.ForeignZone(
                'The hostname %s is outside the zones that the project may '
                'use.' % _quote(hostname)
            )
        for reserved in self._settings.reserved:
            if is_within(fqdn, reserved):
                raise exceptions.ReservedHostname(
                    'The hostname %s is reserved: no instance gets %s or a '
                    'name below it.' % (_quote(hostname), reserved)
                )
        return fqdn
