"""From what a rule says to messages."""

from __future__ import annotations

from services.analytics.core.rules import RuleEvent
from shared.config.rules import AnyRule
from shared.domain.geometry import Box
from shared.domain.ids import deterministic_id
from shared.domain.targets import TargetClass, TrackedObject
from shared.messages import BoxMessage, EventKind, EventMessage


def event_message(channel: str, number: int, rule: AnyRule, event: RuleEvent, *, trace: str = "") -> EventMessage:
    """The message of one event. Its id depends on channel, rule, direction, start and ordinal alone."""
    box = None
    if event.box is not None and event.target is not None:
        box = box_message(event.track_id or 0, event.target, event.score or 0.0, event.box)
    return EventMessage(
        channel=channel,
        channel_number=number,
        trace=trace,
        event_id=deterministic_id(channel, rule.id, event.direction, event.start_ns, event.ordinal),
        kind=EventKind(rule.kind),
        source=rule.id,
        phase=event.phase,
        start_ns=event.start_ns,
        at_ns=event.at_ns,
        end_ns=event.end_ns,
        target=event.target,
        track_id=event.track_id,
        score=event.score,
        box=box,
        direction=event.direction,
        counts=event.counts,
        message=event.message,
    )


def track_message(track: TrackedObject) -> BoxMessage:
    """One tracked object for the detections topic."""
    return box_message(track.track_id, track.target, track.score, track.box)


def box_message(track_id: int, target: TargetClass, score: float, box: Box) -> BoxMessage:
    """Coordinates to five places: a thousandth of a pixel is nobody's."""
    corners = {name: round(value, 5) for name, value in (("x1", box.x1), ("y1", box.y1), ("x2", box.x2), ("y2", box.y2))}
    return BoxMessage(track_id=track_id, target=target, score=round(score, 4), **corners)
