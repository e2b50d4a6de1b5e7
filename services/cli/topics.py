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


#: Columns of the table, the most wanted first; a terminal that is too narrow for all gets the first ones.
_COLUMNS = ("topic", "written by", "read by", "when full", "kept", "message", "partitions")
_ALL_FIT, _FEW_FIT = 140, 4


def print_topics() -> None:
    """A table for people, each cell whole; `docs/topics.md` has more."""
    columns = _COLUMNS if OUT.width >= _ALL_FIT else _COLUMNS[:_FEW_FIT]
    table = Table()
    for name in columns:
        table.add_column(name, no_wrap=name == "topic", overflow="fold")
    for topic in ALL:
        kept = "newest of each key" if topic.compacted else duration(topic.retention_ns)
        if topic.retention_bytes is not None:
            kept += f" or {topic.retention_bytes // 2**20} MiB a partition"
        cells = (
            topic.name, ", ".join(topic.writers), ", ".join(topic.readers), topic.on_full.value.replace("_", " "),
            kept, topic.message.__name__, str(topic.partitions),
        )  # fmt: skip
        table.add_row(*cells[: len(columns)])
    OUT.print(table, soft_wrap=False)
