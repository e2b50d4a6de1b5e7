"""`vedette topics`: what flows between the services."""

from __future__ import annotations

from rich.table import Table

from services.cli.output import OUT
from shared.domain.clock import NS_PER_S
from shared.topics import ALL


def duration(ns: int) -> str:
    """Nanoseconds as whole days, hours, minutes or seconds."""
    seconds = ns // NS_PER_S
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def print_topics() -> None:
    """A table for people; `docs/topics.md` has more."""
    table = Table("topic", "message", "partitions", "kept", "written by", "read by", "when full")
    for topic in ALL:
        kept = duration(topic.retention_ns)
        if topic.retention_bytes is not None:
            kept += f" or {topic.retention_bytes // 2**20} MiB a partition"
        full = topic.on_full.value.replace("_", " ")
        table.add_row(
            topic.name, topic.message.__name__, str(topic.partitions), kept, ", ".join(topic.writers), ", ".join(topic.readers), full
        )
    OUT.print(table)
