"""Alarms, and cameras that come and go, as lines on the terminal as they happen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.cli.output import say
from shared.bus.port import Bus
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, Clock, seconds_to_ns
from shared.domain.media import StreamKind
from shared.domain.redact import redact
from shared.messages import AlarmMessage, AlarmState, EventKind
from shared.messages.media import ChannelState, ChannelStatus
from shared.service import Service
from shared.topics import ALARMS, CHANNEL_STATUS

POLL_S = 1.0
#: Progress of what gets ready beside the recorder is told at most this often.
TELL_EVERY_S = 5.0
_WORDS = {"a_to_b": "A to B", "b_to_a": "B to A"}


def alarm_line(alarm: AlarmMessage, site: SiteConfig) -> str:
    """One line: site time, what, where, who, which way."""
    channel, zone = site.channel(alarm.channel), site.site.zone
    rule = next((rule for rule in channel.rules if rule.id == alarm.source), None) if channel else None
    parts = [
        _clock_time(alarm.start_ns, zone),
        "ALARM",
        channel.title if channel else alarm.channel,
        (rule.name or rule.id) if rule else alarm.source,
        alarm.kind.value.replace("_", " "),
    ]
    parts += [alarm.target.value.replace("_", " ")] if alarm.target else []
    parts += [_WORDS.get(alarm.direction, alarm.direction)] if alarm.direction else []
    parts += [", ".join(f"{name} {count}" for name, count in alarm.counts.items())] if alarm.counts else []
    parts += [alarm.message] if alarm.message else []
    return redact("  ".join(parts))


def webhook_line(event: Mapping[str, Any]) -> str:
    """What a received CloudEvent tells, in the words of its alarm's line."""
    data = event.get("data")
    told: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    parts = [_name(told.get("channel")), _name(told.get("rule")), _spaced(told.get("kind")), _spaced(told.get("target"))]
    direction = str(told.get("direction") or "")
    parts += [_WORDS.get(direction, direction), _spaced(told.get("state"))]
    return redact("  ".join(part for part in parts if part) or str(event.get("type", "")))


def _name(thing: object) -> str:
    return str(thing.get("name") or thing.get("id") or "") if isinstance(thing, Mapping) else ""


def _spaced(word: object) -> str:
    return str(word or "").replace("_", " ")


def _clock_time(ns: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(ns / NS_PER_S, zone).strftime("%H:%M:%S")


async def announce_alarms(bus: Bus, site: SiteConfig) -> None:
    """Print every alarm that is raised from now on, until cancelled."""
    consumer = await bus.consumer([ALARMS], group=None)
    try:
        while True:
            for record in await consumer.poll(timeout_s=POLL_S):
                alarm = record.message
                if isinstance(alarm, AlarmMessage) and alarm.state is AlarmState.RAISED:
                    say(alarm_line(alarm, site), style="red" if alarm.kind is EventKind.EXCEPTION else "yellow")
    finally:
        await consumer.close()


class ChannelLines:
    """From statuses, which come every few seconds, to a line per stream whenever it comes online or goes offline."""

    def __init__(self, site: SiteConfig) -> None:
        self._site = site
        self._told: dict[tuple[str, StreamKind], tuple[ChannelState, str]] = {}

    def line(self, status: ChannelStatus) -> str | None:
        """What to tell of `status`; None: nothing new (the same kind of failure again is nothing new)."""
        if status.state not in (ChannelState.ONLINE, ChannelState.OFFLINE):
            return None
        stream, now = (status.channel, status.stream), (status.state, status.error)
        before, self._told[stream] = self._told.get(stream), now
        if now == before:
            return None
        channel, same = self._site.channel(status.channel), before is not None and before[0] is status.state
        name = channel.title if channel else status.channel
        parts = [
            _clock_time(status.at_ns if same else status.since_ns, self._site.site.zone),
            status.state.value.upper(),
            name if status.stream is StreamKind.MAIN else f"{name} (sub stream)",
        ]
        parts += [status.reason] if status.reason else []
        return redact("  ".join(parts))


async def announce_channels(bus: Bus, site: SiteConfig) -> None:
    """Print every camera that comes online or goes offline from now on, until cancelled."""
    consumer, lines = await bus.consumer([CHANNEL_STATUS], group=None), ChannelLines(site)
    try:
        while True:
            for record in await consumer.poll(timeout_s=POLL_S):
                status = record.message
                if isinstance(status, ChannelStatus) and (line := lines.line(status)) is not None:
                    say(line, style="green" if status.state is ChannelState.ONLINE else "red")
    finally:
        await consumer.close()


async def announce_ready(service: Service, clock: Clock) -> None:
    """Tell how far a service is that gets ready beside the others, until it is."""
    told, told_ns = "", 0
    while not (health := service.health()).ok:
        if health.summary != told and clock.monotonic_ns() - told_ns >= seconds_to_ns(TELL_EVERY_S):
            told, told_ns = health.summary, clock.monotonic_ns()
            say(redact(f"{service.name}: {told}"))
        await clock.sleep(POLL_S)
    say(f"{service.name}: ready", style="green")
