"""What a monitoring centre is told about an alarm: the values of a CloudEvent, as plain data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from services.alarms.core.place import Place, rfc3339
from services.alarms.core.record import Alarm
from shared.config.rules import Linkage
from shared.domain.clock import NS_PER_S
from shared.domain.ids import deterministic_id
from shared.domain.tracing import traceparent
from shared.messages import AlarmState

TYPE_PREFIX = "vedette.alarm."


def report_id(alarm: Alarm) -> str:
    """The CloudEvent's id: deterministic, one per alarm and change. An alarm is raised once; later states are told apart by its hits, and
    ends by their time (one that was taken for lost ends twice).
    """
    hits = 0 if alarm.state is AlarmState.RAISED else alarm.hits
    ended = (alarm.end_ns,) if alarm.state is AlarmState.ENDED and alarm.end_ns is not None else ()
    return deterministic_id("report", alarm.alarm_id, alarm.state.value, hits, *ended)


def delivery_id(centre: str, report: str) -> str:
    """The `webhook-id`: deterministic, the same for every attempt and every replay."""
    return "msg_" + deterministic_id("delivery", centre, report).replace("-", "")


def attributes(alarm: Alarm, place: Place) -> dict[str, Any]:
    """CloudEvents 1.0 context attributes. `time` is when the alarm changed, by capture time. `traceparent`, of the distributed tracing
    extension, is there when a frame raised the alarm."""
    at_ns = alarm.start_ns if alarm.state is AlarmState.RAISED else alarm.last_ns
    event_id = report_id(alarm)
    parent = traceparent(alarm.trace, event_id)
    return {
        "specversion": "1.0",
        "id": event_id,
        "type": TYPE_PREFIX + alarm.state.value,
        "source": f"/sites/{place.device}/channels/{alarm.channel}",
        "subject": alarm.alarm_id,
        "time": datetime.fromtimestamp(at_ns // NS_PER_S, UTC) + timedelta(microseconds=at_ns % NS_PER_S // 1000),
        "datacontenttype": "application/json",
    } | ({"traceparent": parent} if parent else {})


def data(alarm: Alarm, linkage: Linkage, place: Place) -> dict[str, Any]:
    """The CloudEvent's data. Every time is given as RFC 3339 text and as UTC nanoseconds. The snapshot's URL is known before the picture
    is there: it answers 404 until storage has made it, some seconds later."""
    told: dict[str, Any] = {
        "alarm_id": alarm.alarm_id,
        "state": alarm.state.value,
        "kind": alarm.kind.value,
        "text": place.describe(alarm),
        "site": place.site,
        "device": place.device,
        "channel": {"id": alarm.channel, "number": alarm.channel_number, "name": place.channel_name(alarm.channel)},
        "rule": {"id": alarm.source, "name": place.rule_name(alarm.channel, alarm.source)},
        "hits": alarm.hits,
        "start": rfc3339(alarm.start_ns),
        "start_ns": alarm.start_ns,
        "end": None if alarm.end_ns is None else rfc3339(alarm.end_ns),
        "end_ns": alarm.end_ns,
        "playback_url": place.playback_url(alarm.channel, alarm.start_ns),
    }
    optional: dict[str, Any] = {
        "target": alarm.target and alarm.target.value,
        "track_id": alarm.track_id,
        "box": alarm.box and {name: getattr(alarm.box, name) for name in ("x1", "y1", "x2", "y2")},
        "direction": alarm.direction,
        "counts": alarm.counts,
        "message": alarm.message,
        "snapshot_url": _snapshot_url(alarm, linkage, place),
    }
    return told | {name: value for name, value in optional.items() if value not in (None, "", {})}


def _snapshot_url(alarm: Alarm, linkage: Linkage, place: Place) -> str:
    if linkage.snapshot is None:
        return ""
    channels = linkage.snapshot.channels or (alarm.channel,)
    pictured = alarm.channel if alarm.channel in channels else channels[0]
    return place.snapshot_url(place.snapshot_key(alarm, pictured))
