"""A line to a server that can go silent without closing: a cable that is pulled, a router that forgets its connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class SilentLine:
    """Forwards TCP connections to `url`."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._silent = False
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []
        self.url = ""

    def go_silent(self) -> None:
        """Nothing passes on any connection that is there, for good, nor on those that are opened until `mend`; none is closed."""
        self._silent = True
        for pump in self._pumps:
            pump.cancel()

    def mend(self) -> None:
        """Connections that are opened from now on are forwarded."""
        self._silent = False

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self._silent:
            return
        far_reader, far_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._writers.append(far_writer)
        if not self._silent:  # it may have gone meanwhile
            self._pumps += [asyncio.create_task(_pump(reader, far_writer)), asyncio.create_task(_pump(far_reader, writer))]

    async def close(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def silent_line(url: str) -> AsyncIterator[SilentLine]:
    """A line to the server at `url` until the block ends."""
    line = SilentLine(url)
    server = await asyncio.start_server(line.connect, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        await line.close()
