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
"""All that a database holds, to compare it before and after."""

from collections.abc import Collection

from novajoin.db import engine
from novajoin.db import tables


def dump(
    database: engine.Database, excluding: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return the rows of every table, as text, sorted.

    :param excluding: tables that are not looked at
    """

    def read(tx: engine.Transaction) -> dict[str, list[str]]:
        return {
            table.name: sorted(map(repr, tx.execute(table.select()).all()))
            for table in tables.metadata.sorted_tables
            if table.name not in excluding
        }

    return database.read(read)
