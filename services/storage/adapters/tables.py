"""Tables of the catalogue. Changes need a migration in `services/storage/migrations/versions`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

#: One row: which store this catalogue belongs to (the same id lies beside the open files).
store = Table("store", metadata, Column("id", String(36), primary_key=True))

#: One row per recording file; columns as of `core/model.py`. Times are UTC nanoseconds.
recordings = Table(
    "recordings",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("device", String(48), nullable=False),
    Column("channel", String(48), nullable=False),
    Column("channel_number", Integer, nullable=False),
    Column("stream", String(8), nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("codec", String(16), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("audio_codec", String(16), nullable=False),
    Column("parameters", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("locked", Boolean(create_constraint=False), nullable=False),
    Column("object_key", Text, nullable=False, unique=True),
    Column("header_bytes", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bucket", String(63), nullable=False, server_default=""),
    Index(None, "channel", "start_ns"),
    Index(None, "state", "start_ns"),
    Index(None, "start_ns"),
    Index(None, "bucket", "start_ns"),
    Index(None, "kind", "end_ns"),
)

#: One row per segment: what makes a redelivered one known, and where to find its frames.
segments = Table(
    "segments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("recording_id", ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("key_frames", Integer, nullable=False),
    Column("base_ticks", BigInteger, nullable=False),
    Column("duration_ticks", BigInteger, nullable=False),
    Column("session", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Index(None, "recording_id", "ordinal", unique=True),
)

#: Commands of alarms and what became of them. `body`: the command as JSON. `reported`: its result has been published.
actions = Table(
    "actions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("channel", String(48), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("reported", Boolean(create_constraint=False), nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "channel", "kind", "to_ns"),
    Index(None, "phase", "reported"),
)

#: One row per stored snapshot.
snapshots = Table(
    "snapshots",
    metadata,
    Column("object_key", Text, primary_key=True),
    Column("channel", String(48), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("deleting", Boolean(create_constraint=False), nullable=False),
    Column("bucket", String(63), nullable=False, server_default=""),
    Index(None, "at_ns"),
    Index(None, "bucket", "at_ns"),
)

#: What a site last asked for, by channel: what of a channel that it names no more is still kept and deleted by.
channel_limits = Table(
    "channel_limits",
    metadata,
    Column("channel", String(48), primary_key=True),
    Column("keep_ns", BigInteger),
    Column("quota_bytes", BigInteger),
)
