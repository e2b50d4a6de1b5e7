"""The clocks that stamped the frames, as this worker sees them. Large differences are told: recordings, schedules and alarms go by them."""

from __future__ import annotations

import structlog

from services.analytics.core.clock_difference import ClockDifference
from shared.domain.clock import NS_PER_S, Clock, ns_to_seconds
from shared.messages import FrameMessage

log = structlog.get_logger(__name__)

#: A difference from here on is told.
TOLD_NS = NS_PER_S


class Clocks:
    """By channel; those of one recorder learn the same."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._differences: dict[str, ClockDifference] = {}
        self._told: set[str] = set()

    def learn(self, frame: FrameMessage) -> None:
        """A frame has come, and nothing held it up."""
        difference = self._differences.setdefault(frame.channel, ClockDifference())
        difference.learn(frame.published_ns, self._clock.now_ns(), self._clock.monotonic_ns())
        if abs(difference.ns) < TOLD_NS:
            self._told.discard(frame.channel)
        elif frame.channel not in self._told:
            self._told.add(frame.channel)
            log.warning(
                "this machine's clock and that of the camera's recorder differ: set both by the same time server (NTP)",
                channel=frame.channel, ahead_s=round(ns_to_seconds(difference.ns), 1),
            )  # fmt: skip

    def now_ns(self, channel: str) -> int:
        """Now, by the clock that stamps the frames of `channel`."""
        difference = self._differences.get(channel)
        return self._clock.now_ns() - (difference.ns if difference is not None else 0)

    def details(self) -> dict[str, float]:
        """For health: the largest difference, where it is worth telling. Seconds by which this machine's clock is ahead."""
        largest = max((difference.ns for difference in self._differences.values()), key=abs, default=0)
        return {"clock_ahead_s": round(ns_to_seconds(largest), 1)} if abs(largest) >= TOLD_NS else {}
