"""The console's wiring: who is who, what is live, the HTTP application and its server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator, Sequence

import structlog
import uvicorn
from fastapi import APIRouter

from services.console.auth import Authority
from services.console.http import HealthOf, create_app
from services.console.live import Hub
from services.console.passwords import Passwords
from services.console.state import LiveState
from shared.domain.errors import ConfigError
from shared.service import Health, Runtime
from shared.supervise import Supervisor

log = structlog.get_logger(__name__)

#: How long downloads under way may take to end when the console stops; then they are cut.
GRACE_S = 3
#: Kernel send buffer of each connection: what a slow line holds of stale pictures at most.
_SEND_BUFFER_BYTES = 256 * 1024
_BACKLOG = 128
_ADDRESS_HINT = "set console.host to an address of this machine"
_HINTS = {
    errno.EADDRINUSE: "another program uses the port: stop it or set console.port (0: any free one)",
    errno.EADDRNOTAVAIL: _ADDRESS_HINT,
    errno.EACCES: "ports below 1024 need a privilege: set console.port to a higher one",
}


class ConsoleService:
    """The page and the HTTP API, in the running loop, on a listening socket of its own."""

    def __init__(self, runtime: Runtime, routers: Sequence[APIRouter], health: HealthOf) -> None:
        self._runtime = runtime
        console = runtime.site.console
        self._passwords = Passwords(runtime.data_dir)
        self._authority = Authority(self._passwords, runtime.clock, console.session_hours, runtime.reporter)
        self._state = LiveState(runtime.site)
        self._supervisor = Supervisor(runtime.clock, runtime.reporter.loop_failed)
        self._hub = Hub(runtime.bus, runtime.clock, self._state, self._authority, self._supervisor)
        self._app = create_app(
            site=runtime.site,
            clock=runtime.clock,
            authority=self._authority,
            hub=self._hub,
            state=self._state,
            routers=routers,
            health=health,
        )
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
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
        console = self._runtime.site.console
        listener = _listen(console.host, console.port)
        self._url = _url_of(listener)
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Only of proxies that are named: else anybody could choose the address that wrong logins are counted by.
            proxy_headers=bool(console.trusted_proxies),
            forwarded_allow_ips=list(console.trusted_proxies),
            ws="websockets-sansio",
            ws_max_size=64 * 1024,
            ws_per_message_deflate=False,  # JPEG does not get smaller
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="console.http")
        await self._server.ready(self._serving)
        log.info("the console is open", url=self._url, password_file=self.password_path)

    async def stop(self) -> None:
        """Close every page, let answers under way end, free the port. Idempotent."""
        await self._hub.stop()
        server, serving = self._server, self._serving
        self._server = self._serving = None
        if server is not None and serving is not None:
            server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            server.abort_connections()
        self._passwords.close()

    def health(self) -> Health:
        """Whether the page is served and the live loops run."""
        failing = [loop.name for loop in self._supervisor.loops if not loop.running]
        serving = self._serving is not None and not self._serving.done()
        pages = f"{self._hub.viewers} page{'' if self._hub.viewers == 1 else 's'} open"
        summary = pages if serving and not failing else "not serving" if not serving else "live view stopped"
        return Health(
            ok=serving and not failing,
            summary=summary,
            details={"pages": self._hub.viewers, "failures": sum(loop.failures for loop in self._supervisor.loops)},
        )


def create(runtime: Runtime, routers: Sequence[APIRouter], health: HealthOf) -> ConsoleService:
    """Wire the console.

    Args:
        routers: of the other services (their own paths, no authentication inside).
        health: what every service says of itself, by name.
    """
    return ConsoleService(runtime, routers, health)


class _Server(uvicorn.Server):
    """uvicorn inside somebody else's loop: signals are the owner's, and connections that do not end are cut."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def ready(self, serving: asyncio.Task[None]) -> None:
        """Wait until requests are served; raises what the server raised."""
        while not self.started:
            await asyncio.wait([serving], timeout=0.01)
            if serving.done():
                serving.result()
                raise ConfigError("the console's HTTP server ended at once")

    def abort_connections(self) -> None:
        """Cut what is still connected: peers that do not read would keep their sockets for minutes."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    where = f"console.host, console.port ({host}:{port})"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen: {error.strerror}", where=where, hint=_ADDRESS_HINT) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        hint = _HINTS.get(error.errno or 0, "set console.host and console.port to others")
        raise ConfigError(f"cannot listen: {error.strerror}", where=where, hint=hint) from error
    return listener


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:  # all addresses: name the one that works here
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"
