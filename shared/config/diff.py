"""What differs between two versions of a configuration, in words, and what of it cannot be taken at run time.

Channels, rules and centres are told by their ids, never by their place in a list. Secrets are never shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared.config.base import Location
from shared.config.document import Document, is_secret
from shared.domain.redact import redact

_SHOWN_CHARS = 80
#: Lists of things that have an id, and what one of them is called.
_IDENTIFIED = {"channels": "channel", "centres": "centre", "rules": "rule"}
_NOT_SET = object()

#: Each process has these from its own file: they say how it reaches the others.
DEPLOYMENT = ("bus", "objects", "database", "data_dir", "internal")
#: And of these sections these keys.
OWN_KEYS: Mapping[str, tuple[str, ...]] = {"device": ("id",), "console": ("host", "port")}
_FROZEN: tuple[tuple[Location, str], ...] = (
    (("bus",), "each process reaches the broker by its own file"),
    (("objects",), "recordings would stay behind in the old store"),
    (("database",), "catalogue and alarm book would stay behind in the old database"),
    (("data_dir",), "spool and open recordings would stay behind in the old folder"),
    (("internal",), "each process listens, and reaches the others, by its own file"),
    (("console", "host"), "the console listens by its own file"),
    (("console", "port"), "the console listens by its own file"),
    (("device", "id"), "recordings and alarms carry it"),
    (("storage", "bucket"), "recordings would stay behind in the old bucket"),
    (("storage", "snapshots_bucket"), "snapshots would stay behind in the old bucket"),
)
_STOP_FIRST = "stop the services, change it in their files, start them"
#: Taken when the service starts the next time, and by whom.
_AT_START: tuple[tuple[Location, str], ...] = (
    (("console", "public_url"), "alarms"),
    (("analytics",), "analytics"),
    (("alarms", "keep_events_days"), "storage"),
)


def diff(old: Document, new: Document) -> list[str]:
    """A line for each difference, in the order of the file; empty: they mean the same."""
    return list(_mapping(old, new, (), ""))


def refusals(old: Document, new: Document) -> list[str]:
    """A line for each difference that cannot be taken while services run, with the reason."""
    found = [
        f"{'.'.join(map(str, at))} cannot be changed at run time: {why}; {_STOP_FIRST}"
        for at, why in _FROZEN
        if _plain(_at(old, at)) != _plain(_at(new, at))
    ]
    before = {item["id"]: item.get("number") for item in _items(old, "channels")}
    for item in _items(new, "channels"):
        number = before.get(item["id"], item.get("number"))
        if number != item.get("number"):
            why = "its messages have their partition by it; give the camera a new id as well"
            found.append(f"channel {item['id']}: number cannot be changed ({number} → {item.get('number')}): {why}")
    return found


def at_next_start(old: Document, new: Document) -> list[str]:
    """A line for each difference that a service takes only when it starts the next time."""
    changed = [(at, who) for at, who in _AT_START if _plain(_at(old, at)) != _plain(_at(new, at))]
    return [f"{'.'.join(map(str, at))}: taken when {who} starts the next time" for at, who in changed]


def _mapping(old: Document, new: Document, at: Location, where: str) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key, _NOT_SET), new.get(key, _NOT_SET)
        inside = (*at, str(key))
        if key in _IDENTIFIED and _are_items(before) and _are_items(after):
            yield from _identified(_ids(before), _ids(after), inside, where, _IDENTIFIED[key])
        elif _is_section(before, inside) and _is_section(after, inside):
            yield from _mapping(_section(before), _section(after), inside, where)
        elif _plain(before) != _plain(after):
            yield f"{where}{_name(inside)}: {_change(before, after, inside)}"


def _identified(old: Mapping[str, Document], new: Mapping[str, Document], at: Location, where: str, what: str) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        called = f"{where}{what} {name}"
        if name not in new:
            yield f"{called}: removed"
        elif name not in old:
            rules = len(_items(new[name], "rules"))
            yield f"{called}: added" + (f", with {rules} rule{'' if rules == 1 else 's'}" if rules else "")
        else:
            yield from _mapping(old[name], new[name], (*at, name), f"{called}: ")


def _name(at: Location) -> str:
    """The place within its channel, rule or centre."""
    names = [str(step) for step in at]
    last = max((i for i, name in enumerate(names[:-2]) if name in _IDENTIFIED), default=None)
    return ".".join(names if last is None else names[last + 2 :])


def _change(before: object, after: object, at: Location) -> str:
    secret = any(is_secret(at[:n]) for n in range(1, len(at) + 1))
    old, new = _show(before, secret=secret), _show(after, secret=secret)
    return "changed" if old == new else f"{old} → {new}"


def _show(value: object, *, secret: bool) -> str:
    if value is _NOT_SET or value is None:
        return "not set"
    if secret and not (isinstance(value, Mapping) and set(value) <= {"env", "file"}):
        return "a secret"
    text = redact(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _is_section(value: object, at: Location) -> bool:
    """Whether to look into it. What is not set has no settings; a reference is one value."""
    return value is _NOT_SET or (isinstance(value, Mapping) and not is_secret(at) and not {"env", "file"} & set(value))


def _section(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}


def _are_items(value: object) -> bool:
    return value is _NOT_SET or (isinstance(value, list) and len(_ids(value)) == len(value))


def _ids(value: object) -> dict[str, Document]:
    items = value if isinstance(value, list) else []
    return {str(item["id"]): item for item in items if isinstance(item, Mapping) and "id" in item}


def _items(parent: Document, key: str) -> list[Mapping[str, Any]]:
    found = parent.get(key)
    return [item for item in found if isinstance(item, Mapping) and "id" in item] if isinstance(found, list) else []


def _at(tree: Document, at: Location) -> object:
    value: object = tree
    for step in at:
        value = value.get(step, _NOT_SET) if isinstance(value, Mapping) else _NOT_SET
    return value


def _plain(value: object) -> object:
    """Without what says nothing: a section or list that is empty is one that is not there."""
    if value is _NOT_SET or value is None or value in ({}, []):
        return None
    if isinstance(value, Mapping):
        return {key: inner for key, raw in value.items() if (inner := _plain(raw)) is not None} or None
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
