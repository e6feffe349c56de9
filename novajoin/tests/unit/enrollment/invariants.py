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
"""What holds at all times, and what holds once all work is done."""

import collections

from novajoin import models
from novajoin.db import payloads

State = models.State

_HOLDING = frozenset({State.OFFERED, State.CLAIMED, State.ENROLLED})
_ONCE = frozenset(
    {
        'enrollment.pending',
        'enrollment.waiting',
        'enrollment.closing',
        'enrollment.closed',
        'enrollment.released',
    }
)


def find_violations(world, *, is_quiet=True):
    """Return what is wrong in a world, as texts; nothing is right.

    :param is_quiet: whether all work is said to be done
    """
    rows = world.list_enrollments()
    found = [
        text
        for row in rows
        for check in (_check_names, _check_certificates, _check_events)
        for text in check(world, row)
    ]
    found += _check_hosts(world, rows, is_quiet)
    if is_quiet:
        found += _check_work(world, rows)
        found += _check_crl(world)
    return found


def _check_names(world, row):
    held = world.list_names(row.instance)
    if row.state in _HOLDING and held != [row.hostname]:
        yield '%s is %s and holds %s' % (row.instance, row.state, held)
    if row.state in (State.CLOSED, State.REFUSED) and held:
        yield '%s is %s and still holds %s' % (row.instance, row.state, held)
    if row.state in (State.OFFERED, State.CLAIMED, State.ENROLLED) and not (
        row.nova_confirmed and row.identity_confirmed
    ):
        yield '%s is %s without its verdicts' % (row.instance, row.state)


def _check_certificates(world, row):
    certificates = world.list_certificates(row.instance)
    live = [
        certificate
        for certificate in certificates
        if certificate.revoked_at is None
        and certificate.not_after > world.clock()
        and certificate.superseded_by is None
    ]
    if len(live) > 1:
        yield '%s has %d live certificates' % (row.instance, len(live))
    for certificate in live:
        if (certificate.epoch, certificate.generation) != (
            row.epoch,
            row.generation,
        ):
            yield '%s has a live certificate of the past' % row.instance
        if row.state not in (
            State.CLAIMED,
            State.ENROLLED,
            State.SUSPENDED,
            State.CONTESTED,
        ):
            yield '%s is %s and has a live certificate' % (
                row.instance,
                row.state,
            )
    if row.state is State.ENROLLED and not any(
        certificate.der
        for certificate in certificates
        if certificate.generation == row.generation
        and certificate.epoch == row.epoch
    ):
        yield '%s is enrolled without a certificate' % row.instance
    if row.state is State.CLAIMED and len(live) != 1:
        yield '%s is claimed and has nothing to be signed' % row.instance
    numbers = world.database.read(
        lambda tx: payloads.find_latest(tx, row.instance)
    )
    if numbers is not None and numbers.seq > 1 + 2 * row.epoch + (
        2 * row.generation
    ):
        yield '%s has had %d payloads' % (row.instance, numbers.seq)


def _check_events(world, row):
    counted = collections.Counter(
        event.kind
        if event.kind in _ONCE
        else '%s of %s'
        % (
            event.kind,
            event.detail.get('serial')
            or (event.detail['epoch'], event.detail['generation']),
        )
        for event in world.list_events(row.instance)
        if event.kind in _ONCE | {'enrollment.offered', 'certificate.issued'}
    )
    for kind, count in counted.items():
        if count > 1 and not kind.startswith('enrollment.offered'):
            yield '%s: %s is there %d times' % (row.instance, kind, count)


def _check_hosts(world, rows, is_quiet):
    by_id = {row.host_id: row for row in rows if row.host_id is not None}
    for host in world.list_hosts():
        row = by_id.pop(host.id, None)
        if row is None:
            if is_quiet:
                yield 'the host %s is nobody\'s' % host.hostname
        elif host.instance != row.instance or host.hostname != row.hostname:
            yield 'the host %s is not that of %s' % (host, row.instance)
        elif row.state in (State.CLOSED, State.REFUSED) and is_quiet:
            yield '%s is %s and has a host' % (row.instance, row.state)
        elif row.state in _HOLDING and not host.is_enabled:
            yield '%s is %s, its host is disabled' % (row.instance, row.state)
    for row in by_id.values():
        if row.state in _HOLDING:
            yield '%s is %s and has no host' % (row.instance, row.state)


def _check_work(world, rows):
    for row in rows:
        for work in world.list_rows(row.instance):
            if work.state is not models.RowState.DONE:
                yield '%s: %s is %s' % (
                    row.instance,
                    work.operation,
                    work.state,
                )
            if work.lease_owner is not None:
                yield '%s: %s is leased' % (row.instance, work.operation)
        if row.state is State.CLOSING:
            yield '%s is closing and nothing is left to do' % row.instance
        if row.state is State.PENDING:
            yield '%s is pending and nothing is left to do' % row.instance


def _check_crl(world):
    revoked = sorted(
        certificate.serial
        for certificate in world.list_all_certificates()
        if certificate.revoked_at is not None
        and certificate.not_after > world.clock()
    )
    listed = sorted(world.ca.list_revoked())
    if revoked != listed:
        yield 'revoked are %s, on the CRL are %s' % (revoked, listed)
