"""What rules have in common: what they are given, what they say, and how lasting events are told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from services.analytics.core.regions import MovingRegion
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.targets import TargetClass, TrackedObject
from shared.messages import EventPhase

Phase = EventPhase

#: The state of a rule as a plain value: what JSON can hold.
State: TypeAlias = dict[str, Any]

#: A track that is seen again within this time is the same walk, and keeps its side of a line and its place in a zone.
FORGET_NS = 3 * NS_PER_S
#: A lasting event is updated at most this often.
UPDATE_EVERY_NS = 1 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Scene:
    """One analysed moment of a channel.

    Attributes:
        time_ns: capture time, UTC nanoseconds; later than that of the scene before.
        aspect: width / height of the picture: distances are measured in shares of its height.
        tracks: who is there.
        moving: what moved, by the motion stage alone, classified or not.
    """

    time_ns: int
    aspect: float
    tracks: tuple[TrackedObject, ...] = ()
    moving: tuple[MovingRegion, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleEvent:
    """What a rule says. (direction, start_ns, ordinal) is its identity within the rule, the same for all its phases.

    Attributes:
        phase, start_ns, at_ns, end_ns, direction, counts, message: as in EventMessage.
        ordinal: tells apart events of one direction that began in the same frame. It is the place among them from left to right,
            not the track's number, so that a frame handled again by another worker gives the same identity.
    """

    phase: Phase
    start_ns: int
    at_ns: int
    direction: str = ""
    end_ns: int | None = None
    ordinal: int = 0
    target: TargetClass | None = None
    track_id: int | None = None
    score: float | None = None
    box: Box | None = None
    counts: dict[str, int] = field(default_factory=dict)
    message: str = ""

    def ended(self, at_ns: int, end_ns: int) -> RuleEvent:
        return replace(self, phase=Phase.ENDED, at_ns=at_ns, end_ns=end_ns)


class Rule(Protocol):
    """A pure state machine over scenes."""

    @property
    def id(self) -> str: ...

    def step(self, scene: Scene) -> list[RuleEvent]:
        """What this moment begins, continues or ends. Scenes come in the order of their time."""
        ...

    def close(self, time_ns: int) -> list[RuleEvent]:
        """End what lasts: the rule is taken away."""
        ...

    def interrupt(self, time_ns: int) -> list[RuleEvent]:
        """Nobody looks any more, or time went back: end what is true only as long as someone looks, forget who was there."""
        ...

    def resume(self, time_ns: int) -> list[RuleEvent]:
        """After `restore`, with the time of the first scene: nobody could be seen since the last one, which means nothing."""
        ...

    def export(self) -> State:
        """All that `restore` needs to go on elsewhere."""
        ...

    def restore(self, state: State) -> None:
        """Take over what `export` gave. Raises: KeyError, TypeError, ValueError when it is no such value."""
        ...


def of_track(phase: Phase, track: TrackedObject, *, start_ns: int, at_ns: int, direction: str, ordinal: int = 0) -> RuleEvent:
    """An event about one track."""
    return RuleEvent(
        phase, start_ns, at_ns, direction, None, ordinal, track.target, track.track_id, round(track.score, 4), track.box
    )  # fmt: skip


def momentary(event: RuleEvent) -> list[RuleEvent]:
    """A thing of one moment: started and ended by two events of the same time."""
    return [replace(event, phase=Phase.STARTED), event.ended(event.at_ns, event.at_ns)]


def left_to_right(tracks: list[TrackedObject]) -> list[TrackedObject]:
    """Tracks in the order that gives events of one frame their ordinal."""
    return sorted(tracks, key=lambda track: (track.box.foot.x, track.box.foot.y, track.track_id))


def event_to_state(event: RuleEvent) -> State:
    """A lasting event as a plain value."""
    box = event.box
    return {
        "start_ns": event.start_ns,
        "at_ns": event.at_ns,
        "direction": event.direction,
        "ordinal": event.ordinal,
        "target": event.target.value if event.target else None,
        "track_id": event.track_id,
        "score": event.score,
        "box": [box.x1, box.y1, box.x2, box.y2] if box else None,
        "counts": dict(event.counts),
        "message": event.message,
    }


def event_from_state(state: State) -> RuleEvent:
    """The other way: a lasting event that goes on."""
    return RuleEvent(
        Phase.UPDATED,
        int(state["start_ns"]),
        int(state["at_ns"]),
        str(state["direction"]),
        ordinal=int(state["ordinal"]),
        target=TargetClass(state["target"]) if state["target"] else None,
        track_id=state["track_id"],
        score=state["score"],
        box=Box(*state["box"]) if state["box"] else None,
        counts=dict(state["counts"]),
        message=str(state["message"]),
    )
