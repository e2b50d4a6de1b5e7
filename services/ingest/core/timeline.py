"""The capture clock: media time to UTC, by sender reports where they agree with us, else by arrival (docs/design/time.md)."""

from __future__ import annotations

from enum import StrEnum

SENDER_LIMIT_NS = 2_000_000_000  # a camera clock further away than this is not believed
CLOCK_STEP_NS = 500_000_000  # our wall clock moved against the monotonic one by more: it was set
SLEW = 0.01  # of the media time gone by: how much the offset may follow its target
BUCKET_NS = 60_000_000_000  # the least delay is taken over this bucket and the one before


class Source(StrEnum):
    """What capture times come from now."""

    SENDER = "sender"
    ARRIVAL = "arrival"


class CaptureClock:
    """Capture times of one session. Media time is nanoseconds from the start of the session; it rises.

    `observe` each packet, `steer` at each segment's start; `at` is constant in its offset in between.
    """

    __slots__ = ("_bucket_end_ns", "_least_ns", "_offset_ns", "_previous_least_ns", "_skew_ns", "_steered_ns", "source")

    def __init__(self) -> None:
        self._least_ns: int | None = None  # min(arrival - media) on the monotonic clock, this bucket
        self._previous_least_ns: int | None = None
        self._bucket_end_ns = 0
        self._skew_ns: int | None = None  # wall - monotonic
        self._offset_ns: int | None = None
        self._steered_ns = 0
        self.source = Source.ARRIVAL

    def observe(self, media_ns: int, monotonic_ns: int) -> None:
        """A packet of that media time arrived at that monotonic time."""
        delay_ns = monotonic_ns - media_ns
        if self._least_ns is None:
            self._least_ns, self._bucket_end_ns = delay_ns, monotonic_ns + BUCKET_NS
        elif monotonic_ns > self._bucket_end_ns:
            self._previous_least_ns, self._least_ns = self._least_ns, delay_ns
            self._bucket_end_ns = monotonic_ns + BUCKET_NS
        elif delay_ns < self._least_ns:
            self._least_ns = delay_ns

    def check_clock(self, monotonic_ns: int, wall_ns: int) -> int:
        """How far our wall clock was set since the last call, nanoseconds; 0 when it was not. The offset moves along."""
        skew_ns = wall_ns - monotonic_ns
        last_ns, self._skew_ns = self._skew_ns, skew_ns
        if last_ns is None or abs(skew_ns - last_ns) <= CLOCK_STEP_NS:
            return 0
        if self._offset_ns is not None:
            self._offset_ns += skew_ns - last_ns
        return skew_ns - last_ns

    def steer(self, media_ns: int, sender_ns: int | None) -> None:
        """Move the offset towards its target. `observe` and `check_clock` come before.

        Args:
            media_ns: now.
            sender_ns: capture time of this moment by the camera's clock, UTC, or None.
        """
        assert self._least_ns is not None, "observe comes first"
        assert self._skew_ns is not None, "check_clock comes first"
        least_ns = self._least_ns if self._previous_least_ns is None else min(self._least_ns, self._previous_least_ns)
        target_ns = least_ns + self._skew_ns
        self.source = Source.ARRIVAL
        if sender_ns is not None and abs(sender_ns - media_ns - target_ns) <= SENDER_LIMIT_NS:
            target_ns = sender_ns - media_ns
            self.source = Source.SENDER
        if self._offset_ns is None:
            self._offset_ns = target_ns
        else:
            most_ns = int(max(0, media_ns - self._steered_ns) * SLEW)
            self._offset_ns += max(-most_ns, min(most_ns, target_ns - self._offset_ns))
        self._steered_ns = media_ns

    def at(self, media_ns: int) -> int:
        """Capture time of a media time, UTC nanoseconds. `steer` was called at least once."""
        assert self._offset_ns is not None, "steer comes first"
        return media_ns + self._offset_ns

    @property
    def ready(self) -> bool:
        """Whether `at` can be asked."""
        return self._offset_ns is not None
