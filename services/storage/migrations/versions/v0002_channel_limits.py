"""Limits of channels outlive their place in the site."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "channel_limits",
        sa.Column("channel", sa.String(48), nullable=False),
        sa.Column("keep_ns", sa.BigInteger(), nullable=True),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("channel", name="pk_channel_limits"),
    )


def downgrade() -> None:
    op.drop_table("channel_limits")
