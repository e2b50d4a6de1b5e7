"""Linkage: what a change of an alarm makes happen. Alarm and rule in, actions out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from services.alarms.core.place import Place
from services.alarms.core.record import Alarm
from shared.config.rules import Linkage
from shared.domain.clock import NS_PER_S, seconds_to_ns
from shared.domain.ids import deterministic_id
from shared.messages import ActionKind, ActionMessage, ActionPhase, AlarmState, EventKind

#: While an alarm lasts its footage is asked for again this often. Shorter than the shortest post-record (10 s), so that the span
#: asked for always lies ahead.
EXTEND_EVERY_NS = 5 * NS_PER_S


class Change(StrEnum):
    """What happened to an alarm, as far as linkage cares."""

    RAISED = "raised"
    HIT = "hit"
    HEARD = "heard"  # one of its events went on or ended
    RESUMED = "resumed"  # one of its events goes on, though it was taken for lost
    GOES_ON = "goes_on"  # time passed, and it still lasts
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of the system log."""

    at_ns: int
    channel: str
    alarm_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """An alarm is to be sent to a centre in its present state."""

    centre: str
    state: AlarmState


@dataclass(frozen=True, slots=True)
class Consequences:
    """What is to happen now. `alarm` remembers what was asked for."""

    alarm: Alarm
    log: tuple[LogEntry, ...] = ()
    commands: tuple[ActionMessage, ...] = ()
    reports: tuple[Report, ...] = ()


def consequences(alarm: Alarm, linkage: Linkage, change: Change, place: Place, now_ns: int) -> Consequences:
    """What `change`, which made `alarm` what it is, makes happen. Linkage runs once per alarm: at RAISED; later changes only extend the
    recording, log the end, and tell the centres that asked for more than the beginning.
    """
    commands: list[ActionMessage] = []
    if change is Change.RAISED:
        commands += _notice(alarm, linkage, place, now_ns) + _snapshots(alarm, linkage, place)
    to_ns = _record_to_ns(alarm, linkage, now_ns)
    if to_ns > alarm.recorded_to_ns:
        alarm = replace(alarm, recorded_to_ns=to_ns)
        commands += _records(alarm, linkage, place)
    return Consequences(alarm, _log(alarm, linkage, change, place, now_ns), tuple(commands), _reports(alarm, linkage, change, place))


def extend_at_ns(alarm: Alarm, linkage: Linkage) -> int | None:
    """When (this machine's clock) the footage of an alarm that lasts must be asked for again; None: not before something is heard."""
    if linkage.record is None or not alarm.live:
        return None
    # recorded_to is capture time: brought to this machine's clock by what the latest sign says of the difference.
    asked_to_ns = alarm.recorded_to_ns - seconds_to_ns(linkage.record.post_s)
    return asked_to_ns + alarm.handled_ns - alarm.last_ns + EXTEND_EVERY_NS


def _record_to_ns(alarm: Alarm, linkage: Linkage, now_ns: int) -> int:
    """Up to which capture time footage is to be kept; 0: none is."""
    if linkage.record is None:
        return 0
    since_ns = max(0, now_ns - alarm.handled_ns) if alarm.live else 0
    return alarm.last_ns + since_ns + seconds_to_ns(linkage.record.post_s)


def _records(alarm: Alarm, linkage: Linkage, place: Place) -> list[ActionMessage]:
    if linkage.record is None:
        return []
    from_ns = alarm.start_ns - seconds_to_ns(linkage.record.pre_s)
    return [
        _command(alarm, ActionKind.RECORD, channel, place, alarm.start_ns).model_copy(
            update={"from_ns": from_ns, "to_ns": alarm.recorded_to_ns}
        )
        for channel in linkage.record.channels or (alarm.channel,)
    ]


def _snapshots(alarm: Alarm, linkage: Linkage, place: Place) -> list[ActionMessage]:
    if linkage.snapshot is None:
        return []
    return [
        _command(alarm, ActionKind.SNAPSHOT, channel, place, alarm.snapshot_at_ns).model_copy(
            update={"object_key": place.snapshot_key(alarm, channel), "box": alarm.box if channel == alarm.channel else None}
        )
        for channel in linkage.snapshot.channels or (alarm.channel,)
    ]


def _notice(alarm: Alarm, linkage: Linkage, place: Place, now_ns: int) -> list[ActionMessage]:
    if not linkage.show_message:
        return []
    notice = _command(alarm, ActionKind.SHOW_MESSAGE, alarm.channel, place, now_ns)
    return [notice.model_copy(update={"text": place.describe(alarm)})]


def _command(alarm: Alarm, kind: ActionKind, channel: str, place: Place, at_ns: int) -> ActionMessage:
    number = alarm.channel_number if channel == alarm.channel else place.channels[channel][0]
    return ActionMessage(
        channel=channel,
        channel_number=number,
        action_id=deterministic_id("action", alarm.alarm_id, kind.value, channel),
        alarm_id=alarm.alarm_id,
        action=kind,
        phase=ActionPhase.REQUESTED,
        at_ns=at_ns,
        trace=alarm.trace,
    )


def _log(alarm: Alarm, linkage: Linkage, change: Change, place: Place, now_ns: int) -> tuple[LogEntry, ...]:
    if not linkage.log:
        return ()
    text = place.describe(alarm)
    if change is Change.ENDED:
        lasted_s = (alarm.last_ns - alarm.start_ns) / NS_PER_S
        hits = "1 hit" if alarm.hits == 1 else f"{alarm.hits} hits"
        text = f"{text}; ended after {lasted_s:.1f} s, {hits}"
    elif change is not Change.RAISED and not (change is Change.HIT and alarm.kind is EventKind.EXCEPTION):
        return ()  # every exception says something of its own; of a rule's hits the first and the end are enough
    return (LogEntry(now_ns, alarm.channel, alarm.alarm_id, text),)


def _reports(alarm: Alarm, linkage: Linkage, change: Change, place: Place) -> tuple[Report, ...]:
    if change not in (Change.RAISED, Change.HIT, Change.ENDED):
        return ()
    wanted = [centre for centre in linkage.webhooks if alarm.state in place.centres.get(centre, ())]
    return tuple(Report(centre, alarm.state) for centre in wanted)
