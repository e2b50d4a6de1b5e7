"""When the wall clock was set, told by the monotonic clock beside it."""

from __future__ import annotations

from shared.domain.clock import NS_PER_S

#: The two part by more than this: the wall clock was set, or the machine was suspended.
SET_NS = 1 * NS_PER_S


class ClockSteps:
    """What was seen of both clocks at the last look, or when the wall clock was last set."""

    def __init__(self) -> None:
        self._apart_ns: int | None = None

    def moved_ns(self, apart_ns: int) -> int:
        """By how much the wall clock was set since, nanoseconds; 0: it was not, or nobody looked before.

        Args:
            apart_ns: wall clock less monotonic clock, now.
        """
        moved_ns = 0 if self._apart_ns is None else apart_ns - self._apart_ns
        if self._apart_ns is not None and abs(moved_ns) <= SET_NS:
            return 0
        self._apart_ns = apart_ns
        return moved_ns
