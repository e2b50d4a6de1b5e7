"""How far this machine's clock is from the one that stamped a channel's frames: a worker on another machine must not take fresh frames for
old ones, nor old ones for fresh, because the two differ.
"""

from __future__ import annotations

from shared.domain.clock import NS_PER_S
from shared.domain.clock_steps import ClockSteps

#: What was learned longer ago than this, or twice this at the most, no longer counts.
WINDOW_NS = 10 * NS_PER_S


class ClockDifference:
    """Learned from the quickest of the frames that came straight, with nothing before them and nothing behind: what they took is the way,
    which is milliseconds, and the difference of the clocks. A worker that is behind has no such frames, learns nothing, and so never takes
    its own delay for a difference. Where one of the clocks was seen to be set, what was learned before is worth nothing.
    """

    def __init__(self) -> None:
        self._before: int | None = None
        self._now: int | None = None
        self._since_ns = self._published_ns = 0
        self._steps = ClockSteps()

    @property
    def ns(self) -> int:
        """Nanoseconds by which this machine's clock is ahead; below 0: behind. 0 until something was learned."""
        return min((delay for delay in (self._before, self._now) if delay is not None), default=0)

    def learn(self, published_ns: int, now_ns: int, monotonic_ns: int) -> None:
        """A frame came straight, in the order in which they were published.

        Args:
            published_ns: when, by the other clock.
            now_ns, monotonic_ns: when it came, by ours.
        """
        was_set = self._steps.moved_ns(now_ns - monotonic_ns) != 0 or published_ns < self._published_ns
        delay_ns, self._published_ns = now_ns - published_ns, published_ns
        if was_set or self._now is None or monotonic_ns - self._since_ns >= WINDOW_NS:
            over = was_set or monotonic_ns - self._since_ns >= 2 * WINDOW_NS
            self._before, self._now, self._since_ns = None if over else self._now, delay_ns, monotonic_ns
        self._now = min(self._now, delay_ns)
