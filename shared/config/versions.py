"""Versions of a site's configuration: the YAML text as somebody wrote it, secrets by reference, and which of several is in force.

Versions are read from a log in which two people may have written at once. The first to bring a number wins; what comes later with that
number, or a smaller one, was made without knowing of it and is passed over by every reader alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.config.diff import DEPLOYMENT, OWN_KEYS, refusals
from shared.config.document import Document, document, literal_secrets
from shared.config.load import parse_site, to_yaml
from shared.config.site import SiteConfig
from shared.domain.errors import ConfigError, ConfigInvalid

#: So many versions keep their text.
KEPT = 50


@dataclass(frozen=True, slots=True)
class Version:
    """One version.

    Attributes:
        number: counted from 1.
        id: tells two of the same number apart.
        text: the YAML document as written; empty: it has been let go.
        at_ns: when it was applied, UTC.
        note: what the person who applied it says about it.
        restores: the version whose text this is again; None: it is a new one.
        format: of the document.
    """

    number: int
    id: str
    text: str
    at_ns: int
    note: str = ""
    restores: int | None = None
    format: int = 1


class History:
    """What a log of versions amounts to. `add` them in the order of the log."""

    def __init__(self) -> None:
        self._held: dict[int, Version] = {}
        self._newest: Version | None = None
        self._stray: dict[str, Version] = {}  # came too late for their number, and still have their text

    @property
    def newest(self) -> Version | None:
        """The version in force; None: none was applied yet."""
        return self._newest

    @property
    def versions(self) -> list[Version]:
        """Those that still have their text, the newest first."""
        return [self._held[number] for number in sorted(self._held, reverse=True)]

    @property
    def next_number(self) -> int:
        return 1 if self._newest is None else self._newest.number + 1

    def add(self, version: Version) -> bool:
        """Whether it is the version in force from here on. The same again changes nothing."""
        if not version.text:
            self._stray.pop(version.id, None)
            held = self._held.get(version.number)
            if held is not None and held.id == version.id:
                del self._held[version.number]
            return False
        if self._newest is not None and version.number <= self._newest.number:
            if all(held.id != version.id for held in self._held.values()):
                self._stray[version.id] = version
            return False
        self._newest = self._held[version.number] = version
        return True

    def get(self, number: int) -> Version:
        """Raises: ConfigError: there is none of that number, or its text has been let go."""
        held = self._held.get(number)
        if held is None:
            have = f"versions {min(self._held)} to {max(self._held)} are kept" if self._held else "none was applied yet"
            raise ConfigError(f"there is no version {number}", hint=have)
        return held

    def surplus(self, kept: int = KEPT) -> list[Version]:
        """Those to let go: what came too late, and the oldest beyond `kept`."""
        return [*self._stray.values(), *reversed(self.versions[kept:])]


def check_applicable(text: str, newest: Version | None, *, name: str, base_dir: Path | None) -> SiteConfig:
    """The site that `text` describes, if it may be applied on top of `newest`.

    Raises:
        ConfigInvalid: it does not validate, or holds secrets.
        ConfigError: it changes what cannot be changed while services run.
    """
    site = parse_site(text, name=name, base_dir=base_dir)
    if problems := literal_secrets(text, name):
        raise ConfigInvalid(problems, where=name)
    if newest is not None and (reasons := refusals(document(newest.text), document(text))):
        raise ConfigError("\n".join(reasons), where=name)
    return site


def effective(own: str, applied: str, *, name: str, base_dir: Path | None) -> SiteConfig:
    """What a process with the file `own` runs when `applied` is in force: all of that, but for how the process reaches the others.

    Args:
        own: the text of the process's file.
        base_dir: the folder of that file; relative paths are relative to it.

    Raises:
        ConfigInvalid: the two together do not validate here.
    """
    mine, merged = document(own), dict(document(applied))
    for key in DEPLOYMENT:
        _take(mine, merged, key)
    for section, keys in OWN_KEYS.items():
        here, there = _section(mine, section), _section(merged, section)
        if here or there:
            others = {key: value for key, value in there.items() if key not in keys}
            merged[section] = others | {key: here[key] for key in keys if key in here}
    return parse_site(to_yaml(merged), name=name, base_dir=base_dir)


def _take(mine: Document, merged: dict[str, object], key: str) -> None:
    merged.pop(key, None)
    if key in mine:
        merged[key] = mine[key]


def _section(values: Document | dict[str, object], key: str) -> Document:
    found = values.get(key)
    return found if isinstance(found, dict) else {}
