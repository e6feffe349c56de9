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
"""Receipts: the instance's word that it has its payload."""

import json
import re
from typing import Any
from typing import Final

import pecan
import webob

from novajoin import exceptions
from novajoin.checkin import credentials
from novajoin.checkin import peer as tls_peer
from novajoin.checkin import requests
from novajoin.checkin import services
from novajoin.enrollment import redemption

LONGEST_BODY: Final = 1024
REQUEST_TYPE: Final = 'application/json'

_DIGEST: Final = re.compile('[0-9a-f]{64}')
_FIELDS: Final = frozenset({'seq', 'sha256'})


class ReceiptController:
    """``POST /v1/receipts`` over mutual TLS."""

    def __init__(self, parts: services.Services) -> None:
        self._redemption = parts.redemption
        self._get_chain = parts.get_chain

    @pecan.expose()
    def receive(
        self, request: requests.Request, response: webob.Response
    ) -> webob.Response:
        """Take a receipt; the same one again is as good as once."""
        request.check_length(LONGEST_BODY)
        peer = credentials.read_peer(request.environ)
        tls_peer.check(peer, self._get_chain())
        request.check_content_type(REQUEST_TYPE)
        seq, sha256 = _read_receipt(request.read_body(LONGEST_BODY))
        self._redemption.receive_receipt(peer, seq, sha256, request.id)
        return webob.Response(status=204)


def _read_receipt(body: bytes) -> tuple[int, str]:
    """Return sequence number and digest.

    :raises InvalidBody: names the field at fault
    """
    try:
        receipt = json.loads(
            body.decode('utf-8'), object_pairs_hook=_make_object
        )
    except (ValueError, RecursionError):
        raise exceptions.InvalidBody(
            'The body is not JSON, or names a field twice.'
        ) from None
    if not isinstance(receipt, dict) or receipt.keys() != _FIELDS:
        raise exceptions.InvalidBody(
            'The body is to be an object with "seq" and "sha256", and '
            'nothing else.'
        )
    seq, sha256 = receipt['seq'], receipt['sha256']
    # A bool is an int to Python.
    if type(seq) is not int or not 0 < seq <= redemption.MAX_SEQ:
        raise exceptions.InvalidBody(
            '"seq" is not an integer from 1 to %d.' % redemption.MAX_SEQ
        )
    if not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
        raise exceptions.InvalidBody(
            '"sha256" is not 64 lower-case hexadecimal digits.'
        )
    return seq, sha256


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError('a field is named twice')
    return made
