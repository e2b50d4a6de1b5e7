"""uvicorn in a loop that somebody else owns, on a socket that is open before anything is promised."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from shared.domain.errors import ConfigError

#: How long answers under way may take to end when the server stops; then they are cut.
GRACE_S = 3
#: Kernel send buffer of each connection: what a slow line holds of stale pictures at most.
_SEND_BUFFER_BYTES = 256 * 1024
_BACKLOG = 128


class HttpServer:
    """Serves one ASGI application. `start`, then `stop`; signals are the owner's.

    Args:
        app: the ASGI application.
        name: of its task.
        websockets: whether there are any.
    """

    def __init__(self, app: Any, name: str, *, websockets: bool = False) -> None:
        self._name = name
        self._config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # else anybody could choose the address he is known by
            ws="websockets-sansio" if websockets else "none",
            ws_max_size=64 * 1024,
            ws_per_message_deflate=False,  # JPEG does not get smaller
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether requests are answered."""
        return self._serving is not None and not self._serving.done()

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket of `listen`. Raises: ConfigError when the server ends at once."""
        self._server = _Server(self._config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name=self._name)
        await self._server.ready(self._serving)

    async def stop(self) -> None:
        """Let answers under way end, free the port. Idempotent."""
        server, serving = self._server, self._serving
        self._server = self._serving = None
        if server is not None and serving is not None:
            server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            server.abort_connections()


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
                raise ConfigError("the HTTP server ended at once")

    def abort_connections(self) -> None:
        """Cut what is still connected: peers that do not read would keep their sockets for minutes."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


def listen(host: str, port: int, *, host_setting: str, port_setting: str) -> socket.socket:
    """A listening socket.

    Args:
        host_setting: what people set the address with, for what is told when it is wrong; `port_setting` likewise.

    Raises:
        ConfigError: the address is not of this machine, or in use, or not for this user.
    """
    settings = ", ".join(dict.fromkeys((host_setting, port_setting)))
    where, address_hint = f"{settings} ({host}:{port})", f"set {host_setting} to an address of this machine"
    hints = {
        errno.EADDRINUSE: f"another program uses the port: stop it or set {port_setting} (0: any free one)",
        errno.EADDRNOTAVAIL: address_hint,
        errno.EACCES: f"ports below 1024 need a privilege: set {port_setting} to a higher one",
    }
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen: {error.strerror}", where=where, hint=address_hint) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        hint = hints.get(error.errno or 0, f"set {settings} to others")
        raise ConfigError(f"cannot listen: {error.strerror}", where=where, hint=hint) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """How this machine itself reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:  # all addresses: name the one that works here
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"
