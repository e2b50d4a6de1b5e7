"""What the wiring knows of a service, and what a service is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from shared.bus.port import Bus
from shared.config.site import SiteConfig
from shared.domain.clock import Clock
from shared.report import Reporter


@dataclass(frozen=True, slots=True)
class Runtime:
    """What every service is wired with. `data_dir` is absolute and exists."""

    site: SiteConfig
    bus: Bus
    clock: Clock
    data_dir: Path
    reporter: Reporter


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a service makes progress, and what it says about itself (no secrets)."""

    ok: bool
    summary: str = ""
    details: dict[str, str | int | float | bool] = field(default_factory=dict)


class Service(Protocol):
    """A running part of Vedette. Built without side effects; `start` connects and spawns, `stop` ends in order."""

    @property
    def name(self) -> str: ...

    async def start(self) -> None:
        """Raises: a `VedetteError` that says what is wrong."""
        ...

    async def stop(self) -> None:
        """Finish what is in hand, release everything. Idempotent, also after a failed start."""
        ...

    def health(self) -> Health:
        """Progress, not mere life: lag, last handled, loops that failed."""
        ...


@runtime_checkable
class Reconfigurable(Protocol):
    """A service that takes another configuration while it runs."""

    async def reconfigure(self, site: SiteConfig) -> None:
        """Run by `site` from here on, as a whole; what it does not concern goes on undisturbed. Not concurrent with itself.

        Raises: a `VedetteError`: it goes on as before.
        """
        ...
