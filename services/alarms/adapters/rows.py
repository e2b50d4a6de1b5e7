"""Between rows of the alarm book and values of the cores."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import RowMapping

from services.alarms.core.record import Alarm
from shared.domain.targets import TargetClass
from shared.messages import AlarmState, BoxMessage, EventKind

_ALARM_FIELDS = tuple(field.name for field in fields(Alarm))
#: Those that the book itself counts.
_COUNTED = ("sequence", "revision")


def alarm_row(alarm: Alarm) -> dict[str, Any]:
    """The columns of an alarm, but for `due_ns` and what the book counts."""
    row = {name: getattr(alarm, name) for name in _ALARM_FIELDS if name not in _COUNTED}
    return row | {
        "kind": alarm.kind.value,
        "state": alarm.state.value,
        "live": sorted(alarm.live),
        "target": alarm.target and alarm.target.value,
        "box": alarm.box and alarm.box.model_dump(mode="json"),
    }


def alarm_of(row: RowMapping) -> Alarm:
    """The alarm of a row."""
    values = {name: row[name] for name in _ALARM_FIELDS}
    return Alarm(
        **values
        | {
            "kind": EventKind(row["kind"]),
            "state": AlarmState(row["state"]),
            "live": frozenset(row["live"]),
            "target": row["target"] and TargetClass(row["target"]),
            "box": row["box"] and BoxMessage.model_validate(row["box"]),
        }
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one centre.

    Attributes:
        sequence: order of queueing. `delivery_id`: the `webhook-id`.
        change: the alarm's state that it tells of.
        capture_ns: capture time of what it tells of.
        body: the CloudEvent as JSON: the same bytes at every attempt.
        deadline_ns: when it becomes a dead letter. `next_ns`: not to be tried before. Both of this machine's clock.
        attempts: failed ones so far.
        settled_ns, error: of a dead letter: when and why it was given up.
    """

    sequence: int
    delivery_id: str
    centre: str
    channel: str
    alarm_id: str
    change: str
    capture_ns: int
    body: str
    queued_ns: int
    deadline_ns: int
    next_ns: int
    attempts: int = 0
    settled_ns: int | None = None
    error: str = ""


_DELIVERY_FIELDS = tuple(field.name for field in fields(Delivery))


def delivery_of(row: RowMapping) -> Delivery:
    """The delivery of a row."""
    return Delivery(**{name: row[name] for name in _DELIVERY_FIELDS})
