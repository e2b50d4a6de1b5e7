"""What one event does to the alarms: pure, given what the book knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.alarms.core import anti_dither
from services.alarms.core.arming import Policy
from services.alarms.core.linkage import Change
from services.alarms.core.record import Alarm
from shared.messages import EventMessage, EventPhase


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """What the book holds of an event: the time of its latest message, whether it ended, and the alarm that it hit."""

    at_ns: int
    ended: bool
    alarm_id: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """A change of one alarm."""

    change: Change
    alarm: Alarm


def is_news(event: EventMessage, seen: SeenEvent | None) -> bool:
    """Whether the message says anything that was not handled already. Messages of one event come in order, some of them twice."""
    if seen is None:
        return True
    if seen.ended or event.phase is EventPhase.STARTED:
        return False
    return event.phase is EventPhase.ENDED or event.at_ns > seen.at_ns


def first_step(event: EventMessage, policy: Policy | None, records: Sequence[Alarm], now_ns: int) -> Step | None:
    """What an event does that is seen for the first time; None: it raises no alarm (kept as an event only).

    Args:
        policy: of its source; None: no such rule.
        records: of its source, those that it may be a hit of.
    """
    if policy is None or not anti_dither.raises_alarms(event) or not policy.armed(event.start_ns):
        return None
    record = anti_dither.record_of(event, policy.period_ns, records)
    if record is None:
        return _unless_over(Step(Change.RAISED, anti_dither.raised(event, policy.period_ns, now_ns)), event, now_ns)
    return _unless_over(Step(Change.HIT, anti_dither.hit(record, event, now_ns)), event, now_ns)


def later_step(event: EventMessage, alarm: Alarm, now_ns: int) -> Step:
    """What a later message of an event does to the alarm that the event hit."""
    after = anti_dither.heard(alarm, event, now_ns)
    resumed = anti_dither.is_open(after) and not anti_dither.is_open(alarm)
    return Step(Change.RESUMED if resumed else Change.HEARD, after)


def _unless_over(step: Step, event: EventMessage, now_ns: int) -> Step:
    """An event whose beginning was never heard of may begin with its end."""
    return Step(step.change, anti_dither.heard(step.alarm, event, now_ns)) if event.phase is EventPhase.ENDED else step
