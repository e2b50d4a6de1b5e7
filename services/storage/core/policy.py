"""What is deleted, and when. Pure; the writer and the cleaner both ask here, with the same limits.

Scopes of "oldest first": the whole store; a storage group with a limit of its own; in quota mode each channel. Locked items are never
chosen, whatever the need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from services.storage.core.model import Kind
from services.storage.core.recording import unclaimed
from services.storage.core.turns import BY_TIME, Turns
from shared.config.services import MIB, FullPolicy

#: The cleaner keeps room for this much, so that the writer seldom waits for it.
HEADROOM_BYTES = 64 * MIB
HEADROOM_SHARE = 100  # at most the hundredth part of the limit
#: Under the stop policy people are warned when less than this share of the limit is left.
LOW_SHARE = 20
#: Ingest's spool lives on what is free above the threshold: the cleaner leaves it at most this share of the disk, and for its sake
#: overwrites at most this share of what is kept.
SPOOL_SHARE, SPOOL_SHARE_OF_KEPT = 20, 10


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """What one channel was last asked to keep. None: for ever; all that there is room for."""

    keep_ns: int | None = None
    quota_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The agreed limits.

    Attributes:
        min_free_bytes: left free on the disk.
        max_bytes: all items together; None: what the disk has.
        quotas: bytes per channel, in quota mode; locked items do not count.
        groups: bytes per bucket of storage groups that have a limit of their own; locked items do not count.
        keep_ns: how long per channel; a channel that is not named keeps for ever.
        spool_bytes: what a spool on the same disk may hold while storage takes nothing; 0: there is none.
    """

    when_full: FullPolicy
    min_free_bytes: int
    max_bytes: int | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)
    keep_ns: Mapping[str, int] = field(default_factory=dict)
    spool_bytes: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)


def with_channels(limits: Limits, channels: Mapping[str, ChannelLimits], *, quota_mode: bool) -> Limits:
    """The limits, with each channel's own."""
    quotas = {channel: one.quota_bytes for channel, one in channels.items() if one.quota_bytes is not None} if quota_mode else {}
    keep_ns = {channel: one.keep_ns for channel, one in channels.items() if one.keep_ns is not None}
    return replace(limits, quotas=quotas, keep_ns=keep_ns)


@dataclass(frozen=True, slots=True)
class Space:
    """What is there: bytes free and in all on the disk, and bytes of all items."""

    free_bytes: int
    total_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be deleted as a whole: a closed recording file or a snapshot.

    `on_disk`: deleting it frees space on this disk (else only in the object store). `bucket`: as `Recording.bucket`.
    """

    id: str
    channel: str
    start_ns: int
    end_ns: int
    size_bytes: int
    locked: bool = False
    on_disk: bool = True
    kind: Kind = Kind.GENERAL
    bucket: str = ""


class Why(StrEnum):
    """Why something is deleted."""

    SPACE = "overwritten"
    QUOTA = "quota"
    GROUP = "storage group"
    EXPIRED = "expired"
    UNCLAIMED = "no alarm"


@dataclass(frozen=True, slots=True)
class Victim:
    """An item to delete."""

    item: Item
    why: Why


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Bytes that must go before `need` bytes fit: on the disk, and of all items. Zero: there is room."""

    disk_bytes: int
    total_bytes: int

    def __bool__(self) -> bool:
        return self.disk_bytes > 0 or self.total_bytes > 0


def shortfall(space: Space, limits: Limits, need_bytes: int) -> Shortfall:
    """THE threshold: what is missing for `need_bytes` more, for the writer and the cleaner alike."""
    disk = limits.min_free_bytes + need_bytes - space.free_bytes
    total = 0 if limits.max_bytes is None else space.used_bytes + need_bytes - limits.max_bytes
    return Shortfall(max(0, disk), max(0, total))


