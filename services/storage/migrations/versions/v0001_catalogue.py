"""The catalogue: recordings, segments, actions, snapshots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("store", sa.Column("id", sa.String(36), primary_key=True))
    _create_recordings()
    _create_segments()
    _create_actions()
    _create_snapshots()


def downgrade() -> None:
    for table in ("snapshots", "actions", "segments", "recordings", "store"):
        op.drop_table(table)


def _create_recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("device", sa.String(48), nullable=False),
        sa.Column("channel", sa.String(48), nullable=False),
        sa.Column("channel_number", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(8), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("codec", sa.String(16), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("audio_codec", sa.String(16), nullable=False),
        sa.Column("parameters", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("locked", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("header_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recordings"),
        sa.UniqueConstraint("object_key", name="uq_recordings_object_key"),
    )
    op.create_index("ix_recordings_channel_start_ns", "recordings", ["channel", "start_ns"])
    op.create_index("ix_recordings_state_start_ns", "recordings", ["state", "start_ns"])
    op.create_index("ix_recordings_start_ns", "recordings", ["start_ns"])
    op.create_index("ix_recordings_kind_end_ns", "recordings", ["kind", "end_ns"])


def _create_segments() -> None:
    op.create_table(
        "segments",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("recording_id", sa.String(36), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("key_frames", sa.Integer(), nullable=False),
        sa.Column("base_ticks", sa.BigInteger(), nullable=False),
        sa.Column("duration_ticks", sa.BigInteger(), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name="fk_segments_recording_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
    )
    op.create_index("ix_segments_recording_id_ordinal", "segments", ["recording_id", "ordinal"], unique=True)


def _create_actions() -> None:
    op.create_table(
        "actions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(48), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("reported", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_actions"),
    )
    op.create_index("ix_actions_channel_kind_to_ns", "actions", ["channel", "kind", "to_ns"])
    op.create_index("ix_actions_phase_reported", "actions", ["phase", "reported"])


def _create_snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("channel", sa.String(48), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("deleting", sa.Boolean(create_constraint=False), nullable=False),
        sa.PrimaryKeyConstraint("object_key", name="pk_snapshots"),
    )
    op.create_index("ix_snapshots_at_ns", "snapshots", ["at_ns"])
