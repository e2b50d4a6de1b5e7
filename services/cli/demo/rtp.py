"""RTP and RTCP packets (RFC 3550). Video is cut by FFmpeg's own packetiser; audio needs a few lines.

Payload formats: H.264 RFC 6184 and H.265 RFC 7798 and JPEG RFC 2435 (FFmpeg), AAC RFC 3640 (AAC-hbr), G.711 RFC 3551.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import av
from av.packet import Packet
from av.video.stream import VideoStream

from shared.domain.clock import NS_PER_S

NTP_EPOCH_OFFSET_S = 2_208_988_800  # from 1900 (NTP, RFC 5905) to 1970
RTP_HEADER_BYTES = 12
MAX_PACKET_BYTES = 1400  # room for IP and UDP headers, and for a tunnel's, in 1500
_HEADER = struct.Struct(">BBHII")


class RtpPayload(NamedTuple):
    """What follows the RTP header, and the header's marker bit (last packet of a picture)."""

    data: bytes
    marker: bool


class _Packets:
    """The file that FFmpeg's RTP muxer writes to: one write, one packet."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.written.append(bytes(data))
        return len(data)


class VideoPacketizer:
    """Cuts coded pictures of one stream into RTP payloads of at most `MAX_PACKET_BYTES` with header."""

    def __init__(self, stream: VideoStream) -> None:
        self._packets = _Packets()
        # skip_rtcp: the simulator writes its own sender reports, with the capture's clock
        options = {"packetsize": str(MAX_PACKET_BYTES), "rtpflags": "skip_rtcp"}
        self._container = av.open(self._packets, "w", format="rtp", options=options)
        self._stream = self._container.add_stream_from_template(stream)

    def cut(self, packet: Packet[VideoStream]) -> tuple[RtpPayload, ...]:
        """Payloads of one access unit. The packet is taken over."""
        packet.stream = self._stream
        self._container.mux(packet)
        payloads = tuple(RtpPayload(data[RTP_HEADER_BYTES:], bool(data[1] & 0x80)) for data in self._packets.written)
        self._packets.written.clear()
        return payloads

    def close(self) -> None:
        """Release the muxer."""
        self._container.close()


def jpeg_with_two_tables(payloads: tuple[RtpPayload, ...]) -> tuple[RtpPayload, ...]:
    """Give luma's quantisation table for chroma too when a picture has only one: receivers expect two (RFC 2435 3.1.8)."""
    if not payloads:
        return payloads
    first = payloads[0].data
    table_at = 12  # main header 8 bytes, quantisation table header 4 bytes
    if len(first) < table_at + 64 or first[5] < 128 or int.from_bytes(first[10:12], "big") != 64:
        return payloads
    table = first[table_at : table_at + 64]
    doubled = first[:10] + (128).to_bytes(2, "big") + table + first[table_at:]
    return (RtpPayload(doubled, payloads[0].marker), *payloads[1:])


def aac_payload(access_unit: bytes) -> tuple[RtpPayload, ...]:
    """One AAC access unit in AAC-hbr form (13 bits size, 3 bits index), fragmented when it is too long."""
    header = struct.pack(">HH", 16, (len(access_unit) << 3) & 0xFFFF)
    room = MAX_PACKET_BYTES - RTP_HEADER_BYTES - len(header)
    pieces = [access_unit[at : at + room] for at in range(0, len(access_unit), room)]
    return tuple(RtpPayload(header + piece, piece is pieces[-1]) for piece in pieces)


def rtp_header(*, marker: bool, payload_type: int, sequence: int, timestamp: int, ssrc: int) -> bytes:
    """The fixed header; sequence and timestamp wrap at 16 and 32 bits."""
    second = payload_type | (0x80 if marker else 0)
    return _HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


def ntp_timestamp(wall_ns: int) -> int:
    """64-bit NTP time of UTC nanoseconds since 1970."""
    seconds, rest_ns = divmod(wall_ns, NS_PER_S)
    return ((seconds + NTP_EPOCH_OFFSET_S) & 0xFFFFFFFF) << 32 | (rest_ns << 32) // NS_PER_S


def _cname(ssrc: int) -> bytes:
    item = b"\x01\x07vedette"  # SDES item CNAME; compound packets must carry one (RFC 3550 section 6.1)
    chunk = struct.pack(">I", ssrc) + item + b"\x00"
    chunk += b"\x00" * (-len(chunk) % 4)
    return struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk


def sender_report(*, ssrc: int, wall_ns: int, timestamp: int, packets: int, octets: int) -> bytes:
    """SR + SDES: RTP `timestamp` was captured at `wall_ns` (UTC nanoseconds)."""
    report = struct.pack(
        ">BBHIQIII",
        0x80,
        200,
        6,
        ssrc,
        ntp_timestamp(wall_ns),
        timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    return report + _cname(ssrc)


def goodbye(ssrc: int) -> bytes:
    """Empty receiver report + SDES + BYE: the stream is over."""
    return struct.pack(">BBHI", 0x80, 201, 1, ssrc) + _cname(ssrc) + struct.pack(">BBHI", 0x81, 203, 1, ssrc)
