"""The two ways out for RTP: interleaved in the RTSP connection, and a pair of UDP ports."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping

_FRAME_HEADER = struct.Struct(">cBH")
_MAX_UNSENT_BYTES = 1 << 20  # a client that reads this slowly makes the playback wait


class InterleavedSink:
    """RTP over the RTSP connection (RFC 2326 section 10.12). One write per flush, so few system calls."""

    goodbye_delay_s = 0.0  # all comes in the order in which it was sent

    def __init__(self, writer: asyncio.StreamWriter, channels: Mapping[int, tuple[int, int]]) -> None:
        self._writer, self._channels = writer, channels
        self._pieces: list[bytes] = []
        writer.transport.set_write_buffer_limits(high=_MAX_UNSENT_BYTES)

    def _queue(self, channel: int, packet: bytes) -> None:
        self._pieces.append(_FRAME_HEADER.pack(b"$", channel, len(packet)))
        self._pieces.append(packet)

    def rtp(self, track: int, packet: bytes) -> None:
        self._queue(self._channels[track][0], packet)

    def rtcp(self, track: int, packet: bytes) -> None:
        self._queue(self._channels[track][1], packet)

    async def flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if self._writer.is_closing():
            raise ConnectionResetError("the client is gone")
        if pieces:
            self._writer.write(b"".join(pieces))
            await self._writer.drain()
        await asyncio.sleep(0)  # drain need not yield; other clients must get their turn


class UdpSink:
    """RTP and RTCP as datagrams to the ports that each track's SETUP named."""

    goodbye_delay_s = 5.0  # BYE comes in at another port, which readers look at first, also those who are late

    def __init__(
        self,
        rtp: asyncio.DatagramTransport,
        rtcp: asyncio.DatagramTransport,
        address: str,
        ports: Mapping[int, tuple[int, int]],
        writer: asyncio.StreamWriter,
    ) -> None:
        self._rtp, self._rtcp, self._address, self._ports, self._writer = rtp, rtcp, address, ports, writer

    def rtp(self, track: int, packet: bytes) -> None:
        self._rtp.sendto(packet, (self._address, self._ports[track][0]))

    def rtcp(self, track: int, packet: bytes) -> None:
        self._rtcp.sendto(packet, (self._address, self._ports[track][1]))

    async def flush(self) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the client is gone")
        await asyncio.sleep(0)
