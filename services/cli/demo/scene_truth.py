"""What moves in a demo scene, and what is therefore true of it. Pure: times in seconds, geometry 0..1 of the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from shared.domain.geometry import Box, Point
from shared.domain.targets import TargetClass

ASPECT = 16 / 9  # of every demo scene
_STEP_S = 0.02  # finer than any frame; events between are found by bisection


class Direction(StrEnum):
    """Across a vertical line, as the picture shows it."""

    LEFT_TO_RIGHT = "left_to_right"
    RIGHT_TO_LEFT = "right_to_left"


class Passage(StrEnum):
    """At the edge of a zone."""

    ENTER = "enter"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Where an actor's foot point (bottom centre of its box) is at a time."""

    time_s: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Actor:
    """A figure on its way; it exists from its first to its last waypoint, both outside the frame.

    `height` is the figure's, of the frame's; `aspect` its width over height; `faces_left` as in the photograph.
    """

    name: str
    figure: str
    target: TargetClass
    height: float
    aspect: float
    path: tuple[Waypoint, ...]
    faces_left: bool = True

    def foot(self, time_s: float) -> Point | None:
        """The foot point on the planned path, None before and after it."""
        if not self.path[0].time_s <= time_s <= self.path[-1].time_s:
            return None
        for a, b in pairwise(self.path):
            if time_s <= b.time_s:
                share = (time_s - a.time_s) / (b.time_s - a.time_s)
                return Point(a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share)
        return None

    def heading(self, time_s: float) -> int:
        """-1 to the left, +1 to the right; while standing, as before."""
        heading = 1
        for a, b in pairwise(self.path):
            if b.x != a.x:
                heading = 1 if b.x > a.x else -1
            if time_s <= b.time_s:
                break
        return heading

    def box(self, time_s: float) -> Box | None:
        """The figure's whole box with the bob of its gait, also where it is outside the frame."""
        foot = self.foot(time_s)
        if foot is None:
            return None
        gait = 0.0 if self.target is TargetClass.MOTOR_VEHICLE else abs(math.sin(time_s * 2 * math.pi))
        height = self.height * (1 + 0.012 * gait)
        half = height * self.aspect / ASPECT / 2
        bottom = foot.y - 0.004 * gait
        return Box(foot.x - half, bottom - height, foot.x + half, bottom)

    def fully_visible(self, time_s: float) -> bool:
        """Whether all of the figure is inside the frame."""
        box = self.box(time_s)
        return box is not None and box.x1 >= 0 and box.y1 >= 0 and box.x2 <= 1 and box.y2 <= 1


@dataclass(frozen=True, slots=True)
class Crossing:
    """An actor's foot point goes over the line."""

    time_s: float
    actor: str
    line: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class ZonePassage:
    """An actor's foot point goes into the zone or out of it."""

    time_s: float
    actor: str
    zone: str
    passage: Passage


@dataclass(frozen=True, slots=True)
class VerticalLine:
    """A line from the top to the bottom of the frame at `x`."""

    name: str
    x: float

    @property
    def points(self) -> tuple[Point, Point]:
        """From top to bottom."""
        return Point(self.x, 0.0), Point(self.x, 1.0)


@dataclass(frozen=True, slots=True)
class RectZone:
    """An upright rectangle that is watched."""

    name: str
    box: Box

    @property
    def polygon(self) -> tuple[Point, Point, Point, Point]:
        """Corners, clockwise from the top left."""
        b = self.box
        return Point(b.x1, b.y1), Point(b.x2, b.y1), Point(b.x2, b.y2), Point(b.x1, b.y2)

    def contains(self, point: Point) -> bool:
        return self.box.x1 <= point.x <= self.box.x2 and self.box.y1 <= point.y <= self.box.y2


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """Everything a test may expect of one pass of a scene; a loop repeats it every `duration_s`."""

    name: str
    duration_s: float
    actors: tuple[Actor, ...]
    lines: tuple[VerticalLine, ...]
    zones: tuple[RectZone, ...]
    crossings: tuple[Crossing, ...]
    passages: tuple[ZonePassage, ...]

    def crossings_before(self, media_s: float) -> tuple[Crossing, ...]:
        """Crossings of a looped scene up to a media time, with times that go on over the passes."""
        passes = math.ceil(media_s / self.duration_s)
        repeated = (
            Crossing(c.time_s + number * self.duration_s, c.actor, c.line, c.direction) for number in range(passes) for c in self.crossings
        )
        return tuple(crossing for crossing in repeated if crossing.time_s < media_s)


def scene_truth(
    name: str, duration_s: float, actors: tuple[Actor, ...], lines: tuple[VerticalLine, ...] = (), zones: tuple[RectZone, ...] = ()
) -> SceneTruth:
    """Work out what happens from the paths alone.

    Raises:
        ValueError: an actor is in the frame at the seam of the loop, which would make events that are not listed.
    """
    for actor in actors:
        ends = actor.path[0].time_s, actor.path[-1].time_s
        if not (ends[0] >= 0 and ends[1] <= duration_s) or any(_in_frame(actor, end) for end in ends):
            raise ValueError(f"{actor.name} is in the picture at an end of its path")
    crossings = [crossing for actor in actors for line in lines for crossing in _crossings(actor, line)]
    passages = [passage for actor in actors for zone in zones for passage in _passages(actor, zone)]
    return SceneTruth(
        name,
        duration_s,
        actors,
        lines,
        zones,
        tuple(sorted(crossings, key=lambda event: event.time_s)),
        tuple(sorted(passages, key=lambda event: event.time_s)),
    )


def _in_frame(actor: Actor, time_s: float) -> bool:
    box = actor.box(time_s)
    return box is not None and box.x2 > 0 and box.x1 < 1


def _times(actor: Actor) -> list[float]:
    start, end = actor.path[0].time_s, actor.path[-1].time_s
    count = math.ceil((end - start) / _STEP_S)
    return [start + (end - start) * number / count for number in range(count + 1)]


def _changes(actor: Actor, inside: _Side) -> list[tuple[float, bool]]:
    """Times (to a millisecond) at which a question about the foot point changes its answer, and the new answer."""
    found: list[tuple[float, bool]] = []
    times = _times(actor)
    for early, late in pairwise(times):
        before, after = inside.holds(actor.foot(early)), inside.holds(actor.foot(late))
        if before is after:
            continue
        low, high = early, late
        while high - low > 0.001:
            middle = (low + high) / 2
            low, high = (middle, high) if inside.holds(actor.foot(middle)) is before else (low, middle)
        found.append((high, after))
    return found


@dataclass(frozen=True, slots=True)
class _Side:
    """Right of a line, or inside a zone."""

    line: VerticalLine | None = None
    zone: RectZone | None = None

    def holds(self, foot: Point | None) -> bool:
        if foot is None:
            return False
        if self.line is not None:
            return foot.x > self.line.x
        return self.zone is not None and self.zone.contains(foot)


def _crossings(actor: Actor, line: VerticalLine) -> list[Crossing]:
    changes = _changes(actor, _Side(line=line))
    return [
        Crossing(time_s, actor.name, line.name, Direction.LEFT_TO_RIGHT if right else Direction.RIGHT_TO_LEFT) for time_s, right in changes
    ]


def _passages(actor: Actor, zone: RectZone) -> list[ZonePassage]:
    changes = _changes(actor, _Side(zone=zone))
    return [ZonePassage(time_s, actor.name, zone.name, Passage.ENTER if within else Passage.LEAVE) for time_s, within in changes]
