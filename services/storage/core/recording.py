"""Whether a segment is recorded, and as what. Pure.

Outside continuous recording the pre-record ring is on disk: segments go to provisional files, which an alarm's span claims and which
are deleted when none did (why: docs/design/segment-lifecycle.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from services.storage.core.model import Kind, Span
from shared.config.channels import RecordMode
from shared.domain.clock import NS_PER_S

#: How long unclaimed provisional footage is kept after its end: the longest pre-record (30 s), and the way of an alarm to us.
CLAIM_WINDOW_NS = 90 * NS_PER_S


def touches(span: Span, start_ns: int, end_ns: int) -> bool:
    """Whether any of the footage `start_ns` to `end_ns` is in the span."""
    return span.from_ns < end_ns and start_ns < span.to_ns


def kind_of(mode: RecordMode, *, in_schedule: bool, spans: Iterable[Span], start_ns: int, end_ns: int) -> Kind | None:
    """What footage of this time is kept as; None: it is not recorded.

    Args:
        in_schedule: whether the channel's schedule is active at `start_ns` (asked for in mode SCHEDULE only).
        spans: alarm spans of the channel.
    """
    if mode is RecordMode.OFF:
        return None
    if any(touches(span, start_ns, end_ns) for span in spans):
        return Kind.ALARM
    if mode is RecordMode.ALWAYS or (mode is RecordMode.SCHEDULE and in_schedule):
        return Kind.GENERAL
    return Kind.PROVISIONAL


def kind_of_file(file: Kind | None, segment: Kind) -> Kind:
    """The kind of a file after a segment was added: the highest of its segments' (alarm > general > provisional)."""
    order = (Kind.PROVISIONAL, Kind.GENERAL, Kind.ALARM)
    return segment if file is None else max(file, segment, key=order.index)


def unclaimed(kind: Kind, end_ns: int, now_ns: int) -> bool:
    """Whether a file is pre-record footage that no alarm wanted."""
    return kind is Kind.PROVISIONAL and now_ns - end_ns > CLAIM_WINDOW_NS
