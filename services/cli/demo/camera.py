"""The camera simulator: a real RTSP/1.0 server on loopback for demo cameras, and for tests with faults.

One server carries any number of cameras, each a path. Files are read and cut into packets once and sent by stream
copy. See docs/adr/0001-camera-simulator.md for what it is and is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from services.cli.demo.connection import Connection
from services.cli.demo.faults import Fault
from services.cli.demo.playback import Timeline
from services.cli.demo.rtsp_protocol import parse_target
from services.cli.demo.simulated import CameraSpec, CameraStats, SimulatedCamera
from services.cli.demo.source import MediaSource, load_source
from shared.domain.clock import Clock


class CameraSimulator:
    """An RTSP server that owns its sockets, connections and playbacks: `start` ... `stop`, or `async with`.

    All methods belong to the event loop that called `start`.
    """

    def __init__(self, clock: Clock, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._clock, self._host, self._port, self._tls = clock, host, port, tls
        self._live_since = Timeline(clock.monotonic_ns(), clock.now_ns())
        self._cameras: dict[str, SimulatedCamera] = {}
        self._sources: dict[Path, MediaSource] = {}
        self._server: asyncio.Server | None = None
        self._udp: tuple[asyncio.DatagramTransport, asyncio.DatagramTransport] | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    async def __aenter__(self) -> CameraSimulator:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    @property
    def tls(self) -> bool:
        return self._tls is not None

    @property
    def port(self) -> int:
        """The TCP port; known after `start`."""
        return self._port

    @property
    def udp(self) -> tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]:
        """The RTP and the RTCP port's endpoints."""
        if self._udp is None:
            raise RuntimeError("the simulator is not started")
        return self._udp

    @property
    def udp_ports(self) -> tuple[int, int]:
        """Numbers of the RTP and the RTCP port."""
        low, high = self.udp
        return _local_port(low), _local_port(high)

    def camera(self, path: str) -> SimulatedCamera | None:
        """The camera at a path, if there is one."""
        return self._cameras.get(path)

    def _known(self, path: str) -> SimulatedCamera:
        return self._cameras[parse_target(path).path]

    def url(self, path: str, *, with_credentials: bool = True) -> str:
        """Address for a client; with credentials it is a secret."""
        camera = self._known(path)
        account = ""
        if with_credentials and camera.credentials is not None:
            account = f"{quote(camera.credentials.user, safe='')}:{quote(camera.credentials.password, safe='')}@"
        return f"rtsp{'s' if self.tls else ''}://{account}{self._host}:{self._port}{camera.path}"

    async def add(self, spec: CameraSpec) -> SimulatedCamera:
        """Add a camera, before or after `start`. Reading its file happens in a thread.

        Raises:
            CameraStreamError: the file cannot be served.
        """
        source = self._sources.get(spec.file)
        if source is None:
            source = self._sources[spec.file] = await asyncio.to_thread(load_source, spec.file)
        camera = SimulatedCamera(spec, source, self._clock, self._live_since)
        self._cameras[parse_target(spec.path).path] = camera
        return camera

    async def apply(self, path: str, fault: Fault) -> None:
        """Make a fault happen at a camera now."""
        await self._known(path).apply(fault)

    def stats(self, path: str) -> CameraStats:
        """What a camera has sent."""
        return self._known(path).stats()

    async def wait_until(self, path: str, predicate: Callable[[CameraStats], bool]) -> CameraStats:
        """Wait for a camera's counters to satisfy a predicate."""
        return await self._known(path).wait_until(predicate)

    async def start(self) -> None:
        """Open the ports. Raises OSError when a given port is taken."""
        self._udp = await _udp_pair(self._host)
        await self.listen()

    async def listen(self) -> None:
        """Accept connections (again, on the same port, after `stop_listening`)."""
        self._server = await asyncio.start_server(self._connected, self._host, self._port, ssl=self._tls)
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def stop_listening(self, *, cut: bool = True) -> None:
        """Close the port, so that clients see "connection refused"; `cut` resets the connections that stand."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if cut:
            for connection in tuple(self._connections.values()):
                connection.cut(abrupt=True)

    async def stop(self) -> None:
        """End everything that was started."""
        await self.stop_listening()
        tasks = tuple(self._connections)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for ports in self._udp or ():
            ports.close()
        self._udp = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio.start_server runs its callback in a task
        connection = self._connections[task] = Connection(self, reader, writer)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # only `stop` cancels; the streams module logs it otherwise
                await connection.serve()
        finally:
            del self._connections[task]


def _local_port(ports: asyncio.DatagramTransport) -> int:
    return int(ports.get_extra_info("sockname")[1])


async def _udp_pair(host: str) -> tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]:
    """An even RTP port and the next one for RTCP (RFC 3550 section 11)."""
    loop = asyncio.get_running_loop()
    for _ in range(64):
        low, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (host, 0))
        port = _local_port(low)
        if port % 2 == 0:
            with contextlib.suppress(OSError):
                high, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (host, port + 1))
                return low, high
        low.close()
    raise OSError("no pair of free UDP ports")
