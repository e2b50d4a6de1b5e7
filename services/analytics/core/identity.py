"""Identities that outlive the tracker's: numbers never reused, the class by vote, and a track that is lost and found under a new number
near where it was is the same one. A rule then sees one walk, also when the tracker's identity switches on the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.targets import Detection, TargetClass, TrackedObject

#: A track may be found again this long after it was lost.
FOUND_WITHIN_NS = 1 * NS_PER_S
#: Kept for its number and its votes for as long as the tracker may bring it back itself.
KEEP_NS = 3 * NS_PER_S
#: How far it may have gone meanwhile: shares of its own height, at once and for every second more.
REACH, REACH_PER_S = 0.25, 0.75
#: How much its height may differ from that of before.
HEIGHT_RATIO = 1.4


@dataclass(slots=True)
class _Known:
    """A track of ours. `source`: its number in the tracker now. `votes`: score by class."""

    number: int
    source: int
    box: Box
    seen_ns: int
    votes: dict[TargetClass, float] = field(default_factory=dict)

    @property
    def target(self) -> TargetClass:
        return max(self.votes, key=lambda target: self.votes[target])


class Identities:
    """From the tracker's numbers to ours."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}  # by the tracker's number
        self._next = 1

    def step(self, found: Sequence[tuple[int, Detection]], time_ns: int, aspect: float) -> tuple[TrackedObject, ...]:
        """The tracks of one analysed frame.

        Args:
            found: the tracker's number and the detection it belongs to.
        """
        for source in [s for s, known in self._known.items() if time_ns - known.seen_ns > KEEP_NS]:
            del self._known[source]
        here = {source for source, _ in found}
        tracks = []
        for source, detection in found:
            known = self._known.get(source) or self._found_again(source, detection, here, time_ns, aspect) or self._new(source, detection)
            known.box, known.seen_ns = detection.box, time_ns
            known.votes[detection.target] = known.votes.get(detection.target, 0.0) + detection.score
            tracks.append(TrackedObject(known.number, detection.box, known.target, detection.score))
        return tuple(sorted(tracks, key=lambda track: track.track_id))

    def missing(self, time_ns: int) -> bool:
        """Whether someone who was here a moment ago was not in the frame of `time_ns`, the last one analysed."""
        return any(0 < time_ns - known.seen_ns <= FOUND_WITHIN_NS for known in self._known.values())

    def _new(self, source: int, detection: Detection) -> _Known:
        known = _Known(self._next, source, detection.box, 0)
        self._known[source] = known
        self._next += 1
        return known

    def _found_again(self, source: int, detection: Detection, here: set[int], time_ns: int, aspect: float) -> _Known | None:
        lost = [
            (distance, known)
            for known in self._known.values()
            if known.source not in here and (distance := _misfit(known, detection, time_ns, aspect)) <= 1.0
        ]
        if not lost:
            return None
        _, known = min(lost, key=lambda pair: pair[0])
        del self._known[known.source]
        known.source = source
        self._known[source] = known
        return known

    def export(self) -> dict[str, Any]:
        """Numbers, boxes and votes as a plain value."""
        return {
            "next": self._next,
            "known": [
                {
                    "number": known.number,
                    "source": known.source,
                    "box": [known.box.x1, known.box.y1, known.box.x2, known.box.y2],
                    "seen_ns": known.seen_ns,
                    "votes": {target.value: score for target, score in known.votes.items()},
                }
                for known in self._known.values()
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._next = int(state["next"])
        self._known = {}
        for entry in state["known"]:
            votes = {TargetClass(target): float(score) for target, score in entry["votes"].items()}
            source = int(entry["source"])
            self._known[source] = _Known(int(entry["number"]), source, Box(*entry["box"]), int(entry["seen_ns"]), votes)


def _misfit(known: _Known, detection: Detection, time_ns: int, aspect: float) -> float:
    """How far a detection is from being a lost track: up to 1 it may be."""
    lost_ns = time_ns - known.seen_ns
    heights = sorted((known.box.height, detection.box.height))
    if not 0 < lost_ns <= FOUND_WITHIN_NS or known.target is not detection.target or heights[1] > heights[0] * HEIGHT_RATIO:
        return math.inf
    foot, before = detection.box.foot, known.box.foot
    reach = heights[1] * (REACH + REACH_PER_S * lost_ns / NS_PER_S)
    return math.hypot((foot.x - before.x) * aspect, foot.y - before.y) / reach if reach > 0 else math.inf
