"""Making services by name. The console is made last: it serves the HTTP parts of those made before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from shared.service import Health, Runtime, Service

#: What every service says of itself, by name.
HealthOf = Callable[[], Mapping[str, Health]]


class Factory(Protocol):
    """Makes services by name, without side effects."""

    def create(self, name: str, runtime: Runtime, health: HealthOf) -> Service:
        """Raises: ModuleNotFoundError when its packages are not installed; a `VedetteError` when its settings are wrong."""
        ...


class ServiceFactory:
    """The real services."""

    def __init__(self) -> None:
        self._routers: list[Any] = []

    def create(self, name: str, runtime: Runtime, health: HealthOf) -> Service:
        """Build one service, and no more: imports happen here, so that a process has only what it runs."""
        if name == "storage":
            from services.storage.api import router as storage_router
            from services.storage.app import create as create_storage

            storage = create_storage(runtime)
            self._routers.append(storage_router(storage))
            return storage
        if name == "alarms":
            from services.alarms.api import router as alarms_router
            from services.alarms.app import create as create_alarms

            alarms = create_alarms(runtime)
            self._routers.append(alarms_router(alarms))
            return alarms
        if name == "analytics":
            from services.analytics.api import router as analytics_router
            from services.analytics.app import create as create_analytics

            analytics = create_analytics(runtime)
            self._routers.append(analytics_router(analytics))
            return analytics
        if name == "ingest":
            from services.ingest.app import create as create_ingest

            return create_ingest(runtime)
        from services.console.app import create as create_console

        return create_console(runtime, self._routers, health)
