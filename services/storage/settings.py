"""What storage makes of a site's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.storage.adapters.ledger import Usage
from services.storage.adapters.modes import ChannelMode
from services.storage.core.policy import ChannelLimits, Limits, with_channels
from shared.config.services import LocalObjects, StorageConfig
from shared.config.site import SiteConfig
from shared.domain.clock import seconds_to_ns

DAY_S = 86_400


def limits_of(site: SiteConfig) -> Limits:
    """The limits that a site's configuration asks for."""
    storage = site.storage
    spool_bytes = site.ingest.spool_max_bytes if isinstance(site.objects, LocalObjects) else 0  # objects elsewhere are no room here
    groups = {group.bucket: group.max_bytes for group in storage.groups.values() if group.max_bytes is not None}
    limits = Limits(storage.when_full, storage.min_free_bytes, storage.max_bytes, spool_bytes=spool_bytes, groups=groups)
    return with_channels(limits, channel_limits(site), quota_mode=site.storage.quota_mode)


def channel_limits(site: SiteConfig) -> dict[str, ChannelLimits]:
    """Each channel's own."""
    kept = {channel.id: channel.recording for channel in site.channels}
    return {
        id_: ChannelLimits(None if own.keep_days is None else seconds_to_ns(own.keep_days * DAY_S), own.quota_bytes)
        for id_, own in kept.items()
    }


def channel_modes(site: SiteConfig) -> dict[str, ChannelMode]:
    """How each channel is recorded."""
    schedules = {name: schedule.evaluable(site.holidays, site.site.zone) for name, schedule in site.schedules.items()}
    return {
        channel.id: ChannelMode.of(channel.recording, schedules, site.storage.bucket_of(channel.recording.group))
        for channel in site.channels
    }


def snapshots_bucket(site: SiteConfig, channel_id: str) -> str:
    """The bucket of a channel's snapshots, as rows name it."""
    channel = site.channel(channel_id)
    return "" if channel is None else site.storage.bucket_of(channel.recording.snapshots_group)


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """A storage group, and what lies in it. `name` None: the site names it no more. `limit_bytes`: its own; None: none."""

    name: str | None
    bucket: str
    usage: Usage
    limit_bytes: int | None


def groups_of(storage: StorageConfig, used: Mapping[str, Usage]) -> list[GroupUsage]:
    """The groups of the site, then buckets of groups that it names no more and in which something lies.

    Args:
        used: by bucket, as rows name it.
    """
    found = [GroupUsage(name, one.bucket, used.get(one.bucket, Usage()), one.max_bytes) for name, one in storage.groups.items()]
    known = {"", *(one.bucket for one in found)}
    return found + [GroupUsage(None, bucket, usage, None) for bucket, usage in used.items() if bucket not in known and usage.total_bytes]
