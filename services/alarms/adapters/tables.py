"""Tables of the alarm book. Changes need a migration in `services/alarms/migrations/versions`."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

# Counted by the database in the order of insertion. SQLite counts only INTEGER keys itself.
_SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")

#: One row per alarm. Times are UTC nanoseconds; the meaning of each column is that of `core/record.py`.
alarms = Table(
    "alarms",
    metadata,
    Column("alarm_id", String(36), primary_key=True),
    Column("event_id", String(64), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("channel_number", Integer, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("source", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("hits", Integer, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("handled_ns", BigInteger, nullable=False),
    Column("period_ns", BigInteger, nullable=False),
    Column("live", JSON, nullable=False),
    Column("end_ns", BigInteger),
    Column("recorded_to_ns", BigInteger, nullable=False),
    Column("target", String(32)),
    Column("track_id", BigInteger),
    Column("box", JSON),
    Column("direction", String(32), nullable=False),
    Column("counts", JSON, nullable=False),
    Column("message", Text, nullable=False),
    Column("snapshot_at_ns", BigInteger, nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("acknowledged_by", Text, nullable=False),
    Column("acknowledged_ns", BigInteger),
    Column("note", Text, nullable=False),
    Column("trace", Text, nullable=False, server_default=""),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Column("due_ns", BigInteger),  # when the timers look at it, this machine's clock; null: it has ended
    Index(None, "channel", "source", "last_ns"),
    Index(None, "due_ns"),
    Index(None, "start_ns"),
    Index(None, "sequence"),
)

#: One row per event: what was handled already, and what can be searched whether it raised an alarm or not.
events = Table(
    "events",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("alarm_id", ForeignKey("alarms.alarm_id", ondelete="SET NULL"), index=True),
    Column("channel", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("source", String(64), nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("body", JSON, nullable=False),  # the latest message
    Index(None, "channel", "start_ns"),
    Index(None, "start_ns"),
)

#: The webhook queues and their dead letters. Delivered rows stay for a while as a record of what was told to whom.
deliveries = Table(
    "deliveries",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("delivery_id", String(64), nullable=False, unique=True),
    Column("centre", String(64), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("alarm_id", ForeignKey("alarms.alarm_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("change", String(16), nullable=False),
    Column("capture_ns", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("queued_ns", BigInteger, nullable=False),
    Column("deadline_ns", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ns", BigInteger, nullable=False),  # not to be tried before
    Column("settled_ns", BigInteger),
    Column("error", Text, nullable=False),
    Index(None, "state", "centre", "sequence"),
)

#: Centres that answered 410 and were not enabled since.
disabled_centres = Table(
    "disabled_centres",
    metadata,
    Column("centre", String(64), primary_key=True),
    Column("since_ns", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

#: Messages for the bus, written in the transaction that makes them true, deleted when the bus has them.
outbox = Table(
    "outbox",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("topic", String(64), nullable=False),
    Column("body", Text, nullable=False),
)

#: One time per name, UTC nanoseconds.
marks = Table(
    "marks",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
)

#: The system log.
log = Table(
    "log",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("at_ns", BigInteger, nullable=False, index=True),
    Column("channel", String(64), nullable=False),
    Column("alarm_id", String(36), nullable=False),
    Column("text", Text, nullable=False),
)
