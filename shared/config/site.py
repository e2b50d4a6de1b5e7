"""The whole configuration of one site."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from shared.config.base import LocalPath, Misfit, Section, Slug, raise_misfits
from shared.config.channels import ChannelConfig
from shared.config.schedules import Holiday, WeeklySchedule
from shared.config.services import (
    AnalyticsConfig,
    BusConfig,
    ConsoleConfig,
    DatabaseConfig,
    EmbeddedBus,
    IngestConfig,
    LocalObjects,
    ObjectsConfig,
    StorageConfig,
    WebhookCentre,
)


def _check_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not a time zone of the IANA database (for example Europe/Paris)")
    return name


class SiteSection(Section):
    """The place."""

    name: str = "My site"
    """What people call it."""
    time_zone: Annotated[str, AfterValidator(_check_zone)] = "UTC"
    """IANA name; schedules are in its local time."""

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class DeviceSection(Section):
    """This recorder."""

    id: Slug = "vedette"
    """Unique among the recorders of a site; part of the recordings' paths."""


def _absent(at: tuple[str | int, ...], what: str, name: str, known: Collection[str]) -> Misfit:
    near = get_close_matches(name, known, n=1)
    return Misfit(at, f"there is no {what} {name!r}" + (f"; did you mean `{near[0]}`?" if near else ""))


class SiteConfig(Section):
    """One site: its cameras, schedules, alarm centres, and how the services run."""

    site: SiteSection = SiteSection()
    device: DeviceSection = DeviceSection()
    data_dir: LocalPath = Path("var")
    """Spool, recordings, databases and passwords; a relative path is relative to this file."""
    bus: BusConfig = EmbeddedBus()
    objects: ObjectsConfig = LocalObjects()
    database: DatabaseConfig = DatabaseConfig()
    schedules: dict[Slug, WeeklySchedule] = Field(default_factory=dict)
    """By id. Up to 6 periods a day, in the site's time zone."""
    holidays: tuple[Holiday, ...] = ()
    """Days on which schedules use their `holiday` row."""
    centres: tuple[WebhookCentre, ...] = ()
    """Who alarms can be reported to."""
    channels: tuple[ChannelConfig, ...] = ()
    """The cameras."""
    ingest: IngestConfig = IngestConfig()
    analytics: AnalyticsConfig = AnalyticsConfig()
    storage: StorageConfig = StorageConfig()
    console: ConsoleConfig = ConsoleConfig()

    @model_validator(mode="after")
    def _references(self) -> Self:
        raise_misfits([*self._duplicates(), *self._dangling()])
        return self

    def _duplicates(self) -> Iterator[Misfit]:
        ids, numbers = [c.id for c in self.channels], [c.number for c in self.channels]
        centres = [centre.id for centre in self.centres]
        for i in range(len(ids)):
            if ids[i] in ids[:i]:
                yield Misfit(("channels", i, "id"), f"a channel above has the id {ids[i]!r} too")
            if numbers[i] in numbers[:i]:
                yield Misfit(("channels", i, "number"), f"a channel above has the number {numbers[i]} too")
        for i in range(len(centres)):
            if centres[i] in centres[:i]:
                yield Misfit(("centres", i, "id"), f"a centre above has the id {centres[i]!r} too")

    def _dangling(self) -> Iterator[Misfit]:
        centres, channels = [centre.id for centre in self.centres], [channel.id for channel in self.channels]
        for i, channel in enumerate(self.channels):
            if channel.recording.schedule is not None and channel.recording.schedule not in self.schedules:
                yield _absent(("channels", i, "recording", "schedule"), "schedule", channel.recording.schedule, self.schedules)
            for j, rule in enumerate(channel.rules):
                at = ("channels", i, "rules", j)
                if rule.arming is not None and rule.arming not in self.schedules:
                    yield _absent((*at, "arming"), "schedule", rule.arming, self.schedules)
                for k, centre in enumerate(rule.linkage.webhooks):
                    if centre not in centres:
                        yield _absent((*at, "linkage", "webhooks", k), "centre", centre, centres)
                for action, linked in (("record", rule.linkage.record), ("snapshot", rule.linkage.snapshot)):
                    for k, other in enumerate(linked.channels if linked else ()):
                        if other not in channels:
                            yield _absent((*at, "linkage", action, "channels", k), "channel", other, channels)

    def channel(self, channel_id: str) -> ChannelConfig | None:
        """The channel of that id, or None."""
        return next((channel for channel in self.channels if channel.id == channel_id), None)
