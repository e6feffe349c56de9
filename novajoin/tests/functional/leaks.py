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
"""Search everything that a run left behind for values that must not be there.

A value is looked for as it is and in the forms in which logs, databases and
wires carry it: base64, hex, URL-encoded, JSON-escaped and reversed.
"""

import base64
from collections.abc import Iterable
from collections.abc import Mapping
import json
import os
import pathlib
import urllib.parse

from cryptography.hazmat.primitives import serialization


def get_forms(value: str | bytes) -> dict[str, bytes]:
    """Return the forms of a value, by name."""
    raw = value.encode() if isinstance(value, str) else value
    forms = {
        'raw': raw,
        'reversed': raw[::-1],
        'hex': raw.hex().encode(),
        'HEX': raw.hex().upper().encode(),
    }
    if isinstance(value, str):
        forms['url'] = urllib.parse.quote(value, safe='').encode()
        forms['json'] = json.dumps(value)[1:-1].encode()
        forms['utf-16'] = value.encode('utf-16-le')
    # Within a longer text that was encoded as a whole, a value stands at one
    # of three offsets; what is the same in all contexts is looked for.
    for offset in range(3):
        encoded = base64.b64encode(b'\0' * offset + raw)
        begin = (offset * 8 + 5) // 6
        end = ((offset + len(raw)) * 8) // 6
        forms['base64+%d' % offset] = encoded[begin:end]
    return forms


def read_private_key(path: pathlib.Path) -> dict[str, str | bytes]:
    """Return what is secret in a file with the private key of a curve.

    :param path: PEM, PKCS#8; certificates may follow
    :returns: the secret number, and the line of the PEM that has it
    """
    text = path.read_text()
    key = serialization.load_pem_private_key(text.encode(), None)
    number = key.private_numbers().private_value
    begin = text.index('PRIVATE KEY-----\n')
    return {
        'number of %s' % path: number.to_bytes((key.key_size + 7) // 8),
        'first line of %s' % path: text[begin:].splitlines()[1],
    }


class LeakScan:
    """Look for secrets.

    :param secrets: the values, by what they are
    """

    def __init__(self, secrets: Mapping[str, str | bytes]) -> None:
        self._needles = [
            (name, form, needle)
            for name, value in secrets.items()
            for form, needle in get_forms(value).items()
        ]

    def scan_bytes(self, where: str, content: bytes) -> list[str]:
        """Return a line for each find."""
        return [
            '%s: %s (%s)' % (where, name, form)
            for name, form, needle in self._needles
            if needle in content
        ]

    def scan_tree(
        self,
        root: pathlib.Path,
        excluding: Iterable[pathlib.Path] = (),
    ) -> list[str]:
        """Scan every file below a directory: logs, database, journals."""
        excluded = {path.resolve() for path in excluding}
        found: list[str] = []
        for folder, folders, files in os.walk(root):
            here = pathlib.Path(folder)
            folders[:] = [
                name
                for name in folders
                if (here / name).resolve() not in excluded
            ]
            for name in files:
                path = here / name
                if path.resolve() not in excluded and path.is_file():
                    found += self.scan_bytes(str(path), path.read_bytes())
        return found

    def scan_processes(self, pids: Iterable[int]) -> list[str]:
        """Scan arguments and environments of processes."""
        found: list[str] = []
        for pid in pids:
            for part in ('cmdline', 'environ'):
                path = pathlib.Path('/proc/%d/%s' % (pid, part))
                try:
                    content = path.read_bytes()
                except OSError:
                    continue
                found += self.scan_bytes(str(path), content)
        return found