def headroom(space: Space, limits: Limits) -> int:
    """Bytes that the cleaner keeps free beyond the limits. At least what one writer's group may need is asked for by the writer itself."""
    whole = space.total_bytes if limits.max_bytes is None else limits.max_bytes
    return min(HEADROOM_BYTES, whole // HEADROOM_SHARE)


def with_spool_room(limits: Limits, space: Space) -> Limits:
    """What a sweep keeps to: room for the spool as well, so that an outage of storage costs no footage on a disk that is always full.

    Only the sweep does: the writer would have the oldest deleted in a hurry for what is there to be used up.
    """
    room = min(limits.spool_bytes, space.total_bytes // SPOOL_SHARE, space.used_bytes // SPOOL_SHARE_OF_KEPT)
    return replace(limits, min_free_bytes=limits.min_free_bytes + room)


def is_low(space: Space, limits: Limits) -> bool:
    """Whether people must be told that the end is near: under the stop policy only, overwriting is always near its limit."""
    if limits.when_full is not FullPolicy.STOP:
        return False
    whole = space.total_bytes - limits.min_free_bytes if limits.max_bytes is None else limits.max_bytes
    return bool(shortfall(space, limits, max(0, whole) // LOW_SHARE))


def select(items: Iterable[Item], limits: Limits, space: Space, need_bytes: int, now_ns: int, order: Turns = BY_TIME) -> list[Victim]:
    """What to delete now, in order: what nobody wants, what has expired, what is over its quota or group, then the oldest for room.

    Args:
        items: all closed files and snapshots; open files are never chosen.
        need_bytes: how much must fit. Under the stop policy nothing is deleted for it.
        now_ns: a clock that is right.
    """
    known = list(items)
    retired = retire(known, limits, now_ns, settled_ns=now_ns, order=order)
    gone = {victim.item.id for victim in retired}
    retired += trim([item for item in known if item.id not in gone], limits, order=order)
    gone = {victim.item.id for victim in retired}
    freed = Space(
        space.free_bytes + sum(victim.item.size_bytes for victim in retired if victim.item.on_disk),
        space.total_bytes,
        space.used_bytes - sum(victim.item.size_bytes for victim in retired),
    )
    return retired + make_room([item for item in known if item.id not in gone], limits, freed, need_bytes, order)


def retire(
    items: Iterable[Item], limits: Limits, now_ns: int, usage: Mapping[str, int] | None = None, *, settled_ns: int, order: Turns = BY_TIME
) -> list[Victim]:
    """What must go whether room is needed or not: unclaimed, expired, over quota.

    Args:
        settled_ns: the time that footage expires by (`ClockWatch`).
        order: which is the oldest.
        usage: unlocked bytes per channel where `items` are only some of them (of a channel over its quota: its oldest).
    """
    remaining = sorted((item for item in items if not item.locked), key=_age(order))
    victims = _outdated(remaining, limits, now_ns, settled_ns)
    gone = {victim.item.id for victim in victims}
    left = None if usage is None else defaultdict(int, usage)
    if left is not None:
        for victim in victims:
            left[victim.item.channel] -= victim.item.size_bytes
    rest = [item for item in remaining if item.id not in gone]
    return victims + _beyond(rest, limits.quotas, lambda item: item.channel, Why.QUOTA, left)


def trim(items: Iterable[Item], limits: Limits, usage: Mapping[str, int] | None = None, order: Turns = BY_TIME) -> list[Victim]:
    """The oldest of each storage group that holds more than its own limit.

    Args:
        usage: unlocked bytes per bucket where `items` are only some of them (of groups over their limits: the oldest).
    """
    return _beyond(
        sorted((item for item in items if not item.locked), key=_age(order)), limits.groups, lambda item: item.bucket, Why.GROUP, usage
    )


def make_room(items: Iterable[Item], limits: Limits, space: Space, need_bytes: int, order: Turns = BY_TIME) -> list[Victim]:
    """The oldest that must go so that `need_bytes` fit. `items` may be the oldest of all only (`oldest`)."""
    if limits.when_full is not FullPolicy.OVERWRITE:
        return []
    return _for_room(sorted((item for item in items if not item.locked), key=_age(order)), shortfall(space, limits, need_bytes))


def oldest(windows: Iterable[Sequence[Item]], limit: int, order: Turns = BY_TIME) -> list[Item]:
    """The `limit` oldest of several kinds of items, given the `limit` oldest of each; beyond that an older one may be unseen."""
    return sorted((item for window in windows for item in window), key=_age(order))[:limit]


def _age(order: Turns) -> Callable[[Item], tuple[int, int, str]]:
    return lambda item: order.age(item.start_ns, item.id)


def _outdated(items: Sequence[Item], limits: Limits, now_ns: int, settled_ns: int) -> list[Victim]:
    found = []
    for item in items:
        keep_ns = limits.keep_ns.get(item.channel)
        if unclaimed(item.kind, item.end_ns, now_ns):
            found.append(Victim(item, Why.UNCLAIMED))
        elif keep_ns is not None and settled_ns - item.end_ns > keep_ns:
            found.append(Victim(item, Why.EXPIRED))
    return found


def _beyond(
    items: Sequence[Item], most: Mapping[str, int], scope: Callable[[Item], str], why: Why, usage: Mapping[str, int] | None
) -> list[Victim]:
    """Of each scope that has more than its `most` bytes: its oldest. `items`: oldest first, all of them where there is no `usage`."""
    used: defaultdict[str, int] = defaultdict(int, usage or {})
    if usage is None:
        for item in items:
            used[scope(item)] += item.size_bytes
    found = []
    for item in items:
        limit = most.get(scope(item))
        if limit is not None and used[scope(item)] > limit:
            found.append(Victim(item, why))
            used[scope(item)] -= item.size_bytes
    return found


def _for_room(items: Sequence[Item], missing: Shortfall) -> list[Victim]:
    disk, total = missing.disk_bytes, missing.total_bytes
    found = []
    for item in items:  # oldest first
        if disk <= 0 and total <= 0:
            break
        if total > 0 or item.on_disk:  # what lies elsewhere does not help a full disk
            found.append(Victim(item, Why.SPACE))
            disk -= item.size_bytes if item.on_disk else 0
            total -= item.size_bytes
    return found
