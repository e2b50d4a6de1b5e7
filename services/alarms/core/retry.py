"""When a delivery is tried again: exponential back-off with jitter, up to a deadline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before the first new attempt, doubled each time up to the longest.

    Raises:
        ValueError: `longest_s` is shorter than `shortest_s`, or one is not positive.
    """

    shortest_s: float
    longest_s: float

    def __post_init__(self) -> None:
        if not 0 < self.shortest_s <= self.longest_s:
            raise ValueError(f"back-off from {self.shortest_s} s to {self.longest_s} s")

    def delay_s(self, attempt: int, jitter: float) -> float:
        """How long to wait after failed attempt number `attempt` (from 1).

        Args:
            jitter: 0..1, drawn by the caller; 1 is the whole delay, 0 half of it ("equal jitter": never at once, never all together).
        """
        doublings = min(attempt - 1, 64)  # beyond it every pair of sensible numbers has met its longest
        whole_s = min(self.longest_s, self.shortest_s * 2.0**doublings)
        return whole_s * (0.5 + 0.5 * jitter)

    def next_attempt_ns(self, attempt: int, jitter: float, now_ns: int, deadline_ns: int, retry_after_s: float | None) -> int | None:
        """When to try again after attempt number `attempt` failed at `now_ns`; None: not before the deadline, give up. All times are of one
        clock: better the monotonic one, for the other may be set.

        Args:
            retry_after_s: what the destination asked for, or None. It is honoured when it is longer than the back-off.
        """
        wait_s = max(self.delay_s(attempt, jitter), retry_after_s or 0.0)
        at_ns = now_ns + round(wait_s * 1e9)
        return at_ns if at_ns <= deadline_ns else None
