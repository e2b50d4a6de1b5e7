"""Since when messages are heard without a break, on a clock that may be set meanwhile."""

from __future__ import annotations

from shared.domain.clock import NS_PER_S

#: Wall clock and monotonic clock that part by more than this: the wall clock was set, or the machine was suspended.
SET_NS = 1 * NS_PER_S


class Listening:
    """What was silent before `since_ns` is not lost for that: nothing could be heard, or how long it was silent cannot be told.

    Attributes:
        since_ns: this machine's clock. Never ahead of it at a `look`, but for less than `SET_NS`.
    """

    def __init__(self) -> None:
        self.since_ns = 0
        self._apart_ns = 0

    def begin(self, now_ns: int, monotonic_ns: int) -> None:
        """From now on messages are heard."""
        self.since_ns, self._apart_ns = now_ns, now_ns - monotonic_ns

    def look(self, now_ns: int, monotonic_ns: int) -> bool:
        """Whether the clock was set since the last look. Then silence counts anew: a jump forward is none, and before a jump back was a
        time that is yet to come.
        """
        apart_ns = now_ns - monotonic_ns
        if abs(apart_ns - self._apart_ns) <= SET_NS:
            return False
        self.since_ns, self._apart_ns = now_ns, apart_ns
        return True
