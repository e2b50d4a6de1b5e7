"""Since when messages are heard without a break, on a clock that may be set meanwhile."""

from __future__ import annotations

from shared.domain.clock_steps import ClockSteps


class Listening:
    """What was silent before `since_ns` is not lost for that: nothing could be heard, or how long it was silent cannot be told.

    Attributes:
        since_ns: this machine's clock. Never ahead of it at a `look`, but for less than `clock_steps.SET_NS`.
    """

    def __init__(self) -> None:
        self.since_ns = 0
        self._steps = ClockSteps()

    def begin(self, now_ns: int, monotonic_ns: int) -> None:
        """From now on messages are heard."""
        self.since_ns, self._steps = now_ns, ClockSteps()
        self._steps.moved_ns(now_ns - monotonic_ns)

    def look(self, now_ns: int, monotonic_ns: int) -> bool:
        """Whether the clock was set since the last look. Then silence counts anew: a jump forward is none, and before a jump back was a
        time that is yet to come.
        """
        was_set = self._steps.moved_ns(now_ns - monotonic_ns) != 0
        if was_set:
            self.since_ns = now_ns
        return was_set
