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
"""The one place where a payload is given to an injector.

Whatever a payload is made of, what an injector must not carry does not get
there. No payload of this release has a private key in it; this holds for the
next ones, and for the mistake of putting one among the parameters.
"""

import base64
import binascii
from collections.abc import Iterator
from collections.abc import Mapping
import json
from typing import Any
from typing import Final

from cryptography import exceptions as crypto_exceptions
from cryptography.hazmat.primitives import serialization

from novajoin import models
from novajoin import secret
from novajoin.injectors import base

#: The member of a payload that is there for a private key.
KEY: Final = 'key'

# As in the first line of every PEM form of a private key (RFC 7468, OpenSSL,
# OpenSSH).
_PEM: Final = b'PRIVATE KEY-----'


class KeyNotAllowed(Exception):
    """A private key was about to go a way that is not for private keys.

    A defect of ours, so that it has no status and no reason: nobody who asks
    can do anything about it.
    """


def check(injector: object, document: Mapping[str, Any]) -> None:
    """Refuse to give an injector a private key that it must not carry.

    :param injector: says by ``may_carry_key`` whether it may; what does not
        say so may not
    :param document: what it is to be given, before it is put into bytes
    :raises KeyNotAllowed: without the key in the message
    """
    if isinstance(injector, base.Injector) and injector.may_carry_key:
        return
    for path, value in _walk(document):
        if path[-1:] == (KEY,) or _is_private_key(value):
            raise KeyNotAllowed(
                'The injector %s must not carry the private key in %s.'
                % (type(injector).__name__, '.'.join(path))
            )


def render(
    renderer: base.VendordataRenderer,
    hostname: str,
    attributes: Mapping[str, str | secret.Secret],
    payload: models.Payload,
) -> dict[str, object]:
    """Let an injector render the answer for nova.

    See :meth:`novajoin.injectors.base.VendordataRenderer.render`.

    :raises KeyNotAllowed: there is a private key in it
    """
    revealed = {
        name: value.reveal() if isinstance(value, secret.Secret) else value
        for name, value in attributes.items()
    }
    check(
        renderer,
        {'attributes': revealed, 'payload': json.loads(payload.document)},
    )
    return renderer.render(hostname, attributes, payload)


def _walk(
    value: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Return every value in a document with the names that lead to it."""
    yield path, value
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _walk(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _walk(member, (*path, str(index)))


def _is_private_key(value: object) -> bool:
    """Tell whether a text is a private key: PEM, DER in base64 or both."""
    if not isinstance(value, str):
        return False
    raw = value.encode('utf-8', 'surrogatepass')
    if _PEM in raw:
        return True
    try:
        raw = base64.b64decode(b''.join(raw.split()), validate=True)
    except binascii.Error:
        return False
    # 0x30: everything in DER that is more than a value begins with it.
    return _PEM in raw or (raw[:1] == b'0' and _is_der_key(raw))


def _is_der_key(raw: bytes) -> bool:
    try:
        serialization.load_der_private_key(raw, None)
    except ValueError:
        return False
    except (TypeError, crypto_exceptions.UnsupportedAlgorithm):
        # It needs a password, or is of a kind that the library cannot use.
        return True
    return True
