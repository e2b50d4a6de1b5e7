"""`--share I/N`: several ingest processes take the cameras of one site between them, by the channels' numbers."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from shared.config.site import SiteConfig
from shared.domain.errors import ConfigError

_HINT = "an example: --share 1/2 in one process and --share 2/2 in the other"


@dataclass(frozen=True, slots=True)
class Share:
    """The channels whose number modulo `of` is `index` - 1; `index` counts from 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def takes(self, number: int) -> bool:
        """Whether a channel of this number is in it."""
        return number % self.of == self.index - 1

    def part_of(self, site: SiteConfig) -> SiteConfig:
        """The site with the channels of this share alone."""
        return site.model_copy(update={"channels": tuple(channel for channel in site.channels if self.takes(channel.number))})


def parse_share(text: str | None, names: Collection[str]) -> Share | None:
    """The share that is written as `I/N`; None: all.

    Args:
        names: the services of the process.

    Raises:
        ConfigError: not written so, no such part, or nothing here reads cameras.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"{text!r} is no share: it is I/N, with I from 1 to N", where="--share", hint=_HINT)
    if "ingest" not in names:
        raise ConfigError("a share is of the cameras, and ingest is not among the services here", where="--share", hint="leave it out")
    return Share(int(match[1]), int(match[2]))
