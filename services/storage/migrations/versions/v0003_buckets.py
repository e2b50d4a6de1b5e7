"""Recordings and snapshots say in which bucket they lie. Those of before lie where everything goes that names no storage group."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIMES = {"recordings": "start_ns", "snapshots": "at_ns"}


def upgrade() -> None:
    for table, time in _TIMES.items():
        op.add_column(table, sa.Column("bucket", sa.String(63), nullable=False, server_default=""))
        op.create_index(f"ix_{table}_bucket_{time}", table, ["bucket", time])


def downgrade() -> None:
    for table, time in _TIMES.items():
        op.drop_index(f"ix_{table}_bucket_{time}", table)
        op.drop_column(table, "bucket")  # in place: a table that is copied would take its segments along when it is dropped
