"""Rules per channel, their arming and their linkage."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.config.base import Section, Slug
from shared.domain.geometry import Point
from shared.domain.targets import TargetClass

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def _check_inside(point: Point) -> Point:
    if not (0.0 <= point.x <= 1.0 and 0.0 <= point.y <= 1.0):
        raise ValueError("a point is [x, y], both 0 to 1 of the frame (not pixels), from its top left corner")
    return point


#: [x, y], both 0..1 of the frame.
FramePoint = Annotated[Point, AfterValidator(_check_inside)]


def _check_line(points: tuple[Point, ...]) -> tuple[Point, ...]:
    if any(a == b for a, b in pairwise(points)):
        raise ValueError("two points in a row are the same")
    return points


def _check_zone(points: tuple[Point, ...]) -> tuple[Point, ...]:
    twice_the_area = sum(a.x * b.y - b.x * a.y for a, b in zip(points, points[1:] + points[:1], strict=True))
    if abs(twice_the_area) < 1e-6:  # less than a pixel of a 1000x1000 frame
        raise ValueError("the zone has no area")
    return points


LinePoints = Annotated[tuple[FramePoint, ...], Field(min_length=2, max_length=16), AfterValidator(_check_line)]
ZonePoints = Annotated[tuple[FramePoint, ...], Field(min_length=3, max_length=32), AfterValidator(_check_zone)]


class Direction(StrEnum):
    """Of a line: B lies to the left of the way from its first point to its last (as seen on the picture: y points down)."""

    A_TO_B = "a_to_b"
    B_TO_A = "b_to_a"
    BOTH = "both"


class ZoneAction(StrEnum):
    APPEAR = "appear"
    CROSS = "cross"


class ZoneDirection(StrEnum):
    ENTER = "enter"
    LEAVE = "leave"
    BOTH = "both"


class RecordLinkage(Section):
    """Keep footage around an alarm as alarm footage."""

    channels: tuple[Slug, ...] = ()
    """Which channels to record; empty: the alarm's own."""
    pre_s: float = Field(default=5, ge=0, le=30)
    """Seconds before the alarm begins."""
    post_s: float = Field(default=10, ge=10, le=300)
    """Seconds after it ends."""


class SnapshotLinkage(Section):
    """Store a full-resolution picture of the moment."""

    channels: tuple[Slug, ...] = ()
    """Which channels to take a picture of; empty: the alarm's own."""


class Linkage(Section):
    """What an alarm makes happen."""

    log: bool = True
    """An entry in the system log."""
    show_message: bool = True
    """A live notice on every open console."""
    record: RecordLinkage | None = RecordLinkage()
    """Keep footage around the alarm as alarm footage; null: do not."""
    snapshot: SnapshotLinkage | None = SnapshotLinkage()
    """Store a full-resolution picture of the moment; null: do not."""
    webhooks: tuple[Slug, ...] = ()
    """Ids of `centres` that the alarm is reported to."""


class SizeFilter(Section):
    """Smallest and largest target, as shares of the frame's width and height."""

    min_width: Fraction = 0.0
    """Share of the frame's width."""
    min_height: Fraction = 0.0
    """Share of the frame's height."""
    max_width: Fraction = 1.0
    """Share of the frame's width."""
    max_height: Fraction = 1.0
    """Share of the frame's height."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_width > self.max_width or self.min_height > self.max_height:
            raise ValueError("the smallest target is larger than the largest")
        return self


class Rule(Section):
    """What all rules have."""

    id: Slug
    """Unique within the channel, and lasting."""
    name: str = ""
    """What people call it; empty: its id."""
    enabled: bool = True
    """false: it is not evaluated."""
    targets: tuple[TargetClass, ...] = ()
    """Which classes: human, motor_vehicle, non_motor_vehicle; empty: any."""
    size: SizeFilter = SizeFilter()
    """Smallest and largest target, as shares of the frame's width and height."""
    arming: Slug | None = None
    """Id of a schedule; null: always armed. Outside it events are kept, but raise no alarm."""
    anti_dither_s: float = Field(default=5, ge=0, le=600)
    """Seconds; events of one rule closer together than this are one alarm."""
    linkage: Linkage = Linkage()
    """What an alarm of this rule makes happen."""


class TripwireRule(Rule):
    """Someone crosses a line."""

    kind: Literal["tripwire"] = "tripwire"
    line: LinePoints
    """2 to 16 points [x, y] of the line, 0..1 of the frame."""
    direction: Direction = Direction.BOTH
    """Which way counts; B lies to the left of the way from the line's first point to its last."""
    hysteresis: Fraction = 0.02
    """How far beyond the line (share of the frame's height) counts as across; jitter within it counts nothing."""


class IntrusionRule(Rule):
    """Someone enters, leaves, or appears in a zone."""

    kind: Literal["intrusion"] = "intrusion"
    zone: ZonePoints
    """3 to 32 corners [x, y], 0..1 of the frame."""
    actions: tuple[ZoneAction, ...] = (ZoneAction.APPEAR, ZoneAction.CROSS)
    """appear: a target is inside; cross: it passes the border."""
    direction: ZoneDirection = ZoneDirection.BOTH
    """Of `cross`."""
    hysteresis: Fraction = 0.02
    """How far beyond the border (share of the frame's height) counts as across."""
    min_stay_s: float = Field(default=0.5, ge=0, le=60)
    """`appear`: seconds that a target must have been inside."""


class SmdRule(Rule):
    """Smart motion: motion that is a human or a motor vehicle."""

    kind: Literal["smd"] = "smd"
    targets: tuple[TargetClass, ...] = (TargetClass.HUMAN, TargetClass.MOTOR_VEHICLE)
    """Which classes."""
    sensitivity: int = Field(default=50, ge=0, le=100)
    """Percent; higher: smaller movements count."""
    end_after_s: float = Field(default=3, ge=0.5, le=60)
    """Seconds without a moving target after which the event ends."""


class PeopleCountingRule(Rule):
    """People who cross a line, by direction."""

    kind: Literal["people_counting"] = "people_counting"
    targets: tuple[TargetClass, ...] = (TargetClass.HUMAN,)
    """Which classes."""
    line: LinePoints
    """2 to 16 points [x, y] of the line, 0..1 of the frame."""
    enter: Direction = Direction.A_TO_B
    """Which way is in."""
    enter_threshold: int | None = Field(default=None, ge=1)
    """Persons; alarm when the day's total that entered reaches it; null: no alarm."""
    leave_threshold: int | None = Field(default=None, ge=1)
    """Persons; alarm when the day's total that left reaches it; null: no alarm."""
    stay_threshold: int | None = Field(default=None, ge=1)
    """Persons; alarm when this many are inside; null: no alarm."""
    reset_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"
    """HH:MM, site time, at which the totals of the day start again."""
    hysteresis: Fraction = 0.02
    """How far beyond the line (share of the frame's height) counts as across."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.enter is Direction.BOTH:
            raise ValueError("enter must be a_to_b or b_to_a")
        return self


AnyRule = Annotated[TripwireRule | IntrusionRule | SmdRule | PeopleCountingRule, Field(discriminator="kind")]
