"""Which recording is the oldest. Pure.

By the time that it begins. After the clock was set back, what bears times to come was recorded before, and goes before what is recorded
since: that would else be deleted as soon as it is stored, where all that a disk holds bears times to come.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.storage.core.clock_watch import ClockWatch
from shared.domain.clock import NS_PER_S

#: Footage that begins this much later than now bears a time to come. The clocks of two machines differ by less.
AHEAD_NS = 300 * NS_PER_S

#: Times that items begin in: from the first, to before the second; None: without end.
Range = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Turns:
    """Ranges of time that go one after the other, each by time. Together they are all times."""

    ranges: tuple[Range, ...] = ((None, None),)

    def age(self, start_ns: int, id_: str) -> tuple[int, int, str]:
        """What to sort by: the less, the older."""
        return next(turn for turn, times in enumerate(self.ranges) if _within(start_ns, times)), start_ns, id_


def _within(at_ns: int, times: Range) -> bool:
    from_ns, to_ns = times
    return (from_ns is None or at_ns >= from_ns) and (to_ns is None or at_ns < to_ns)


BY_TIME = Turns()


def turns(clock: ClockWatch) -> Turns:
    """By what was seen of the clock."""
    ahead_ns = clock.wall_ns + AHEAD_NS
    if clock.back is None or clock.back.until_ns < ahead_ns:
        return BY_TIME
    return Turns(((None, clock.back.from_ns), (ahead_ns, None), (clock.back.from_ns, ahead_ns)))
