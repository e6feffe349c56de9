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
"""Who calls: the join token in Basic, or the certificate of the TLS client.

What is in a header about certificates is never looked at: this process ends
TLS itself, so only its own socket can tell.
"""

import base64
import binascii
from collections.abc import Mapping
import contextlib
import dataclasses
import re
from typing import Any
from typing import Final

from novajoin import exceptions
from novajoin import models

#: "Basic" and 36 + 1 + 63 characters in base64 need 142.
_LONGEST: Final = 512
_BASIC: Final = re.compile(r'basic +([A-Za-z0-9+/]+={0,2})', re.IGNORECASE)
_TOKEN: Final = re.compile('[!-~]+')


class NoCertificate(exceptions.Unauthorized):
    """The TLS client showed no certificate, and this resource wants one."""

    default_message = (
        'This resource takes the certificate of the instance as TLS client '
        'certificate.'
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Basic:
    """What an instance that has no certificate yet shows.

    :ivar instance: its uuid, canonical and lower-case
    :ivar token: the join token; only its alphabet was looked at
    """

    instance: str
    token: str = dataclasses.field(repr=False)


def read_basic(environ: Mapping[str, Any]) -> Basic:
    """Return instance and join token of a request (RFC 7617).

    :raises Unauthorized: there is none, or it is garbled
    """
    header = environ.get('HTTP_AUTHORIZATION', '')
    if len(header) > _LONGEST:
        raise exceptions.Unauthorized()
    match = _BASIC.fullmatch(header.strip(' \t'))
    if match is None:
        raise exceptions.Unauthorized()
    try:
        text = base64.b64decode(match[1], validate=True).decode('ascii')
    except (binascii.Error, UnicodeDecodeError):
        raise exceptions.Unauthorized() from None
    instance, _, token = text.partition(':')
    if not (models.is_uuid(instance) and _TOKEN.fullmatch(token)):
        raise exceptions.Unauthorized()
    return Basic(instance, token)


def read_peer(environ: Mapping[str, Any]) -> bytes:
    """Return the certificate that the TLS client proved to hold, DER.

    The handshake has verified it as far as TLS can.

    :raises NoCertificate: it showed none, this is not a TLS socket, or the
        client has gone
    """
    connection = environ.get('gunicorn.socket')
    get_certificate = getattr(connection, 'getpeercert', None)
    peer: bytes | None = None
    if get_certificate is not None:
        # SSLSocket.getpeercert raises ValueError where the handshake is not
        # done, and OSError once the client has gone.
        with contextlib.suppress(ValueError, OSError):
            peer = get_certificate(binary_form=True)
    if not peer:
        raise NoCertificate()
    return peer
