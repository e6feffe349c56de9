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
"""Which project owns a subdomain."""

import sqlalchemy as sa

from novajoin.db import engine
from novajoin.db import tables

_T = tables.subdomains


def find_owner(tx: engine.Transaction, canonical: str) -> str | None:
    """Return the id of the project that owns a subdomain, or None."""
    query = sa.select(_T.c.project).where(_T.c.canonical == canonical)
    owner: str | None = tx.execute(query).scalar_one_or_none()
    return owner


def insert(tx: engine.Transaction, canonical: str, project: str) -> None:
    """Give a subdomain to a project.

    :raises DuplicateRow: somebody has it
    """
    tx.execute(sa.insert(_T), {'canonical': canonical, 'project': project})
