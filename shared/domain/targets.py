"""What a detector sees."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.geometry import Box


class TargetClass(StrEnum):
    """The classes that rules filter by."""

    HUMAN = "human"
    MOTOR_VEHICLE = "motor_vehicle"
    NON_MOTOR_VEHICLE = "non_motor_vehicle"


@dataclass(frozen=True, slots=True)
class Detection:
    """One object in one frame.

    Attributes:
        box: normalised 0..1.
        target: the class that rules see.
        score: the detector's confidence, 0..1.
    """

    box: Box
    target: TargetClass
    score: float


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """A detection with its identity. `track_id` is unique within (channel, analytics session) and never reused there."""

    track_id: int
    box: Box
    target: TargetClass
    score: float
