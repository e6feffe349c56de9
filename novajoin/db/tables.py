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
"""The tables. Migrations live beside this module and must agree with it."""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData(
    naming_convention={
        'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
        'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
        'fk': 'fk_%(table_name)s_%(column_0_N_name)s',
        'pk': 'pk_%(table_name)s',
    }
)


class UtcDateTime(sa.types.TypeDecorator[datetime.datetime]):
    """A timezone-aware time in UTC, to the microsecond on every database."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        if dialect.name in ('mysql', 'mariadb'):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(
        self, value: datetime.datetime | None, dialect: sa.Dialect
    ) -> datetime.datetime | None:
        if value is None:
            return None
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)

    def process_result_value(
        self, value: datetime.datetime | None, dialect: sa.Dialect
    ) -> datetime.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=datetime.timezone.utc)


def _serial() -> sa.types.TypeEngine[int]:
    # SQLite numbers rows by itself only for INTEGER.
    return sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


#: One row per instance uuid (IDENTITY: the life of an enrollment).
enrollments = sa.Table(
    'enrollments',
    metadata,
    sa.Column('instance', sa.String(36), primary_key=True),
    sa.Column('project', sa.String(64), nullable=False),
    sa.Column('hostname', sa.String(253), nullable=False),
    sa.Column('state', sa.String(16), nullable=False),
    sa.Column('epoch', sa.Integer, nullable=False),
    sa.Column('generation', sa.Integer, nullable=False),
    sa.Column('opened_at', UtcDateTime, nullable=False),
    sa.Column('expires_at', UtcDateTime, nullable=False),
    sa.Column('salt', sa.String(32), nullable=False),
    sa.Column('key_id', sa.String(16), nullable=False),
    sa.Column('token_sha256', sa.String(64), nullable=False),
    sa.Column('eku', sa.String(255), nullable=False),
    sa.Column('nova_confirmed', sa.Boolean),
    sa.Column('identity_confirmed', sa.Boolean),
    sa.Column('public_key_sha256', sa.String(64)),
    sa.Column('suspended_from', sa.String(16)),
    sa.Column('refusal', sa.String(255)),
    sa.Column('host_id', sa.String(255)),
    sa.Column('rebuild_id', sa.String(64)),
    sa.Column('rebuild_at', UtcDateTime),
    sa.Column('image', sa.String(64)),
    sa.Column('metadata', sa.JSON, nullable=False),
    sa.Column('created_at', UtcDateTime, nullable=False),
    sa.Column('updated_at', UtcDateTime, nullable=False),
    sa.Index('ix_enrollments_project', 'project'),
    sa.Index('ix_enrollments_hostname', 'hostname'),
    sa.Index('ix_enrollments_state_expires_at', 'state', 'expires_at'),
    sa.Index('ix_enrollments_key_id', 'key_id'),
)

#: Every name that may enter a certificate or DNS, held by one enrollment.
names = sa.Table(
    'names',
    metadata,
    sa.Column('canonical', sa.String(253), primary_key=True),
    sa.Column(
        'instance',
        sa.String(36),
        sa.ForeignKey('enrollments.instance'),
        nullable=False,
    ),
    sa.Index('ix_names_instance', 'instance'),
)

#: Which project owns a subdomain: two may normalise to one label.
subdomains = sa.Table(
    'subdomains',
    metadata,
    sa.Column('canonical', sa.String(253), primary_key=True),
    sa.Column('project', sa.String(64), nullable=False),
)

#: Which payloads were handed out: receipts quote their digests.
payloads = sa.Table(
    'payloads',
    metadata,
    sa.Column(
        'instance',
        sa.String(36),
        sa.ForeignKey('enrollments.instance'),
        primary_key=True,
    ),
    sa.Column('seq', sa.Integer, primary_key=True, autoincrement=False),
    sa.Column('body_sha256', sa.String(64), nullable=False),
    sa.Column('sha256', sa.String(64), nullable=False),
    sa.Column('created_at', UtcDateTime, nullable=False),
    sa.Column('received_at', UtcDateTime),
)

#: A public key belongs to one (enrollment, epoch) for ever.
public_keys = sa.Table(
    'public_keys',
    metadata,
    sa.Column('sha256', sa.String(64), primary_key=True),
    sa.Column('instance', sa.String(36), nullable=False),
    sa.Column('epoch', sa.Integer, nullable=False),
    # Short rows that are only looked up: one tree instead of two.
    sqlite_with_rowid=False,
)

certificates = sa.Table(
    'certificates',
    metadata,
    sa.Column('serial', sa.String(40), primary_key=True),
    sa.Column(
        'instance',
        sa.String(36),
        sa.ForeignKey('enrollments.instance'),
        nullable=False,
    ),
    sa.Column('epoch', sa.Integer, nullable=False),
    sa.Column('generation', sa.Integer, nullable=False),
    sa.Column('public_key_sha256', sa.String(64), nullable=False),
    sa.Column('public_key', sa.LargeBinary, nullable=False),
    sa.Column('issuer', sa.String(16)),
    sa.Column('der', sa.LargeBinary),
    sa.Column('not_before', UtcDateTime, nullable=False),
    sa.Column('not_after', UtcDateTime, nullable=False),
    sa.Column('superseded_by', sa.String(40)),
    sa.Column('presented_at', UtcDateTime),
    sa.Column('revoked_at', UtcDateTime),
    sa.Column('revocation_reason', sa.String(32)),
    sa.Column('created_at', UtcDateTime, nullable=False),
    sa.Index('ix_certificates_instance', 'instance'),
    sa.Index('ix_certificates_issuer_revoked_at', 'issuer', 'revoked_at'),
)

#: Side effects outside the database, written before they are tried.
outbox = sa.Table(
    'outbox',
    metadata,
    sa.Column('id', _serial(), primary_key=True, autoincrement=True),
    sa.Column('instance', sa.String(36), nullable=False),
    sa.Column('name', sa.String(253), nullable=False),
    sa.Column('epoch', sa.Integer, nullable=False),
    sa.Column('generation', sa.Integer, nullable=False),
    sa.Column('operation', sa.String(24), nullable=False),
    sa.Column('detail', sa.String(64), nullable=False),
    sa.Column('state', sa.String(8), nullable=False),
    sa.Column('attempts', sa.Integer, nullable=False),
    sa.Column('due_at', UtcDateTime, nullable=False),
    sa.Column('lease_owner', sa.String(64)),
    sa.Column('lease_until', UtcDateTime),
    sa.Column('last_error', sa.String(255)),
    sa.Column('request_id', sa.String(64)),
    sa.Column('created_at', UtcDateTime, nullable=False),
    sa.UniqueConstraint(
        'instance',
        'epoch',
        'generation',
        'operation',
        'detail',
        name='uq_outbox_work',
    ),
    sa.Index('ix_outbox_state_due_at', 'state', 'due_at'),
    sa.Index('ix_outbox_name_state', 'name', 'state'),
)

#: The audit log.
events = sa.Table(
    'events',
    metadata,
    sa.Column('id', _serial(), primary_key=True, autoincrement=True),
    sa.Column('at', UtcDateTime, nullable=False),
    sa.Column('kind', sa.String(64), nullable=False),
    sa.Column('instance', sa.String(36)),
    sa.Column('project', sa.String(64)),
    sa.Column('request_id', sa.String(64)),
    sa.Column('detail', sa.JSON, nullable=False),
    sa.Index('ix_events_instance', 'instance'),
    sa.Index('ix_events_at', 'at'),
)

#: The hosts of the embedded identity backend.
hosts = sa.Table(
    'hosts',
    metadata,
    sa.Column('id', sa.String(36), primary_key=True),
    sa.Column('hostname', sa.String(253), nullable=False, unique=True),
    sa.Column('instance', sa.String(36), nullable=False),
    sa.Column('project', sa.String(64), nullable=False),
    sa.Column('is_enabled', sa.Boolean, nullable=False),
    sa.Column('created_at', UtcDateTime, nullable=False),
)

crls = sa.Table(
    'crls',
    metadata,
    sa.Column('issuer', sa.String(16), primary_key=True),
    sa.Column('number', sa.BigInteger, nullable=False),
    sa.Column('der', sa.LargeBinary(2**24 - 1), nullable=False),
    sa.Column('this_update', UtcDateTime, nullable=False),
    sa.Column('next_update', UtcDateTime, nullable=False),
)

#: What check-in processes ask novajoin-notify to sign.
service_certificates = sa.Table(
    'service_certificates',
    metadata,
    sa.Column('id', sa.String(36), primary_key=True),
    sa.Column('host', sa.String(253), nullable=False),
    sa.Column('csr', sa.LargeBinary, nullable=False),
    sa.Column('certificate', sa.LargeBinary),
    sa.Column('refusal', sa.String(255)),
    sa.Column('key_id', sa.String(16)),
    sa.Column('serial', sa.String(40)),
    sa.Column('issuer', sa.String(16)),
    sa.Column('not_after', UtcDateTime),
    sa.Column('revoked_at', UtcDateTime),
    sa.Column('created_at', UtcDateTime, nullable=False),
)

#: The keys that generations were opened with, and which must open no more.
credential_keys = sa.Table(
    'credential_keys',
    metadata,
    sa.Column('id', sa.String(16), primary_key=True),
    sa.Column('first_used_at', UtcDateTime, nullable=False),
    sa.Column('retired_at', UtcDateTime),
)

#: Intermediates of the embedded CA whose keys have leaked.
revoked_authorities = sa.Table(
    'revoked_authorities',
    metadata,
    sa.Column('id', sa.String(16), primary_key=True),
    sa.Column('issuer', sa.String(16), nullable=False),
    sa.Column('serial', sa.String(40), nullable=False),
    sa.Column('not_after', UtcDateTime, nullable=False),
    sa.Column('revoked_at', UtcDateTime, nullable=False),
)

#: Logical singletons.
leases = sa.Table(
    'leases',
    metadata,
    sa.Column('name', sa.String(64), primary_key=True),
    sa.Column('owner', sa.String(64), nullable=False),
    sa.Column('until', UtcDateTime, nullable=False),
)

#: Processes seen lately, with the keys that they have.
processes = sa.Table(
    'processes',
    metadata,
    sa.Column('id', sa.String(64), primary_key=True),
    sa.Column('role', sa.String(16), nullable=False),
    sa.Column('host', sa.String(253), nullable=False),
    sa.Column('keys', sa.JSON, nullable=False),
    sa.Column('seen_at', UtcDateTime, nullable=False),
)
