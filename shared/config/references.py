"""What does not fit between settings: names that lead nowhere, ids and numbers given twice.

It asks the plain document, not the models: pydantic checks nothing between fields once a field has failed, and people want every
mistake of a file at once. What is of a wrong type is passed over here; it is told as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from shared.config.base import Location, Misfit

#: Where everything goes that names no storage group, when the file does not say it.
DEFAULT_BUCKETS = {"bucket": "recordings", "snapshots_bucket": "snapshots"}


def misfits(document: Mapping[str, Any]) -> list[Misfit]:
    """All of a site's, given its configuration as mappings, lists and scalars."""
    channels = [(("channels", i), channel) for i, channel in _items(document, "channels")]
    found = [*_twice(document, "channels", "id", "channel"), *_twice(document, "channels", "number", "channel")]
    found += _twice(document, "centres", "id", "centre")
    found += _groups(document)
    for at, channel in channels:
        found += [Misfit((*at, *misfit.at), misfit.what) for misfit in rule_misfits(channel)]
        found += _within(at, channel)
    return found + [misfit for at, channel in channels for misfit in _dangling(document, at, channel)]


def rule_misfits(channel: Mapping[str, Any]) -> list[Misfit]:
    """Rules of one channel that are called the same."""
    return [Misfit(misfit.at, misfit.what) for misfit in _twice(channel, "rules", "id", "rule")]


def _within(at: Location, channel: Mapping[str, Any]) -> Iterator[Misfit]:
    """As the channel's own validators say it, which do not run when any field of the channel failed."""
    recording = _mapping(channel, "recording")
    if recording.get("mode") == "schedule" and recording.get("schedule") is None:
        yield Misfit((*at, "recording"), "mode `schedule` needs `schedule`")
    if _mapping(channel, "analysis").get("stream") == "sub" and channel.get("sub") is None:
        yield Misfit(at, "analysis.stream is `sub`, but there is no sub stream")


def _twice(document: Mapping[str, Any], section: str, key: str, what: str) -> Iterator[Misfit]:
    seen: set[str | int] = set()
    for i, item in _items(document, section):
        value = item.get(key)
        if not isinstance(value, str | int) or isinstance(value, bool):
            continue
        if value in seen:
            called = f"is called {value!r}" if what == "rule" else f"has the {key} {value!r}"
            yield Misfit((section, i, key), f"a {what} above {called} too")
        seen.add(value)


def _dangling(document: Mapping[str, Any], at: Location, channel: Mapping[str, Any]) -> Iterator[Misfit]:
    schedules, centres, channels = _keys(document, "schedules"), _ids(document, "centres"), _ids(document, "channels")
    recording, groups = _mapping(channel, "recording"), _keys(_mapping(document, "storage"), "groups")
    yield from _absent((*at, "recording", "schedule"), "schedule", recording.get("schedule"), schedules)
    for key in ("group", "snapshots_group"):
        yield from _absent((*at, "recording", key), "storage group", recording.get(key), groups)
    for j, rule in _items(channel, "rules"):
        inside, linkage = (*at, "rules", j), _mapping(rule, "linkage")
        yield from _absent((*inside, "arming"), "schedule", rule.get("arming"), schedules)
        for k, centre in enumerate(_list(linkage, "webhooks")):
            yield from _absent((*inside, "linkage", "webhooks", k), "centre", centre, centres)
        for action in ("record", "snapshot"):
            for k, other in enumerate(_list(_mapping(linkage, action), "channels")):
                yield from _absent((*inside, "linkage", action, "channels", k), "channel", other, channels)


def _groups(document: Mapping[str, Any]) -> Iterator[Misfit]:
    """Buckets that are another's, and limits of groups where nothing is overwritten by groups."""
    storage = _mapping(document, "storage")
    taken = {str(storage.get(key, default)): f"`storage.{key}`" for key, default in DEFAULT_BUCKETS.items()}
    for name, group in _mapping(storage, "groups").items():
        at, bucket = ("storage", "groups", str(name)), _mapping({"": group}, "").get("bucket")
        if isinstance(bucket, str):
            yield from (Misfit((*at, "bucket"), what) for what in _clashes(bucket, taken))
            taken.setdefault(bucket, f"the storage group {name!r}")
        if _mapping({"": group}, "").get("max_bytes") is None:
            continue
        if storage.get("when_full") == "stop":
            yield Misfit((*at, "max_bytes"), "a group overwrites its own oldest, but `when_full` is `stop`: leave one of them out")
        if storage.get("quota_mode") is True:
            yield Misfit((*at, "max_bytes"), "room is shared out by groups or by channels (`quota_mode`), not by both")


def _clashes(bucket: str, taken: Mapping[str, str]) -> Iterator[str]:
    """What a bucket has in common with those of others, given whose they are."""
    if bucket in taken:
        yield f"the bucket {bucket!r} is that of {taken[bucket]}; give each one its own"
        return
    for other, owner in taken.items():
        if bucket == f"{other}-locked":
            yield f"the bucket {bucket!r} is where locked recordings of {owner} lie; choose another name"
        if other == f"{bucket}-locked":
            yield f"locked recordings of this group would lie in {other!r}, the bucket of {owner}; choose another name"


def _absent(at: Location, what: str, name: object, known: Sequence[str] | None) -> Iterator[Misfit]:
    if known is None or not isinstance(name, str) or name in known:
        return
    near = get_close_matches(name, known, n=1)
    yield Misfit(at, f"there is no {what} {name!r}" + (f"; did you mean `{near[0]}`?" if near else ""))


def _keys(document: Mapping[str, Any], section: str) -> list[str] | None:
    """The names there; None where that cannot be told."""
    found = document.get(section, {})
    return [str(key) for key in found] if isinstance(found, Mapping) else None


def _ids(document: Mapping[str, Any], section: str) -> list[str] | None:
    """The ids there; None where that cannot be told, since an item is broken or has none."""
    found = document.get(section, [])
    ids = [item.get("id") for _, item in _items(document, section)]
    if not isinstance(found, list | tuple) or len(ids) != len(found) or not all(isinstance(name, str) for name in ids):
        return None
    return [str(name) for name in ids]


def _items(document: Mapping[str, Any], section: str) -> list[tuple[int, Mapping[str, Any]]]:
    return [(i, item) for i, item in enumerate(_list(document, section)) if isinstance(item, Mapping)]


def _list(document: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = document.get(key)
    return found if isinstance(found, list | tuple) else ()


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, Mapping) else {}
