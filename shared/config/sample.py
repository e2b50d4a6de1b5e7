"""The commented sample configuration, made from the models: every key, its default, its meaning, unit and limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shared.config.base import Section
from shared.config.shape import below, is_section, model_of, plain
from shared.config.site import SiteConfig


class Part(dict[str, Any]):
    """A section of which the sample shows what is given, and not its other keys."""


#: What stands in the sample where there is no default, or where an empty default would show nothing.
EXAMPLES: dict[str, Any] = {
    "schedules": {
        "closed": {
            **{day: ["00:00-07:30", "19:00-24:00"] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")},
            **{day: ["00:00-24:00"] for day in ("saturday", "sunday", "holiday")},
        }
    },
    "holidays": [{"name": "Turn of the year", "first": "12-24", "last": "12-31"}],
    "channels": [
        {
            "id": "front-door",
            "number": 1,
            "name": "Front door",
            "main": {"url": "rtsp://192.0.2.10:554/stream1"},
            "sub": {"url": "rtsp://192.0.2.10:554/stream2"},
            "rules": [
                {"id": "step", "kind": "tripwire", "line": [[0.2, 0.7], [0.5, 0.6], [0.8, 0.7]]},
                {"id": "yard", "kind": "intrusion", "arming": "closed", "zone": [[0.1, 0.5], [0.9, 0.5], [1, 1], [0, 1]]},
                {"id": "smart", "kind": "smd", "enabled": False},
                {"id": "visitors", "kind": "people_counting", "line": [[0.5, 0.2], [0.5, 1.0]]},
            ],
        }
    ],
}

#: Other forms, which the sample shows as comments.
ALTERNATIVES: dict[str, Any] = {
    "centres": [{"id": "monitoring", "url": "https://alarms.example.com/vedette", "secret": {"env": "MONITORING_SECRET"}}],
    "bus": {"kind": "kafka", "brokers": ["kafka-1:9092", "kafka-2:9092"]},
    "objects": {"kind": "s3", "endpoint": "minio:9000", "access_key": {"env": "S3_ACCESS"}, "secret_key": {"env": "S3_SECRET"}},
    "internal": {
        "listen": "0.0.0.0:8790",
        "token": {"env": "INTERNAL_TOKEN"},
        "ingest": ["http://ingest:8790"],
        "storage": "http://storage:8790",
        "alarms": "http://alarms:8790",
        "analytics": ["http://analytics:8790"],
    },
    "storage": Part(groups={"archive": {"bucket": "archive"}}),
}
_INTRODUCTION = {
    "centres": "# Monitoring centres that rules can report to; without the `# ` in front:",
    "bus": "# Or, across machines:",
    "objects": "# Or:",
    "internal": "# Or, with services in processes of their own:",
    "storage": "# Or, with a storage group that channels can name:",
}

_SITE = ("site", "device", "data_dir", "schedules", "holidays", "centres", "channels")
_HEAD = """\
# Vedette: configuration of one site. `vedette config validate FILE` checks it, `vedette run FILE` runs it.
# `vedette config sample` prints this file. Times are in seconds (_s), sizes in bytes, geometry is 0 to 1 of the frame from
# its top left corner.
# A secret is {env: NAME}, {file: PATH} or text. Relative paths are relative to this file.
# Any other single value may come from the environment too: {env: NAME}, or {env: NAME, default: X} for where NAME is not set or empty.

