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
"""The part of nova's static vendordata that brings the guest client along.

nova gives what stands in ``vendordata_jsonfile_path`` to every instance as
``vendor_data.json`` (nova/api/metadata/vendordata_json.py). cloud-init takes
the string under its key ``cloud-init`` (``convert_vendordata`` in
cloudinit/sources/__init__.py) and, being MIME, splits it into parts. One of
type ``text/x-shellscript`` is written to ``scripts/vendor`` and run by the
module ``scripts-vendor``, once for each instance, before ``scripts-user``
runs the ``runcmd`` of the user. A ``runcmd`` of ours would be replaced by
the user's; a script is not.
"""

from collections.abc import Iterator
import email.mime.multipart
import email.mime.text
import importlib.resources
import json
from typing import Final

#: The name of the script in the instance, below ``scripts/vendor``.
NAME: Final = 'novajoin-guest.sh'

#: What is installed in the instance.
FILES: Final = (
    'novajoin-guest',
    'novajoin-guest.service',
    'novajoin-guest.timer',
)

_HEAD: Final = """\
#!/bin/sh
# Made by novajoin; the cloud gives it to all of its instances. It does
# something only where the cloud asks an instance to enroll. Whatever happens
# in it, it ends with success, so that it never stands in the way of the
# user's own scripts.
(
umask 022
parts=$(mktemp -d) || exit 0
trap 'rm -rf "$parts"' EXIT
"""
_TAIL: Final = """\
)
exit 0
"""


def render() -> str:
    """Return the document for nova's ``vendordata_jsonfile_path``.

    :returns: JSON; one key, ``cloud-init``, with a MIME message of one part
    """
    message = email.mime.multipart.MIMEMultipart(boundary='==novajoin==')
    part = email.mime.text.MIMEText(
        render_script(), 'x-shellscript', 'us-ascii'
    )
    part.add_header('Content-Disposition', 'attachment', filename=NAME)
    message.attach(part)
    return json.dumps({'cloud-init': message.as_string()}, indent=1) + '\n'


def render_script() -> str:
    """Return the part itself: a shell script that carries its files.

    :raises ValueError: a file holds a line that would end it too early, or
        is not plain ASCII: the packaging is broken
    """
    return ''.join(_render_lines())


def _render_lines() -> Iterator[str]:
    yield _HEAD
    for name in FILES:
        text = _read(name)
        end = 'END-OF-' + name.upper()
        if end in text.splitlines() or not text.endswith('\n'):
            raise ValueError('%s cannot be carried in a shell script' % name)
        yield f'cat >"$parts/{name}" <<\'{end}\'\n{text}{end}\n'
    yield _read('install-part.sh')
    yield _TAIL


def _read(name: str) -> str:
    guest = importlib.resources.files('novajoin') / 'guest'
    return (guest / name).read_text(encoding='ascii')
