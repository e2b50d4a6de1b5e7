"""The whole configuration of one site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from shared.config.base import Section, Slug
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
    time_zone: Annotated[str, AfterValidator(_check_zone)] = "UTC"
    """IANA name; schedules are in its local time."""

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class DeviceSection(Section):
    """This recorder."""

    id: Slug = "vedette"


class SiteConfig(Section):
    """One site: its cameras, schedules, alarm centres, and how the services run."""

    site: SiteSection = SiteSection()
    device: DeviceSection = DeviceSection()
    data_dir: Path = Path("var")
    """Spool, recordings, databases and passwords; a relative path is relative to this file."""
    bus: BusConfig = EmbeddedBus()
    objects: ObjectsConfig = LocalObjects()
    database: DatabaseConfig = DatabaseConfig()
    schedules: dict[Slug, WeeklySchedule] = Field(default_factory=dict)
    holidays: tuple[Holiday, ...] = ()
    centres: tuple[WebhookCentre, ...] = ()
    channels: tuple[ChannelConfig, ...] = ()
    ingest: IngestConfig = IngestConfig()
    analytics: AnalyticsConfig = AnalyticsConfig()
    storage: StorageConfig = StorageConfig()
    console: ConsoleConfig = ConsoleConfig()

    @model_validator(mode="after")
    def _references(self) -> Self:
        problems = [*self._duplicates(), *self._dangling()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _duplicates(self) -> list[str]:
        def twice(values: list[str], what: str) -> list[str]:
            return [f"two {what} {value!r}" for value in sorted({v for v in values if values.count(v) > 1})]

        return (
            twice([c.id for c in self.channels], "channels have the id")
            + twice([str(c.number) for c in self.channels], "channels have the number")
            + twice([c.id for c in self.centres], "centres have the id")
        )

    def _dangling(self) -> list[str]:
        schedules, centres = set(self.schedules), {centre.id for centre in self.centres}
        channels = {channel.id for channel in self.channels}
        problems = []
        for channel in self.channels:
            at = f"channels.{channel.id}"
            if channel.recording.schedule is not None and channel.recording.schedule not in schedules:
                problems.append(f"{at}.recording.schedule: there is no schedule {channel.recording.schedule!r}")
            for rule in channel.rules:
                where = f"{at}.rules.{rule.id}"
                if rule.arming is not None and rule.arming not in schedules:
                    problems.append(f"{where}.arming: there is no schedule {rule.arming!r}")
                problems += [f"{where}.linkage.webhooks: there is no centre {c!r}" for c in rule.linkage.webhooks if c not in centres]
                others = [*(rule.linkage.record.channels if rule.linkage.record else ())]
                others += [*(rule.linkage.snapshot.channels if rule.linkage.snapshot else ())]
                problems += [f"{where}.linkage: there is no channel {c!r}" for c in others if c not in channels]
        return problems

    def channel(self, channel_id: str) -> ChannelConfig | None:
        """The channel of that id, or None."""
        return next((channel for channel in self.channels if channel.id == channel_id), None)
