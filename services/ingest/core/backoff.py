"""Waiting between attempts to reach a camera. Ours, not stamina's: the waiting thread must wake at once when it is stopped."""

from __future__ import annotations


class Backoff:
    """Doubles from `min_s` to `max_s`; each wait is spread over its upper half, so that cameras do not come back in step."""

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s, self._max_s = min_s, max(min_s, max_s)
        self._next_s = min_s

    def next(self, random_01: float) -> float:
        """Seconds to wait now, given a random number of 0..1."""
        wait_s = self._next_s * (0.5 + 0.5 * random_01)
        self._next_s = min(self._next_s * 2, self._max_s)
        return wait_s

    def reset(self) -> None:
        """The attempt succeeded."""
        self._next_s = self._min_s
