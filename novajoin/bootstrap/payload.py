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
"""The bootstrap document: built, made canonical, digested.

The document is RFC 8785 canonical JSON, so that its digest is the same
whatever injector carries it and however often it is rendered.
"""

import base64
from collections.abc import Mapping
from collections.abc import Sequence
import datetime
import hashlib
import json
from typing import Any
from typing import Final

import rfc8785

from novajoin import models
from novajoin import secret

SCHEMA: Final = 'novajoin.bootstrap/1'
#: Bytes that a document may have at the very most.
LARGEST: Final = 16384

Body = dict[str, Any]


def format_time(time: datetime.datetime) -> str:
    """Format a time as RFC 3339 in UTC, whole seconds, with a ``Z``."""
    return time.astimezone(datetime.timezone.utc).strftime(
        '%Y-%m-%dT%H:%M:%SZ'
    )


def make_template(enrollment: models.Enrollment) -> models.CsrTemplate:
    """Return what an instance puts into its CSR, from its row."""
    hostname = enrollment.hostname
    # RFC 5280 appendix A: ub-common-name is 64.
    common_name = hostname if len(hostname) <= 64 else enrollment.instance
    return models.CsrTemplate(
        subject=(('CN', common_name),),
        dns=(hostname,),
        ip=(),
        uri=('urn:uuid:%s' % enrollment.instance,),
        eku=enrollment.eku,
    )


def build(
    enrollment: models.Enrollment,
    template: models.CsrTemplate,
    root: bytes,
    urls: Sequence[models.CheckinUrl],
    token: secret.Secret | None,
    params: Mapping[str, str] | None = None,
) -> Body:
    """Build the document, all but its sequence number.

    :param root: DER of the one CA certificate to trust
    :param urls: 1 to 8 check-in URLs
    :param token: the join token while one is due
    :param params: public parameters
    :returns: the body; it holds the token in clear
    """
    body: Body = {
        'schema': SCHEMA,
        'issued_at': format_time(enrollment.opened_at),
        'expires_at': format_time(enrollment.expires_at),
        'instance': {
            'uuid': enrollment.instance,
            'project': enrollment.project,
            'epoch': enrollment.epoch,
            'generation': enrollment.generation,
        },
        'csr': {
            'subject': [list(pair) for pair in template.subject],
            'dns': sorted(template.dns),
            'ip': sorted(template.ip),
            'uri': list(template.uri),
            'keys': list(template.keys),
            'eku': list(template.eku),
        },
        'ca': base64.b64encode(root).decode('ascii'),
        'checkin': [
            {'url': url.url, 'priority': url.priority} for url in urls
        ],
        'params': dict(params or {}),
    }
    if token is not None:
        body['token'] = token.reveal()
    return body


def get_body_digest(body: Body) -> bytes:
    """Return the SHA-256 of a body: equal bodies share a sequence number."""
    # Nobody else computes this one: what is equal gives equal bytes, and
    # that is all it needs.
    canonical = json.dumps(body, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(canonical.encode()).digest()


def render(body: Body, seq: int) -> models.Payload:
    """Return the canonical document.

    :param seq: from 1
    :raises ValueError: the document is too large
    """
    document = rfc8785.dumps({**body, 'seq': seq})
    if len(document) > LARGEST:
        raise ValueError(
            'the bootstrap document has %d bytes; %d are allowed'
            % (len(document), LARGEST)
        )
    return models.Payload(
        seq=seq,
        document=document,
        sha256=hashlib.sha256(document).hexdigest(),
    )
