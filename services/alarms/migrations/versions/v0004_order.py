"""Alarms know the order in which they were raised, and how often they were saved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: Of those that are there, their beginnings are the best that is known of it.
_NUMBER = """
    UPDATE alarms SET sequence = numbered.number
    FROM (SELECT alarm_id AS numbered_id, row_number() OVER (ORDER BY start_ns, alarm_id) AS number FROM alarms) AS numbered
    WHERE alarms.alarm_id = numbered.numbered_id
"""


def upgrade() -> None:
    for name in ("sequence", "revision"):
        op.add_column("alarms", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(_NUMBER)
    op.create_index("ix_alarms_sequence", "alarms", ["sequence"])


def downgrade() -> None:
    op.drop_index("ix_alarms_sequence", "alarms")
    for name in ("sequence", "revision"):
        op.drop_column("alarms", name)
