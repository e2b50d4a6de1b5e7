"""Rules per channel, their arming and their linkage."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.config.base import Section, Slug
from shared.domain.geometry import Point
from shared.domain.targets import TargetClass

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


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
    post_s: float = Field(default=10, ge=10, le=300)


class SnapshotLinkage(Section):
    """Store a full-resolution picture of the moment."""

    channels: tuple[Slug, ...] = ()
    """Which channels to take a picture of; empty: the alarm's own."""


class Linkage(Section):
    """What an alarm makes happen."""

    log: bool = True
    show_message: bool = True
    record: RecordLinkage | None = RecordLinkage()
    snapshot: SnapshotLinkage | None = SnapshotLinkage()
    webhooks: tuple[Slug, ...] = ()
    """Ids of `centres` that the alarm is reported to."""


class SizeFilter(Section):
    """Smallest and largest target, as shares of the frame's width and height."""

    min_width: Fraction = 0.0
    min_height: Fraction = 0.0
    max_width: Fraction = 1.0
    max_height: Fraction = 1.0


class Rule(Section):
    """What all rules have."""

    id: Slug
    name: str = ""
    enabled: bool = True
    targets: tuple[TargetClass, ...] = ()
    """Which classes; empty: any."""
    size: SizeFilter = SizeFilter()
    arming: Slug | None = None
    """Id of a schedule; none: always armed. Outside it events are kept, but raise no alarm."""
    anti_dither_s: float = Field(default=5, ge=0, le=600)
    """Events of one rule closer together than this are one alarm."""
    linkage: Linkage = Linkage()


class TripwireRule(Rule):
    """Someone crosses a line."""

    kind: Literal["tripwire"] = "tripwire"
    line: Annotated[tuple[Point, ...], Field(min_length=2, max_length=16)]
    """Points of the line, 0..1 of the frame."""
    direction: Direction = Direction.BOTH
    hysteresis: Fraction = 0.02
    """How far beyond the line (share of the frame's height) counts as across; jitter within it counts nothing."""


class IntrusionRule(Rule):
    """Someone enters, leaves, or appears in a zone."""

    kind: Literal["intrusion"] = "intrusion"
    zone: Annotated[tuple[Point, ...], Field(min_length=3, max_length=32)]
    actions: tuple[ZoneAction, ...] = (ZoneAction.APPEAR, ZoneAction.CROSS)
    direction: ZoneDirection = ZoneDirection.BOTH
    """Of `cross`."""
    hysteresis: Fraction = 0.02
    min_stay_s: float = Field(default=0.5, ge=0, le=60)
    """`appear`: how long a target must have been inside."""


class SmdRule(Rule):
    """Smart motion: motion that is a human or a motor vehicle."""

    kind: Literal["smd"] = "smd"
    targets: tuple[TargetClass, ...] = (TargetClass.HUMAN, TargetClass.MOTOR_VEHICLE)
    sensitivity: int = Field(default=50, ge=0, le=100)
    end_after_s: float = Field(default=3, ge=0.5, le=60)
    """The event ends when no target has moved for this long."""


class PeopleCountingRule(Rule):
    """People who cross a line, by direction."""

    kind: Literal["people_counting"] = "people_counting"
    targets: tuple[TargetClass, ...] = (TargetClass.HUMAN,)
    line: Annotated[tuple[Point, ...], Field(min_length=2, max_length=16)]
    enter: Direction = Direction.A_TO_B
    """Which way is in."""
    enter_threshold: int | None = Field(default=None, ge=1)
    leave_threshold: int | None = Field(default=None, ge=1)
    stay_threshold: int | None = Field(default=None, ge=1)
    """Alarm when a total reaches it; none: no alarm."""
    reset_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"
    """Site time at which the totals of the day start again."""
    hysteresis: Fraction = 0.02

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.enter is Direction.BOTH:
            raise ValueError("enter must be a_to_b or b_to_a")
        return self


AnyRule = Annotated[TripwireRule | IntrusionRule | SmdRule | PeopleCountingRule, Field(discriminator="kind")]
