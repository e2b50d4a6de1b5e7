"""What a time bar shows: spans of footage, contiguous ones merged, gaps visible, alarm footage on top. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.storage.core.model import Kind, Span
from shared.domain.clock import NS_PER_S

#: Files that begin within this after the end of the one before are contiguous to the eye: clock steering, not a gap.
GAP_NS = NS_PER_S // 2


@dataclass(frozen=True, slots=True)
class BarSpan:
    """A stretch of one kind on the bar."""

    from_ns: int
    to_ns: int
    kind: Kind


def bar(footage: Iterable[tuple[int, int]], spans: Iterable[Span], from_ns: int, to_ns: int) -> list[BarSpan]:
    """The bar between `from_ns` and `to_ns`.

    Args:
        footage: (start_ns, end_ns) of recordings of one channel, in any order.
        spans: the channel's alarm spans; only where there is footage is there alarm footage.
    """
    covered = _clipped(_merged(footage, GAP_NS), from_ns, to_ns)
    alarms = _merged(((span.from_ns, span.to_ns) for span in spans), 0)
    result = []
    for start, end in covered:
        at = start
        for alarm_start, alarm_end in _clipped(alarms, start, end):
            if alarm_start > at:
                result.append(BarSpan(at, alarm_start, Kind.GENERAL))
            result.append(BarSpan(alarm_start, alarm_end, Kind.ALARM))
            at = alarm_end
        if at < end:
            result.append(BarSpan(at, end, Kind.GENERAL))
    return result


def _merged(stretches: Iterable[tuple[int, int]], gap_ns: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if merged and start - merged[-1][1] <= gap_ns:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _clipped(stretches: Sequence[tuple[int, int]], from_ns: int, to_ns: int) -> list[tuple[int, int]]:
    return [(max(start, from_ns), min(end, to_ns)) for start, end in stretches if start < to_ns and end > from_ns]
