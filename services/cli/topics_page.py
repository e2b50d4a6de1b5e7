"""`docs/topics.md`, made from `shared/topics.py`. Run this module to write it; a test fails when the page drifts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from shared.messages import ChannelMessage
from shared.topics import ALL, DAY_NS, HOUR_NS, MIB, MINUTE_NS, OnFull, Topic

_HEAD = """# Topics

Made from `shared/topics.py`; write it again with `python -m services.cli.topics_page docs/topics.md`.

Every arrow between services is a topic. Messages of a channel go to partition `channel_number % partitions`, so a channel keeps its
order and its partition number along the whole flow; all others go to partition 0. Delivery is at least once (`shared/bus/port.py`);
the wire form is in `shared/messages/codec.py`, with an example of each message in `tests/contract/golden/`. How many bytes `segments`
and `frames` keep can be set (`bus.retention`; `vedette plan` says what a site needs); below is what they are made with. How long goes by
the broker's clock, but for `frames`, where it goes by the publisher's.
"""


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join([_HEAD, *_summary(), "", *(line for topic in ALL for line in _section(topic))])


def _summary() -> list[str]:
    rows = [
        f"| [{topic.name}](#{topic.name}) | {_key(topic)} | `{topic.message.__name__}` | {', '.join(topic.writers)} |"
        f" {', '.join(topic.readers)} | {_retention(topic)} |"
        for topic in ALL
    ]
    return ["| topic | key | message | writers | readers | retention |", "|---|---|---|---|---|---|", *rows]


def _section(topic: Topic[Any]) -> list[str]:
    purpose = (topic.message.__doc__ or "").strip().splitlines()[0]
    value = "all fields as JSON"
    if topic.message.payload_field is not None:
        value = f"the raw value is `{topic.message.payload_field}`, the other fields are JSON in the header `meta`"
    lines = [
        f"## {topic.name}",
        "",
        purpose,
        "",
        f"- Value: {value}; at most {topic.max_message_bytes // MIB} MiB.",
        f"- Partitions: {topic.partitions}. Retention: {_retention(topic)}.",
        f"- In one process: {_embedded(topic)}.",
    ]
    if topic.durable_by:
        lines.append(
            f"- Durable once committed by: {', '.join(topic.durable_by)} (in one process; on Kafka by the broker's acknowledgement)."
        )
    return [*lines, "", "| field | type | |", "|---|---|---|", *_fields(topic), ""]


def _fields(topic: Topic[Any]) -> list[str]:
    rows = []
    for name, field in topic.message.model_fields.items():
        kind = getattr(field.annotation, "__name__", None) if not getattr(field.annotation, "__args__", ()) else None
        text = (kind or str(field.annotation)).replace("typing.", "").replace("|", "or")
        for module in ("shared.messages.analytics.", "shared.domain.targets."):
            text = text.replace(module, "")
        rows.append(f"| `{name}` | {text} | {'' if field.is_required() else 'optional'} |")
    return rows


def _key(topic: Topic[Any]) -> str:
    if topic.compacted:
        return "version"
    return "channel" if issubclass(topic.message, ChannelMessage) else "none"


def _retention(topic: Topic[Any]) -> str:
    if topic.compacted:
        return "compacted"
    for unit_ns, unit in ((DAY_NS, "day"), (HOUR_NS, "hour"), (MINUTE_NS, "minute")):
        if topic.retention_ns % unit_ns == 0:
            count = topic.retention_ns // unit_ns
            time = f"{count} {unit}{'' if count == 1 else 's'}"
            break
    else:
        time = f"{topic.retention_ns / 1e9:g} seconds"
    return time if topic.retention_bytes is None else f"{time}, {topic.retention_bytes // MIB} MiB a partition"


def _embedded(topic: Topic[Any]) -> str:
    if topic.kept:
        bound = f"at most {topic.capacity} messages and {topic.capacity_bytes // MIB} MiB"
        return f"in files of the data folder, {bound}; then the oldest are dropped, which is reported"
    bound = f"at most {topic.capacity} messages and {topic.capacity_bytes // MIB} MiB a partition wait for the slowest group"
    return f"{bound}; then {'the writer waits' if topic.on_full is OnFull.BLOCK else 'the oldest are dropped and counted'}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
