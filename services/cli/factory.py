"""Making services by name. The console serves the HTTP parts of the others, of whichever instance of them runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol

from shared.service import Health, Runtime, Service

#: Services with an HTTP part: `services/<name>/api.py`.
_WITH_HTTP = ("storage", "alarms", "analytics")
#: Those that the console asks elsewhere when they are not in its process.
_ASKED = ("ingest", *_WITH_HTTP)


#: What every service says of itself, by name.
HealthOf = Callable[[], Mapping[str, Health]]


class View(Protocol):
    """What a factory may know of the services of this process."""

    @property
    def names(self) -> Collection[str]:
        """Those that are to run here."""
        ...

    def running(self, name: str) -> Service | None:
        """The service, while it runs."""
        ...

    def health(self) -> Mapping[str, Health]:
        """What every service says of itself, by name."""
        ...


class Factory(Protocol):
    """Makes services by name, without side effects."""

    def create(self, name: str, runtime: Runtime, view: View) -> Service:
        """Raises: ModuleNotFoundError when its packages are not installed; a `VedetteError` when its settings are wrong."""
        ...


class ServiceFactory:
    """The real services."""

    def create(self, name: str, runtime: Runtime, view: View) -> Service:
        """Build one service, and no more: imports happen here, so that a process has only what it runs."""
        app = importlib.import_module(f"services.{name}.app")
        if name != "console":
            service: Service = app.create(runtime)
            return service
        console: Service = app.create(runtime, routers(view), view.health, [name for name in _ASKED if name not in view.names])
        return console


def routers(view: View) -> list[Any]:
    """The HTTP parts of the services of this process; each answers 503 while its service does not run."""
    found = []
    for name in _WITH_HTTP:
        if name in view.names:
            with suppress(ModuleNotFoundError):  # its packages are not installed: it does not run, which is told
                found.append(importlib.import_module(f"services.{name}.api").router(_Running(view, name)))
    return found


class _Running:
    """Stands for a service in its HTTP part. While it does not run, requests are answered 503."""

    def __init__(self, view: View, name: str) -> None:
        self._view, self._name = view, name

    def __getattr__(self, attribute: str) -> Any:
        service = self._view.running(self._name)
        if service is None:
            from fastapi import HTTPException

            raise HTTPException(503, f"{self._name} does not run now", {"retry-after": "5"})
        return getattr(service, attribute)
