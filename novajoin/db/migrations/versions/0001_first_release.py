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
"""Make the tables of the first release."""

from alembic import op
import sqlalchemy as sa

from novajoin.db import tables

revision = "0001"
down_revision = None


def upgrade() -> None:

    op.create_table(
        'credential_keys',
        sa.Column('id', sa.String(length=16), nullable=False),
        sa.Column('first_used_at', tables.UtcDateTime(), nullable=False),
        sa.Column('retired_at', tables.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_credential_keys')),
    )
    op.create_table(
        'crls',
        sa.Column('issuer', sa.String(length=16), nullable=False),
        sa.Column('number', sa.BigInteger(), nullable=False),
        sa.Column('der', sa.LargeBinary(length=16777215), nullable=False),
        sa.Column('this_update', tables.UtcDateTime(), nullable=False),
        sa.Column('next_update', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('issuer', name=op.f('pk_crls')),
    )
    op.create_table(
        'enrollments',
        sa.Column('instance', sa.String(length=36), nullable=False),
        sa.Column('project', sa.String(length=64), nullable=False),
        sa.Column('hostname', sa.String(length=253), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('epoch', sa.Integer(), nullable=False),
        sa.Column('generation', sa.Integer(), nullable=False),
        sa.Column('opened_at', tables.UtcDateTime(), nullable=False),
        sa.Column('expires_at', tables.UtcDateTime(), nullable=False),
        sa.Column('salt', sa.String(length=32), nullable=False),
        sa.Column('key_id', sa.String(length=16), nullable=False),
        sa.Column('token_sha256', sa.String(length=64), nullable=False),
        sa.Column('eku', sa.String(length=255), nullable=False),
        sa.Column('nova_confirmed', sa.Boolean(), nullable=True),
        sa.Column('identity_confirmed', sa.Boolean(), nullable=True),
        sa.Column('public_key_sha256', sa.String(length=64), nullable=True),
        sa.Column('suspended_from', sa.String(length=16), nullable=True),
        sa.Column('refusal', sa.String(length=255), nullable=True),
        sa.Column('host_id', sa.String(length=255), nullable=True),
        sa.Column('rebuild_id', sa.String(length=64), nullable=True),
        sa.Column('rebuild_at', tables.UtcDateTime(), nullable=True),
        sa.Column('image', sa.String(length=64), nullable=True),
        sa.Column('metadata', sa.JSON(), nullable=False),
        sa.Column('created_at', tables.UtcDateTime(), nullable=False),
        sa.Column('updated_at', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('instance', name=op.f('pk_enrollments')),
    )
    op.create_index(
        'ix_enrollments_hostname', 'enrollments', ['hostname'], unique=False
    )
    op.create_index(
        'ix_enrollments_key_id', 'enrollments', ['key_id'], unique=False
    )
    op.create_index(
        'ix_enrollments_project', 'enrollments', ['project'], unique=False
    )
    op.create_index(
        'ix_enrollments_state_expires_at',
        'enrollments',
        ['state', 'expires_at'],
        unique=False,
    )
    op.create_table(
        'events',
        sa.Column(
            'id',
            sa.BigInteger().with_variant(sa.Integer(), 'sqlite'),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column('at', tables.UtcDateTime(), nullable=False),
        sa.Column('kind', sa.String(length=64), nullable=False),
        sa.Column('instance', sa.String(length=36), nullable=True),
        sa.Column('project', sa.String(length=64), nullable=True),
        sa.Column('request_id', sa.String(length=64), nullable=True),
        sa.Column('detail', sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_events')),
    )
    op.create_index('ix_events_at', 'events', ['at'], unique=False)
    op.create_index('ix_events_instance', 'events', ['instance'], unique=False)
    op.create_table(
        'hosts',
        sa.Column('id', sa.String(length=36), nullable=False),
        sa.Column('hostname', sa.String(length=253), nullable=False),
        sa.Column('instance', sa.String(length=36), nullable=False),
        sa.Column('project', sa.String(length=64), nullable=False),
        sa.Column('is_enabled', sa.Boolean(), nullable=False),
        sa.Column('created_at', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_hosts')),
        sa.UniqueConstraint('hostname', name=op.f('uq_hosts_hostname')),
    )
    op.create_table(
        'leases',
        sa.Column('name', sa.String(length=64), nullable=False),
        sa.Column('owner', sa.String(length=64), nullable=False),
        sa.Column('until', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('name', name=op.f('pk_leases')),
    )
    op.create_table(
        'outbox',
        sa.Column(
            'id',
            sa.BigInteger().with_variant(sa.Integer(), 'sqlite'),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column('instance', sa.String(length=36), nullable=False),
        sa.Column('name', sa.String(length=253), nullable=False),
        sa.Column('epoch', sa.Integer(), nullable=False),
        sa.Column('generation', sa.Integer(), nullable=False),
        sa.Column('operation', sa.String(length=24), nullable=False),
        sa.Column('detail', sa.String(length=64), nullable=False),
        sa.Column('state', sa.String(length=8), nullable=False),
        sa.Column('attempts', sa.Integer(), nullable=False),
        sa.Column('due_at', tables.UtcDateTime(), nullable=False),
        sa.Column('lease_owner', sa.String(length=64), nullable=True),
        sa.Column('lease_until', tables.UtcDateTime(), nullable=True),
        sa.Column('last_error', sa.String(length=255), nullable=True),
        sa.Column('request_id', sa.String(length=64), nullable=True),
        sa.Column('created_at', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox')),
        sa.UniqueConstraint(
            'instance',
            'epoch',
            'generation',
            'operation',
            'detail',
            name='uq_outbox_work',
        ),
    )
    op.create_index(
        'ix_outbox_name_state', 'outbox', ['name', 'state'], unique=False
    )
    op.create_index(
        'ix_outbox_state_due_at', 'outbox', ['state', 'due_at'], unique=False
    )
    op.create_table(
        'processes',
        sa.Column('id', sa.String(length=64), nullable=False),
        sa.Column('role', sa.String(length=16), nullable=False),
        sa.Column('host', sa.String(length=253), nullable=False),
        sa.Column('keys', sa.JSON(), nullable=False),
        sa.Column('seen_at', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_processes')),
    )
    op.create_table(
        'public_keys',
        sa.Column('sha256', sa.String(length=64), nullable=False),
        sa.Column('instance', sa.String(length=36), nullable=False),
        sa.Column('epoch', sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint('sha256', name=op.f('pk_public_keys')),
        sqlite_with_rowid=False,
    )
    op.create_table(
        'subdomains',
        sa.Column('canonical', sa.String(length=253), nullable=False),
        sa.Column('project', sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint('canonical', name=op.f('pk_subdomains')),
    )
    op.create_table(
        'service_certificates',
        sa.Column('id', sa.String(length=36), nullable=False),
        sa.Column('host', sa.String(length=253), nullable=False),
        sa.Column('csr', sa.LargeBinary(), nullable=False),
        sa.Column('certificate', sa.LargeBinary(), nullable=True),
        sa.Column('refusal', sa.String(length=255), nullable=True),
        sa.Column('key_id', sa.String(length=16), nullable=True),
        sa.Column('serial', sa.String(length=40), nullable=True),
        sa.Column('issuer', sa.String(length=16), nullable=True),
        sa.Column('not_after', tables.UtcDateTime(), nullable=True),
        sa.Column('revoked_at', tables.UtcDateTime(), nullable=True),
        sa.Column('created_at', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_service_certificates')),
    )
    op.create_table(
        'revoked_authorities',
        sa.Column('id', sa.String(length=16), nullable=False),
        sa.Column('issuer', sa.String(length=16), nullable=False),
        sa.Column('serial', sa.String(length=40), nullable=False),
        sa.Column('not_after', tables.UtcDateTime(), nullable=False),
        sa.Column('revoked_at', tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_revoked_authorities')),
    )
    op.create_table(
        'certificates',
        sa.Column('serial', sa.String(length=40), nullable=False),
        sa.Column('instance', sa.String(length=36), nullable=False),
        sa.Column('epoch', sa.Integer(), nullable=False),
        sa.Column('generation', sa.Integer(), nullable=False),
        sa.Column('public_key_sha256', sa.String(length=64), nullable=False),
        sa.Column('public_key', sa.LargeBinary(), nullable=False),
        sa.Column('issuer', sa.String(length=16), nullable=True),
        sa.Column('der', sa.LargeBinary(), nullable=True),
        sa.Column('not_before', tables.UtcDateTime(), nullable=False),
        sa.Column('not_after', tables.UtcDateTime(), nullable=False),
        sa.Column('superseded_by', sa.String(length=40), nullable=True),
        sa.Column('presented_at', tables.UtcDateTime(), nullable=True),
        sa.Column('revoked_at', tables.UtcDateTime(), nullable=True),
        sa.Column('revocation_reason', sa.String(length=32), nullable=True),
        sa.Column('created_at', tables.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ['instance'],
            ['enrollments.instance'],
            name=op.f('fk_certificates_instance'),
        ),
        sa.PrimaryKeyConstraint('serial', name=op.f('pk_certificates')),
    )
    op.create_index(
        'ix_certificates_instance', 'certificates', ['instance'], unique=False
    )
    op.create_index(
        'ix_certificates_issuer_revoked_at',
        'certificates',
        ['issuer', 'revoked_at'],
        unique=False,
    )
    op.create_table(
        'names',
        sa.Column('canonical', sa.String(length=253), nullable=False),
        sa.Column('instance', sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ['instance'],
            ['enrollments.instance'],
            name=op.f('fk_names_instance'),
        ),
        sa.PrimaryKeyConstraint('canonical', name=op.f('pk_names')),
    )
    op.create_index('ix_names_instance', 'names', ['instance'], unique=False)
    op.create_table(
        'payloads',
        sa.Column('instance', sa.String(length=36), nullable=False),
        sa.Column('seq', sa.Integer(), autoincrement=False, nullable=False),
        sa.Column('body_sha256', sa.String(length=64), nullable=False),
        sa.Column('sha256', sa.String(length=64), nullable=False),
        sa.Column('created_at', tables.UtcDateTime(), nullable=False),
        sa.Column('received_at', tables.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ['instance'],
            ['enrollments.instance'],
            name=op.f('fk_payloads_instance'),
        ),
        sa.PrimaryKeyConstraint('instance', 'seq', name=op.f('pk_payloads')),
    )
