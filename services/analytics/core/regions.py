"""Moving regions over time: which of them travel. Leaves and flames tremble in place, cars and people go somewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box, Point

#: A region that is not seen for this long is forgotten.
FORGET_NS = 1 * NS_PER_S
#: Regions tracked at once; the largest first.
MAX_REGIONS = 32


@dataclass(frozen=True, slots=True)
class MovingRegion:
    """A region of the motion stage. `travelled`: how far its centre is from where it was first seen, in shares of the picture's height."""

    box: Box
    travelled: float


@dataclass(slots=True)
class _Path:
    box: Box
    origin: Point
    seen_ns: int


class RegionPaths:
    """Follows regions by overlap from frame to frame."""

    def __init__(self) -> None:
        self._paths: list[_Path] = []

    def step(self, regions: Sequence[Box], time_ns: int, aspect: float) -> tuple[MovingRegion, ...]:
        """The regions of this moment with the way they have come."""
        free = [path for path in self._paths if time_ns - path.seen_ns <= FORGET_NS]
        paths: list[_Path] = []
        moving = []
        for box in regions[:MAX_REGIONS]:
            path = max(free, key=lambda candidate: _common(candidate.box, box), default=None)
            if path is None or _common(path.box, box) <= 0:
                path = _Path(box, box.centre, time_ns)
            else:
                free.remove(path)
                path.box, path.seen_ns = box, time_ns
            paths.append(path)
            travelled = math.hypot((box.centre.x - path.origin.x) * aspect, box.centre.y - path.origin.y)
            moving.append(MovingRegion(box, travelled))
        self._paths = [*paths, *free]
        return tuple(moving)


def _common(first: Box, second: Box) -> float:
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    return width * height if width > 0 and height > 0 else 0.0
