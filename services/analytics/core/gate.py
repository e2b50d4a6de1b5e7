"""The motion gate: which frames the detector looks at. Gating is where the channels come from: a still picture costs a hundredth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.analytics.core.motion import Motion
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.domain.geometry import Point
from shared.domain.targets import TrackedObject

#: A track that went further than this share of the picture's height within the last second is moving.
MOVING_SHARE = 0.01
#: After motion the detector stays on this long: whoever stops walking is seen standing.
LINGER_NS = 1 * NS_PER_S


@dataclass(slots=True)
class _Seen:
    at: Point
    at_ns: int


class Gate:
    """Looks when something moves and a while after it, when someone is missing, when the light changed, and every `recheck_s`."""

    def __init__(self, *, threshold: float, recheck_s: float, enabled: bool = True) -> None:
        """`threshold`: share of the picture that must move."""
        self._threshold, self._recheck_ns, self._enabled = threshold, seconds_to_ns(recheck_s), enabled
        self._looked_ns = self._moved_ns = 0
        self._seen: dict[int, _Seen] = {}

    def open(self, motion: Motion, time_ns: int, *, missing: bool) -> bool:
        """Whether the detector shall look at this frame.

        Args:
            missing: a track of a moment ago was not seen in the frame looked at last.
        """
        if time_ns < self._looked_ns:  # a clock was set back: the times of before come again
            self._looked_ns, self._moved_ns, self._seen = 0, 0, {}
        if motion.light or (motion.share > 0 and motion.share >= self._threshold):
            self._moved_ns = time_ns
        since_look_ns = time_ns - self._looked_ns
        look = not self._enabled or missing or time_ns - self._moved_ns <= LINGER_NS or since_look_ns >= self._recheck_ns
        if look:
            self._looked_ns = time_ns
        return look

    def tracked(self, tracks: Sequence[TrackedObject], time_ns: int, aspect: float) -> None:
        """What the tracker saw in a frame that was looked at: tracks that move keep the gate open, however small they are."""
        seen = {}
        for track in tracks:
            centre = Point(track.box.centre.x * aspect, track.box.centre.y)
            before = self._seen.get(track.track_id)
            if before is not None and math.dist(before.at, centre) > MOVING_SHARE:
                self._moved_ns = time_ns
                before = None
            seen[track.track_id] = _Seen(centre, time_ns) if before is None or time_ns - before.at_ns > NS_PER_S else before
        self._seen = seen
