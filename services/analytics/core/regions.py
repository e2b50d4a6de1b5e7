"""Moving regions over time: which of them travel. Leaves and flames tremble in place, cars and people go somewhere."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box

#: A region that is not seen for this long is forgotten.
FORGET_NS = 1 * NS_PER_S
#: Ways are measured over this time.
WINDOW_NS = 2 * NS_PER_S
#: Regions tracked at once; the largest first.
MAX_REGIONS = 32


@dataclass(frozen=True, slots=True)
class MovingRegion:
    """A region of the motion stage. `travelled`: how far it has gone within the last two seconds, in shares of the picture's height.

    On each axis that is the way of the edge that went less far: a region that grows, or merges with another, goes nowhere.
    """

    box: Box
    travelled: float


@dataclass(slots=True)
class _Path:
    """Where a region has been within the window: (time, box), the latest last."""

    steps: deque[tuple[int, Box]]

    @property
    def box(self) -> Box:
        return self.steps[-1][1]

    @property
    def seen_ns(self) -> int:
        return self.steps[-1][0]

    def add(self, box: Box, time_ns: int) -> Box:
        """Go there; where it was a window ago, or when it was first seen."""
        self.steps.append((time_ns, box))
        while time_ns - self.steps[0][0] > WINDOW_NS:
            self.steps.popleft()
        return self.steps[0][1]


class RegionPaths:
    """Follows regions by overlap from frame to frame."""

    def __init__(self) -> None:
        self._paths: list[_Path] = []

    def step(self, regions: Sequence[Box], time_ns: int, aspect: float) -> tuple[MovingRegion, ...]:
        """The regions of this moment with the way they have come."""
        free = [path for path in self._paths if 0 <= time_ns - path.seen_ns <= FORGET_NS]  # below 0: a clock was set back
        paths: list[_Path] = []
        moving = []
        for box in regions[:MAX_REGIONS]:
            path = max(free, key=lambda candidate: _common(candidate.box, box), default=None)
            if path is None or _common(path.box, box) <= 0:
                path = _Path(deque())
            else:
                free.remove(path)
            moving.append(MovingRegion(box, _travelled(path.add(box, time_ns), box, aspect)))
            paths.append(path)
        self._paths = [*paths, *free]
        return tuple(moving)


def _travelled(origin: Box, box: Box, aspect: float) -> float:
    across = _lesser(box.x1 - origin.x1, box.x2 - origin.x2) * aspect
    return math.hypot(across, _lesser(box.y1 - origin.y1, box.y2 - origin.y2))


def _lesser(first: float, second: float) -> float:
    """The smaller of two ways of the same direction, 0 when they differ in it."""
    return min(abs(first), abs(second)) if first * second > 0 else 0.0


def _common(first: Box, second: Box) -> float:
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    return width * height if width > 0 and height > 0 else 0.0
