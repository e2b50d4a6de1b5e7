"""Anti-dither: events of one source (channel and rule) that are closer together than a period are one alarm record.

The distance of an event to a record is measured in capture time, from the event's start to the nearest moment of the record: 0 while
one of the record's events goes on. Below the period (not at it) the event is a hit of the record; otherwise it raises a new one. So what
is merged depends on capture times alone, not on when messages were handled, and a backlog gives the same records as live handling. Where
capture times come a second time, because a clock was set back, what comes the second time is no hit of what was over the first time.

A record ends, with the capture time of its last sign, when nothing of it goes on and the period has passed on this machine's clock.
All state is in the record itself, which the alarm book keeps: a restart, or another worker, goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from services.alarms.core.lifecycle import Trigger, after
from services.alarms.core.record import Alarm
from shared.domain.clock import NS_PER_S
from shared.domain.ids import deterministic_id
from shared.messages import AlarmState, EventKind, EventMessage, EventPhase

#: A record stays open this much longer than its period: events come by ways of different length.
GRACE_NS = 1 * NS_PER_S
#: Events of one source come in the order of their capture times, but for ways of different length and machines whose clocks differ. One
#: from longer than this before a record's last sign, of which nothing goes on, says that time went back.
BACK_NS = 15 * NS_PER_S
#: Why an alarm has ended whose events never did: whoever saw them says nothing any more.
LOST = "nothing more was heard of it"


def raises_alarms(event: EventMessage) -> bool:
    """Whether an event is of the sort that raises alarms. People counting tells its numbers by updates that belong to no alarm."""
    return event.kind is not EventKind.PEOPLE_COUNTING or event.phase is not EventPhase.UPDATED


def distance_ns(alarm: Alarm, at_ns: int) -> int:
    """From a moment to the nearest one of the record; 0 inside it, and from its start on while an event of it goes on."""
    if at_ns < alarm.start_ns:
        return alarm.start_ns - at_ns
    return 0 if alarm.live else max(0, at_ns - alarm.last_ns)


def of_another_time(alarm: Alarm, event: EventMessage) -> bool:
    """Whether the clock that capture times come from was set back since the record was over: the event has nothing to do with it."""
    return not alarm.live and event.at_ns < alarm.last_ns - BACK_NS


def record_of(event: EventMessage, period_ns: int, records: Iterable[Alarm]) -> Alarm | None:
    """Of `records` (all of the event's source) the one that the event is a hit of; None: it raises a new one."""
    near = [alarm for alarm in records if distance_ns(alarm, event.start_ns) < period_ns and not of_another_time(alarm, event)]
    return min(near, key=lambda alarm: (distance_ns(alarm, event.start_ns), -alarm.start_ns), default=None)


def raised(event: EventMessage, period_ns: int, now_ns: int) -> Alarm:
    """The new record of an event that began."""
    return Alarm(
        alarm_id=deterministic_id("alarm", event.event_id),
        event_id=event.event_id,
        channel=event.channel,
        channel_number=event.channel_number,
        kind=event.kind,
        source=event.source,
        state=after(None, Trigger.HIT),
        hits=1,
        start_ns=event.start_ns,
        at_ns=event.at_ns,
        last_ns=max(event.start_ns, event.at_ns),
        handled_ns=now_ns,
        period_ns=period_ns,
        live=frozenset({event.event_id}),
        target=event.target,
        track_id=event.track_id,
        box=event.box,
        direction=event.direction,
        counts=event.counts,
        message=event.message,
        snapshot_at_ns=event.at_ns,
        trace=event.trace,
    )


def hit(alarm: Alarm, event: EventMessage, now_ns: int) -> Alarm:
    """The record after another event of its source began. Who and where stay those of the first; numbers and words are the latest."""
    # The device reports one exception of a name at a time: a new one says that the end of the one before was lost.
    live = frozenset() if event.kind is EventKind.EXCEPTION else alarm.live
    return replace(
        alarm,
        state=after(alarm.state, Trigger.HIT),
        event_id=event.event_id,
        hits=alarm.hits + 1,
        start_ns=min(alarm.start_ns, event.start_ns),
        at_ns=max(alarm.at_ns, event.at_ns),
        last_ns=max(alarm.last_ns, event.at_ns),
        handled_ns=now_ns,
        end_ns=None,
        live=live | {event.event_id},
        counts=event.counts or alarm.counts,
        message=event.message or _without_reason(alarm.message),
    )


def heard(alarm: Alarm, event: EventMessage, now_ns: int) -> Alarm:
    """The record after one of its events went on or ended. One that was taken for lost, and was not, lasts again."""
    last_ns = max(alarm.last_ns, event.end_ns or event.at_ns)
    alarm = replace(alarm, last_ns=last_ns, handled_ns=now_ns, counts=event.counts or alarm.counts)
    if event.phase is EventPhase.ENDED:
        return replace(alarm, live=alarm.live - {event.event_id}, end_ns=None if alarm.end_ns is None else last_ns)
    return replace(
        alarm,
        state=after(alarm.state, Trigger.HEARD),
        live=alarm.live | {event.event_id},
        end_ns=None,
        message=_without_reason(alarm.message),
    )


def waited_from(alarm: Alarm, now_ns: int, *, was_set: bool) -> Alarm:
    """The record as the timers wait for it: from now, when this machine's clock was set since they looked last, as it was, too, when the
    record was heard of at a time that is yet to come.
    """
    return replace(alarm, handled_ns=now_ns if was_set else min(alarm.handled_ns, now_ns))


def due_ns(alarm: Alarm, lost_after_ns: int, listening_ns: int) -> int:
    """When, on this machine's clock, the record ends if nothing more is heard.

    Args:
        lost_after_ns: an event that goes on, but of which nothing was heard for this long, is lost.
        listening_ns: since when we listen without a break (this machine's clock): before, nothing could be heard.
    """
    if alarm.live:
        return max(alarm.handled_ns, listening_ns) + lost_after_ns
    return alarm.handled_ns + alarm.period_ns + (GRACE_NS if alarm.period_ns else 0)


def ended(alarm: Alarm, now_ns: int) -> Alarm:
    """The record after its end. `end_ns` is the capture time of the last sign, not the moment at which the period had passed. Of one whose
    events never ended the message says why it did.
    """
    message = f"{alarm.message} ({LOST})" if alarm.message else LOST
    return replace(
        alarm,
        state=after(alarm.state, Trigger.QUIET),
        at_ns=max(alarm.at_ns, now_ns),
        end_ns=alarm.last_ns,
        live=frozenset(),
        message=message if alarm.live else alarm.message,
    )


def is_open(alarm: Alarm) -> bool:
    """Whether it lasts."""
    return alarm.state is not AlarmState.ENDED


def _without_reason(message: str) -> str:
    return "" if message == LOST else message.removesuffix(f" ({LOST})")
