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
"""TLS for the control plane: a certificate in files that may be replaced."""

import os
import ssl
import threading
import time
from typing import Final

from oslo_log import log as logging

from novajoin import exceptions

LOG = logging.getLogger(__name__)

#: Seconds between two looks at the files.
_LOOK_EVERY: Final = 5.0


class Context:
    """The TLS context for new connections, made again when files change.

    Files that cannot be used are logged and change nothing.

    :param certificate: file with the certificate and its intermediates, PEM
    :param key: file with its private key, PEM
    :raises ConfigurationError: they cannot be used
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._files = (certificate, key)
        self._lock = threading.Lock()
        self._next_look = 0.0
        try:
            self._signature = self._look()
            self._context = self._load()
        except (OSError, ValueError) as exc:
            raise exceptions.ConfigurationError(
                '[api] tls_certificate', '%s: %s' % (certificate, exc)
            ) from exc

    def get(self) -> ssl.SSLContext:
        """Return the context; looks at the files now and then."""
        now = time.monotonic()
        with self._lock:
            if now >= self._next_look:
                self._next_look = now + _LOOK_EVERY
                self._refresh()
            return self._context

    def _refresh(self) -> None:
        try:
            signature = self._look()
            if signature != self._signature:
                self._context = self._load()
                self._signature = signature
                LOG.info('%s is in use anew', self._files[0])
        except (OSError, ValueError) as exc:
            LOG.error('%s is not used: %s', self._files[0], exc)

    def _look(self) -> tuple[tuple[int, int], ...]:
        statuses = [os.stat(path) for path in self._files]
        return tuple((each.st_mtime_ns, each.st_ino) for each in statuses)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(['http/1.1'])
        context.load_cert_chain(*self._files)
        return context
