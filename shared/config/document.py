"""A site's YAML as plain values with its references (`{env: ...}`, `{file: ...}`) as they are written: what versions are compared by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from shared.config.base import Location
from shared.config.environment import is_reference
from shared.config.source import parse, render
from shared.domain.redact import redact

Document = Mapping[str, Any]

#: Keys whose values are secrets, in any section; a test holds them against the models.
SECRET_KEYS = frozenset({"password", "secret", "access_key", "secret_key", "token"})
_SECRET_PLACES = frozenset({("database", "url")})
#: A secret that somebody has only commented out travels with the text all the same.
_IN_COMMENT = re.compile(rf"#.*\b(?:{'|'.join(sorted(SECRET_KEYS))}):\s+(?!null\b)[\"']?[^\s\"'{{,}}#]")


class _Constructor(SafeConstructor):
    """Dates stay text, as `source.py` reads them."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_yaml_str)


def document(text: str) -> Document:
    """The mapping that `text` holds.

    Raises:
        ConfigInvalid: it is no YAML, or not a mapping.
    """
    parse(text, "configuration")  # every syntax problem is told there
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    values: dict[str, Any] = yaml.load(text)
    return values


def is_secret(at: Location) -> bool:
    """Whether a secret stands at that place."""
    return bool(at) and (at[-1] in SECRET_KEYS or at in _SECRET_PLACES)


def literal_secrets(text: str, name: str = "site.yml") -> list[str]:
    """A line of text for each secret that is written out instead of referred to. The secrets themselves are not in it.

    Raises:
        ConfigInvalid: as `document`.
    """
    source = parse(text, name)
    found = {}
    for at, value in _leaves(document(text), ()):
        if is_secret(at) and _is_literal(value):
            found[source.line(at)] = f"{render(at)}: a secret is written out; write {{env: NAME}} or {{file: PATH}}"
    for number, line in enumerate(text.splitlines(), 1):
        if number not in found and (redact(line) != line or _IN_COMMENT.search(line)):
            found[number] = "this looks like a secret that is written out; what is applied is kept by the broker as it is written"
    return [f"{name}:{line}: {what}" for line, what in sorted(found.items())]


def _is_literal(value: object) -> bool:
    """Whether a secret's value is the secret, or a default that may be it."""
    if isinstance(value, Mapping):
        return value.get("default") not in (None, "")
    return value not in (None, "")


def _leaves(value: object, at: Location) -> Iterator[tuple[Location, object]]:
    """Every value that holds no others, a reference being one value."""
    if isinstance(value, Mapping) and not is_reference(value) and not is_secret(at):
        for key, inner in value.items():
            yield from _leaves(inner, (*at, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*at, index))
    else:
        yield at, value
