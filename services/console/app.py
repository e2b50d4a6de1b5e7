"""The console's wiring: who is who, what is live, the HTTP application and its server."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog
from fastapi import APIRouter

from services.console.auth import Authority
from services.console.elsewhere import Elsewhere
from services.console.forward import Forwarding
from services.console.http import HealthOf, create_app
from services.console.live import Hub
from services.console.passwords import Passwords
from services.console.state import LiveState
from shared.config.site import SiteConfig
from shared.http.server import HttpServer, listen, url_of
from shared.service import Health, Runtime
from shared.supervise import Supervisor

log = structlog.get_logger(__name__)


class ConsoleService:
    """The page and the HTTP API, in the running loop, on a listening socket of its own."""

    def __init__(self, runtime: Runtime, routers: Sequence[APIRouter], health: HealthOf, absent: Collection[str]) -> None:
        self._runtime = runtime
        console = runtime.site.console
        self._passwords = Passwords(runtime.data_dir)
        self._authority = Authority(self._passwords, runtime.clock, console.session_hours, runtime.reporter)
        self._state = LiveState(runtime.site)
        self._supervisor = Supervisor(runtime.clock, runtime.reporter.loop_failed)
        self._hub = Hub(runtime.bus, runtime.clock, self._state, self._authority, self._supervisor)
        self._forwarding = Forwarding(runtime.site.internal, absent)
        self._elsewhere = Elsewhere(runtime.site.internal, absent, runtime.clock, self._supervisor)
        self._gate = create_app(
            clock=runtime.clock,
            authority=self._authority,
            hub=self._hub,
            state=self._state,
            routers=[*routers, self._forwarding.router],
            health=health,
            elsewhere=self._elsewhere,
        )
        self._server = HttpServer(self._gate, "console.http", websockets=True)
        self._url = ""

    @property
    def name(self) -> str:
        return "console"

    @property
    def url(self) -> str:
        """Where the page is, by this machine's own address; empty before `start`."""
        return self._url

    @property
    def password_path(self) -> str:
        """The file that holds the admin password."""
        return str(self._passwords.password_path)

    async def start(self) -> None:
        """Raises: ConfigError (address in use, accounts unreadable), BusUnavailable."""
        await asyncio.to_thread(self._passwords.load)
        await self._hub.start()
        self._elsewhere.start()
        console = self._runtime.site.console
        listener = listen(console.host, console.port, host_setting="console.host", port_setting="console.port")
        self._url = url_of(listener)
        await self._server.start(listener)
        log.info("the console is open", url=self._url, password_file=self.password_path)

    async def stop(self) -> None:
        """Close every page, let answers under way end, free the port. Idempotent."""
        await self._hub.stop()
        await self._server.stop()
        await self._forwarding.close()
        await self._elsewhere.close()
        self._passwords.close()

    async def reconfigure(self, site: SiteConfig) -> None:
        """Show `site` from here on, on open pages too. Who is logged in stays so; it listens where it did. Not concurrent with itself."""
        self._runtime = replace(self._runtime, site=site)
        self._authority.reconfigure(site.console.session_hours)
        self._gate.reconfigure(site.console)
        await self._hub.reconfigure(self._state.reconfigure(site))

    def health(self) -> Health:
        """Whether the page is served and the live loops run."""
        failing = [loop.name for loop in self._supervisor.loops if not loop.running]
        serving = self._server.serving
        pages = f"{self._hub.viewers} page{'' if self._hub.viewers == 1 else 's'} open"
        summary = pages if serving and not failing else "not serving" if not serving else "live view stopped"
        return Health(
            ok=serving and not failing,
            summary=summary,
            details={"pages": self._hub.viewers, "failures": sum(loop.failures for loop in self._supervisor.loops)},
        )


def create(runtime: Runtime, routers: Sequence[APIRouter], health: HealthOf, absent: Collection[str] = ()) -> ConsoleService:
    """Wire the console.

    Args:
        routers: of the other services (their own paths, no authentication inside).
        health: what every service says of itself, by name.
        absent: services that run elsewhere; `internal` of the configuration says where.
    """
    return ConsoleService(runtime, routers, health, absent)
