"""Which cameras a new configuration concerns: those whose connection it changes, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from shared.config.channels import ChannelConfig, RecordingConfig, RecordMode
from shared.config.services import IngestConfig
from shared.config.site import SiteConfig


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do, by channel id.

    Attributes:
        stop: read no longer, or read anew.
        start: read from now on, or anew.
    """

    stop: frozenset[str]
    start: frozenset[str]


def changes(old: SiteConfig, new: SiteConfig) -> Changes:
    """From the configuration that runs to the one that is to run."""
    before, after = _read(old), _read(new)
    same = {name for name, what in after.items() if before.get(name) == what}
    return Changes(frozenset(before.keys() - same), frozenset(after.keys() - same))


def _read(site: SiteConfig) -> dict[str, tuple[ChannelConfig, IngestConfig, str]]:
    """What reading each enabled camera depends on."""
    fixed = IngestConfig()
    kept = ("spool_max_bytes", "catch_up_bytes_per_s", "status_every_s")
    settings = site.ingest.model_copy(update={name: getattr(fixed, name) for name in kept})
    return {channel.id: (_connection(channel), settings, site.device.id) for channel in site.channels if channel.enabled}


def _connection(channel: ChannelConfig) -> ChannelConfig:
    """A channel without what only others look at: how long it is kept, its rules, its name."""
    recorded = channel.recording.mode is not RecordMode.OFF
    recording = RecordingConfig(mode=RecordMode.ALWAYS if recorded else RecordMode.OFF)
    return channel.model_copy(update={"name": "", "rules": (), "recording": recording})
