"""The whole configuration of one site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from shared.config.base import LocalPath, Section, Slug, raise_misfits
from shared.config.channels import ChannelConfig
from shared.config.internal import InternalConfig
from shared.config.references import misfits
from shared.config.schedules import Holiday, WeeklySchedule
from shared.config.services import (
    AlarmsConfig,
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


class SiteConfig(Section):
    """One site: its cameras, schedules, alarm centres, and how the services run."""

    site: SiteSection = SiteSection()
    device: DeviceSection = DeviceSection()
    data_dir: LocalPath = Path("var")
    """Spool, recordings, databases and passwords; a relative path is relative to this file."""
    bus: BusConfig = EmbeddedBus()
    objects: ObjectsConfig = LocalObjects()
    database: DatabaseConfig = DatabaseConfig()
    internal: InternalConfig = InternalConfig()
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
    alarms: AlarmsConfig = AlarmsConfig()
    storage: StorageConfig = StorageConfig()
    console: ConsoleConfig = ConsoleConfig()

    @model_validator(mode="after")
    def _references(self) -> Self:
        raise_misfits(misfits(self.model_dump(include={"schedules", "centres", "channels", "storage"})))
        return self

    def channel(self, channel_id: str) -> ChannelConfig | None:
        """The channel of that id, or None."""
        return next((channel for channel in self.channels if channel.id == channel_id), None)