# ------------------------------------------------------------------------------------------------------------------
# Your site. Schedules, holidays and channels below are EXAMPLES: make them yours. Their optional keys have their
# defaults and can be left out.
# ------------------------------------------------------------------------------------------------------------------
"""
_SETTINGS = """
# ------------------------------------------------------------------------------------------------------------------
# Settings, all with their DEFAULTS: every line from here on can be left out.
# ------------------------------------------------------------------------------------------------------------------
"""
_WIDTH = 140
_PLAIN_TEXT = re.compile(r"^[A-Za-z/][A-Za-z0-9_./ -]*$")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}


def sample() -> str:
    """The whole file, as YAML text."""
    settings = [name for name in SiteConfig.model_fields if name not in _SITE]
    return _HEAD + "".join(_top(name) for name in _SITE) + _SETTINGS + "".join(_top(name) for name in settings)


def _top(name: str) -> str:
    info = SiteConfig.model_fields[name]
    lines = ["", *_field(name, info, EXAMPLES.get(name, _default(info)), "")]
    if name in ALTERNATIVES:
        lines += [_INTRODUCTION[name], *(f"# {line}".rstrip() for line in _field(name, info, ALTERNATIVES[name], ""))]
    return "\n".join(lines) + "\n"


def _default(info: FieldInfo) -> Any:
    return info.get_default(call_default_factory=True, validated_data={})


def _field(name: str, info: FieldInfo, value: Any, indent: str) -> list[str]:
    """`name: value` with its comment; sections and lists of sections over several lines."""
    if isinstance(value, Section):
        value = {key: getattr(value, key) for key in type(value).model_fields}
    model = model_of(info.annotation, value) if isinstance(value, Mapping) else None
    if model is not None:
        about = (info.description or _first_line(model)).removesuffix(".")
        return [*_commented(f"{indent}{name}:", about), *_section(model, value, f"{indent}  ")]
    inner: Any = plain(below(plain(info.annotation), 0)) if isinstance(value, Mapping | Sequence) and value else None
    if isinstance(value, Mapping) and is_section(inner):
        return [*_commented(f"{indent}{name}:", _first_line(inner)), *_named(inner, value, indent)]
    if isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        return [*_commented(f"{indent}{name}:", info.description or ""), *_items(inner, value, indent)]
    return _commented(f"{indent}{name}: {_scalar(value)}", _about(name, info, value))


def _named(model: type[Section], values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, inner in values.items():
        yield f"{indent}  {key}:"
        yield from _section(model, inner, f"{indent}    ")


def _items(annotation: Any, values: Sequence[Mapping[str, Any]], indent: str) -> Iterator[str]:
    """A list of sections. What the first ones have shown, the later ones leave out."""
    shown: set[tuple[str, str]] = set()
    for item in values:
        model = model_of(annotation, item)
        assert model is not None, item
        lines = list(_section(model, item, f"{indent}    ", shown))
        shown |= {(name, info.description or "") for name, info in model.model_fields.items()}
        first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
        lines[first] = f"{indent}  - {lines[first].lstrip()}"
        yield from lines


def _section(model: type[Section], values: Mapping[str, Any], indent: str, shown: set[tuple[str, str]] | None = None) -> Iterator[str]:
    names = sorted(model.model_fields, key=lambda name: {"id": 0, "kind": 1}.get(name, 2))
    for name in names:
        info = model.model_fields[name]
        if name in values:
            yield from _field(name, info, values[name], indent)
        elif not isinstance(values, Part) and (shown is None or (name, info.description or "") not in shown):
            default = _default(info)
            assert default is not PydanticUndefined, f"the sample needs an example of {model.__name__}.{name}"
            yield from _field(name, info, default, indent)


def _commented(line: str, about: str) -> list[str]:
    if not about:
        return [line]
    if len(line) + 3 + len(about) <= _WIDTH:
        return [f"{line}  # {about}"]
    indent = line[: len(line) - len(line.lstrip())]
    return [f"{indent}# {about}", line]


def _about(name: str, info: FieldInfo, value: Any) -> str:
    parts = [(info.description or "").replace("\n", " ").strip().removesuffix(".")]
    kind = plain(info.annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [str(member.value) for member in kind]
        if not all(choice in parts[0] for choice in choices):
            parts.append("one of " + ", ".join(choices))
    parts.append(_limits(info))
    if name.endswith("_bytes") and isinstance(value, int) and value >= 1 << 20:
        parts.append(f"{value / 2**30:g} GiB" if value >= 1 << 30 else f"{value / 2**20:g} MiB")
    return "; ".join(part for part in parts if part)


def _limits(info: FieldInfo) -> str:
    low = next((f"{limit.ge}" if isinstance(limit, Ge) else f"> {limit.gt}" for limit in info.metadata if isinstance(limit, Ge | Gt)), "")
    high = next((f"{limit.le}" if isinstance(limit, Le) else f"< {limit.lt}" for limit in info.metadata if isinstance(limit, Le | Lt)), "")
    if low and high:
        return f"{low} to {high}"
    return f"{low} or more" if low and not low.startswith(">") else low or high


def _first_line(model: type[Section]) -> str:
    return (model.__doc__ or "").split("\n")[0].removesuffix(".")


def _scalar(value: Any) -> str:
    """A value without sections, in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_scalar(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, Enum | Path):
        value = str(value.value) if isinstance(value, Enum) else str(value)
    if isinstance(value, str):
        return value if _PLAIN_TEXT.match(value) and value.lower() not in _WORDS and not value.endswith(" ") else json.dumps(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(_scalar(inner) for inner in value) + "]"
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)
