"""Messages of analytics: tracked boxes and rule events."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from shared.domain.targets import TargetClass
from shared.messages.base import ChannelMessage, Message, UtcNs


class BoxMessage(Message):
    """One tracked object of a frame; coordinates 0..1 of the frame, corners (x1, y1) and (x2, y2)."""

    track_id: int
    target: TargetClass
    score: float
    x1: float
    y1: float
    x2: float
    y2: float


class DetectionsMessage(ChannelMessage):
    """The tracked objects of one analysed frame.

    Attributes:
        motion: share of the picture that moved, 0..1.
        analysed: False when the motion gate spared the detector: boxes are then those still believed to be there.
        detect_ms: time the detector took for this frame, milliseconds.
    """

    capture_ns: UtcNs
    frame_sequence: int
    motion: float = 0.0
    analysed: bool = True
    detect_ms: float = 0.0
    boxes: tuple[BoxMessage, ...] = ()


class EventKind(StrEnum):
    """What happened. Rules first, then inputs and exceptions of the device."""

    TRIPWIRE = "tripwire"
    INTRUSION = "intrusion"
    SMD = "smd"
    PEOPLE_COUNTING = "people_counting"
    EXCEPTION = "exception"


class EventPhase(StrEnum):
    """Life of an event. A momentary event (a crossing) is started and ended by two messages with the same time."""

    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"


class EventMessage(ChannelMessage):
    """What a rule (or an input, or the device itself) saw.

    Attributes:
        event_id: deterministic; the same for all phases of one event and for a redelivered frame.
        source: the rule's id within the channel, or the name of the exception ("storage.full", "clock.jump").
        start_ns: when it began. `at_ns`: the time of this message. `end_ns`: only when ended.
        direction: "a_to_b", "b_to_a", "enter", "leave", "appear" or empty.
        track_id, box: who, where known.
        counts: numbers that belong to the event: people counting has enter, leave, stay.
        message: for people; exceptions say here what is wrong and what to do.
    """

    event_id: str
    kind: EventKind
    source: str
    phase: EventPhase
    start_ns: UtcNs
    at_ns: UtcNs
    end_ns: UtcNs | None = None
    target: TargetClass | None = None
    track_id: int | None = None
    score: float | None = None
    box: BoxMessage | None = None
    direction: str = ""
    counts: dict[str, int] = Field(default_factory=dict)
    message: str = ""
