"""Lines and zones in the plane. Lengths are in shares of the picture's height: x is scaled by the aspect ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from shared.domain.geometry import Point

#: Closer than this to a line is on it.
ON_LINE = 1e-9
#: How far inside the frame a foot is taken to be that lies on its border: a line or zone drawn to the border includes it.
BORDER = 1e-6


def inside_frame(point: Point) -> Point:
    """The point, moved off the frame's border, outside which nothing is."""
    return Point(min(max(point.x, BORDER), 1 - BORDER), min(max(point.y, BORDER), 1 - BORDER))


def scaled(point: Point, aspect: float) -> Point:
    """In units of the picture's height on both axes."""
    return Point(point.x * aspect, point.y)


def orientation(a: Point, b: Point, p: Point) -> float:
    """Twice the signed area of a, b, p: negative when p lies to the left of the way a -> b as seen on a picture (y down)."""
    return (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x)


def distance_to_segment(p: Point, a: Point, b: Point) -> float:
    """From a point to the nearest point of a segment."""
    dx, dy = b.x - a.x, b.y - a.y
    length2 = dx * dx + dy * dy
    along = 0.0 if length2 == 0 else min(1.0, max(0.0, ((p.x - a.x) * dx + (p.y - a.y) * dy) / length2))
    return math.hypot(p.x - a.x - along * dx, p.y - a.y - along * dy)


class Polyline:
    """A line of several segments; A is to the right of the way from its first point to its last, B to the left, as seen on the picture."""

    def __init__(self, points: Sequence[Point], aspect: float) -> None:
        corners = [scaled(point, aspect) for point in points]
        self._segments = list(pairwise(corners))

    def distance(self, p: Point) -> float:
        """From a (scaled) point to the line, its ends included: beyond an end the distance is that to the end."""
        return min(distance_to_segment(p, a, b) for a, b in self._segments)

    def crossings(self, p: Point, q: Point) -> int:
        """How often the straight way p -> q crosses from A to B, less how often from B to A: the segments, not their prolongation.

        Neither p nor q may lie on the line. The tests are half open, so that a way through a corner crosses exactly one of the two
        segments that meet there, or both in opposite directions.
        """
        net = 0
        for a, b in self._segments:
            from_b, to_b = orientation(a, b, p) < 0, orientation(a, b, q) < 0
            if from_b != to_b and (orientation(p, q, a) < 0) != (orientation(p, q, b) < 0):
                net += 1 if to_b else -1
        return net


class Zone:
    """A polygon. Edges that run along the frame's border are open: nobody can be beyond them, so nobody must be far from them."""

    def __init__(self, points: Sequence[Point], aspect: float) -> None:
        self._corners = [scaled(point, aspect) for point in points]
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        self._inner = [(scaled(a, aspect), scaled(b, aspect)) for a, b in edges if not _on_border(a, b)]

    def contains(self, p: Point) -> bool:
        """Whether a (scaled) point is inside, by the even-odd rule."""
        inside = False
        for a, b in zip(self._corners, [*self._corners[1:], self._corners[0]], strict=True):
            if (a.y > p.y) != (b.y > p.y) and p.x < a.x + (p.y - a.y) * (b.x - a.x) / (b.y - a.y):
                inside = not inside
        return inside

    def distance(self, p: Point) -> float:
        """From a (scaled) point to the nearest edge that is not the frame's border; infinite when there is none."""
        return min((distance_to_segment(p, a, b) for a, b in self._inner), default=math.inf)


def _on_border(a: Point, b: Point) -> bool:
    return any(
        all(abs(value - side) <= BORDER for value in pair) for pair in ((a.x, b.x), (a.y, b.y)) for side in (0.0, 1.0)
    )  # fmt: skip
