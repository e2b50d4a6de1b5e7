"""Who crosses a line, and which way: the heart of tripwire and people counting.

A walk counts when the foot has left the hysteresis band around the line on one side, and has left it on the other side later, and its
way between went through the line's segments. So jitter on the line counts nothing, however long, and a way round the line's end counts
nothing either. Nor does a way that nobody could see, over a restart: who is found across the line may be another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.analytics.core.plane import ON_LINE, Polyline, inside_frame, scaled
from services.analytics.core.rules.base import FORGET_NS, State, left_to_right
from shared.config.rules import Direction
from shared.domain.geometry import Point
from shared.domain.targets import TrackedObject


@dataclass(slots=True)
class _Walk:
    """One track near one line. `at`: its last foot point off the line (scaled). `net`: crossings since it last left the band.
    `settled`: it has been outside the band. `seen_ns`: when it was last seen."""

    at: Point
    net: int
    settled: bool
    seen_ns: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """A track has crossed."""

    track: TrackedObject
    direction: Direction


class LineCrossings:
    """Crossings of one line by any number of tracks."""

    def __init__(self, points: Sequence[Point], hysteresis: float) -> None:
        """`hysteresis`: half the band's width, in shares of the picture's height."""
        self._points, self._band = points, hysteresis
        self._line: tuple[float, Polyline] | None = None
        self._walks: dict[int, _Walk] = {}
        self._resumed_ns = 0

    def step(self, tracks: Sequence[TrackedObject], time_ns: int, aspect: float) -> list[Crossing]:
        """The crossings that end in this moment, from left to right."""
        line = self._line_for(aspect)
        found = []
        for track in left_to_right(list(tracks)):
            net = self._walk(track, line, time_ns, aspect)
            if net:
                found.append(Crossing(track, Direction.A_TO_B if net > 0 else Direction.B_TO_A))
        for track_id in [i for i, walk in self._walks.items() if self._lost(walk, time_ns)]:
            del self._walks[track_id]
        return found

    def _walk(self, track: TrackedObject, line: Polyline, time_ns: int, aspect: float) -> int:
        foot = scaled(inside_frame(track.box.foot), aspect)
        distance = line.distance(foot)
        walk = self._walks.get(track.track_id)
        if walk is None or self._lost(walk, time_ns) or self._unseen(walk, foot, line, time_ns):
            self._walks[track.track_id] = _Walk(foot, 0, distance > self._band, time_ns)
            return 0
        walk.seen_ns = time_ns
        if distance <= ON_LINE:
            return 0  # exactly on the line: the way goes on from the point before
        walk.net += line.crossings(walk.at, foot)
        walk.at = foot
        if distance <= self._band:
            return 0
        net = walk.net if walk.settled else 0
        walk.net, walk.settled = 0, True
        return net

    def _lost(self, walk: _Walk, time_ns: int) -> bool:
        return time_ns - max(walk.seen_ns, self._resumed_ns) > FORGET_NS

    def _unseen(self, walk: _Walk, foot: Point, line: Polyline, time_ns: int) -> bool:
        """Whether it came to the line, or through it, while nobody could look for so long that it would else have been lost."""
        if time_ns - walk.seen_ns <= FORGET_NS:
            return False
        return line.distance(foot) <= ON_LINE or line.crossings(walk.at, foot) != 0

    def forget(self) -> None:
        """Nobody is on the way any more, and what comes may be earlier than when we resumed."""
        self._walks.clear()
        self._resumed_ns = 0

    def resume(self, time_ns: int) -> None:
        """Nobody could be seen until now: walks are as fresh as they were."""
        self._resumed_ns = time_ns

    def _line_for(self, aspect: float) -> Polyline:
        if self._line is None or self._line[0] != aspect:
            self._line = (aspect, Polyline(self._points, aspect))
        return self._line[1]

    def export(self) -> State:
        return {str(i): [walk.at.x, walk.at.y, walk.net, walk.settled, walk.seen_ns] for i, walk in self._walks.items()}

    def restore(self, state: State) -> None:
        self._walks = {int(i): _Walk(Point(x, y), int(net), bool(settled), int(seen)) for i, (x, y, net, settled, seen) in state.items()}
