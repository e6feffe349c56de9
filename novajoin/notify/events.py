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
"""Notifications, read: what nova wrote becomes a hint, or nothing.

A notification proves nothing (whoever reaches the broker can send one) and
is a reason to look at nova only. So all that is taken from it is which
instance it is about, and a request id for the log.

Both formats are read: versioned ones (``instance.delete.end``, the instance
under ``nova_object.data``; nova/notifications/objects/instance.py) and
unversioned ones (``compute.instance.delete.end``;
nova/compute/utils.py:notify_about_instance_usage).
"""

from collections.abc import Mapping
import logging
import re
from typing import Final
import uuid

from novajoin import models

LOG = logging.getLogger(__name__)

#: What the end of each of nova's actions hints at. A forced delete is one in
#: which nova-api deletes by itself, because no compute could be asked.
KINDS: Final = {
    'delete': 'delete',
    'force_delete': 'delete',
    'soft_delete': 'soft_delete',
    'restore': 'restore',
    # Also written when an instance is evacuated, which is no rebuild.
    'rebuild': 'rebuild',
}

#: The event types that are hints, for a filter. Publishers are not filtered:
#: the delete of an instance that failed or is shelved comes from nova's api
#: or conductor, and one more name must not make us miss it.
EVENT_TYPE: Final = r'^(compute\.)?instance\.(%s)\.end$' % '|'.join(KINDS)

_EVENT_TYPE: Final = re.compile(EVENT_TYPE)
_REQUEST_ID: Final = re.compile('req-' + models.UUID_PATTERN)


def parse(event_type: object, payload: object) -> models.Hint | None:
    """Read a notification.

    :param event_type: as it came from the broker
    :param payload: as it came from the broker
    :returns: None when it is about something else, or when it cannot be
        read; the latter is logged, without its content
    """
    match = (
        _EVENT_TYPE.fullmatch(event_type)
        if isinstance(event_type, str)
        else None
    )
    if match is None:
        return None
    instance = _find_instance(payload, is_versioned=match[1] is None)
    if instance is None:
        LOG.warning(
            'A notification %s does not say which instance it is about; it '
            'is ignored, and the next sweep looks at all instances.',
            match[0],
        )
        return None
    return models.Hint(
        instance=instance, kind=KINDS[match[2]], event_type=match[0]
    )


def _find_instance(payload: object, *, is_versioned: bool) -> str | None:
    """Return the instance's uuid as novajoin writes it."""
    if not isinstance(payload, Mapping):
        return None
    if not is_versioned:
        return _parse_uuid(payload.get('instance_id'))
    data = payload.get('nova_object.data')
    return _parse_uuid(data.get('uuid')) if isinstance(data, Mapping) else None


def _parse_uuid(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        canonical = str(uuid.UUID(value))
    except ValueError:
        return None
    # uuid.UUID also takes braces, urn: and no dashes at all.
    return canonical if canonical == value.lower() else None


def find_request_id(context: object) -> str | None:
    """Return the request that made nova act, from a notification's context.

    Nothing else of the context is looked at: it can hold a live token of a
    user.
    """
    if not isinstance(context, Mapping):
        return None
    request_id = context.get('request_id')
    if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id):
        return request_id
    return None
