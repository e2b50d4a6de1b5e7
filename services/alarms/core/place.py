"""What the alarm service knows of its site: names for people, numbers of channels, who is told what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from services.alarms.core.record import Alarm
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_MS, NS_PER_S
from shared.domain.ids import DEVICE_CHANNEL
from shared.messages import AlarmState, EventKind

_WORDS = {
    EventKind.TRIPWIRE: "line crossed",
    EventKind.INTRUSION: "intrusion",
    EventKind.SMD: "smart motion",
    EventKind.PEOPLE_COUNTING: "people counting",
    EventKind.EXCEPTION: "exception",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Names of one site.

    Attributes:
        site, device: the site's name for people; the device's id.
        public_url: where the console is reached, without a slash at the end.
        channels: id -> (number, name).
        rules: (channel, rule) -> name.
        centres: id -> the states of an alarm that it is sent. Only those that are enabled.
    """

    site: str
    device: str
    public_url: str
    channels: dict[str, tuple[int, str]]
    rules: dict[tuple[str, str], str]
    centres: dict[str, frozenset[AlarmState]]

    @classmethod
    def of(cls, site: SiteConfig, public_url: str) -> Place:
        """From the configuration, and where the console is reached."""
        return cls(
            site=site.site.name,
            device=site.device.id,
            public_url=public_url.rstrip("/"),
            channels={channel.id: (channel.number, channel.title) for channel in site.channels},
            rules={(channel.id, rule.id): rule.name or rule.id for channel in site.channels for rule in channel.rules},
            centres={centre.id: frozenset(AlarmState(state) for state in centre.send) for centre in site.centres if centre.enabled},
        )

    def channel_name(self, channel: str) -> str:
        """What people call a channel; the device as a whole has the site's name."""
        return self.site if channel == DEVICE_CHANNEL else self.channels.get(channel, (0, channel))[1]

    def rule_name(self, channel: str, source: str) -> str:
        """What people call a rule; an exception has its own name."""
        return self.rules.get((channel, source), source)

    def snapshot_key(self, alarm: Alarm, channel: str) -> str:
        """Where storage puts the snapshot that `alarm` takes of `channel`; the day is that of the capture time, UTC."""
        day = datetime.fromtimestamp(alarm.snapshot_at_ns // NS_PER_S, UTC)
        return f"{self.device}/{channel}/{day:%Y/%m/%d}/{alarm.alarm_id}.jpg"

    def snapshot_url(self, object_key: str) -> str:
        """Where a snapshot can be seen, once it is stored."""
        return f"{self.public_url}/api/snapshots/{quote(object_key)}"

    def playback_url(self, channel: str, at_ns: int) -> str:
        """Where the recording of a moment is played."""
        return f"{self.public_url}/?{urlencode({'channel': channel, 'at_ns': at_ns})}"

    def describe(self, alarm: Alarm) -> str:
        """An alarm in one line, for people."""
        rule = self.rule_name(alarm.channel, alarm.source)
        words = [_WORDS[alarm.kind], alarm.direction.replace("_", " "), alarm.target.replace("_", " ") if alarm.target else ""]
        words += [f"{name} {count}" for name, count in alarm.counts.items()]
        text = f"{self.channel_name(alarm.channel)}: {rule} ({', '.join(word for word in words if word)})"
        return f"{text}: {alarm.message}" if alarm.message else text


def rfc3339(time_ns: int) -> str:
    """A moment as RFC 3339 text, UTC, in milliseconds."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_S // NS_PER_MS:03d}Z"
