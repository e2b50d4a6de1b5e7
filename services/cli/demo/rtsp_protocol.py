"""RTSP/1.0 messages (RFC 2326): an incremental parser and serialisers. Pure: bytes in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
INTERLEAVED_MARK = 0x24  # "$", RFC 2326 section 10.12

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Stream Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    501: "Not Implemented",
    505: "RTSP Version Not Supported",
}
_TOKEN = re.compile(r"[A-Za-z_]{1,32}")
_TRACK_SUFFIX = re.compile(r"/trackID=(\d{1,3})$")


class RtspProtocolError(ValueError):
    """The peer's bytes are no RTSP. `status` is what to answer before closing."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RtspRequest:
    """One request. Header names are lower case; a repeated header keeps its last value."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def cseq(self) -> str:
        """The sequence number to be echoed, `0` when the client sent none."""
        return self.headers.get("cseq", "0")

    @property
    def target(self) -> Target:
        """Path and track that the URL names."""
        return parse_target(self.url)


@dataclass(frozen=True, slots=True)
class InterleavedFrame:
    """Binary data in the RTSP connection: RTP or RTCP, by `channel`."""

    channel: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names: a camera path (`/cam1/sub`, no trailing slash) and, for SETUP, one of its tracks."""

    path: str
    track: int | None = None


@dataclass(frozen=True, slots=True)
class TransportSpec:
    """A `Transport:` alternative that this server can serve (unicast RTP/AVP, play)."""

    tcp: bool
    channels: tuple[int, int] | None = None
    client_ports: tuple[int, int] | None = None


def parse_target(url: str) -> Target:
    """Camera path and track of an RTSP URL or bare path; a query is part of no path here."""
    path = "/" + urlsplit(url).path.strip("/") if url != "*" else "/"
    match = _TRACK_SUFFIX.search(path)
    if match is None:
        return Target(path)
    return Target(path[: match.start()] or "/", int(match.group(1)))


def _pair(text: str) -> tuple[int, int] | None:
    first, _, second = text.partition("-")
    if not first.isdigit() or (second and not second.isdigit()):
        return None
    low = int(first)
    return low, int(second) if second else low + 1


def _parse_transport(spec: str) -> TransportSpec | None:
    profile, *parameters = [part.strip() for part in spec.split(";")]
    values = dict(item.partition("=")[::2] for item in parameters if item)
    if "multicast" in values or values.get("mode", "PLAY").strip('"').upper() not in ("PLAY", ""):
        return None
    kind = profile.upper()
    if kind == "RTP/AVP/TCP":
        channels = _pair(values.get("interleaved", ""))
        return TransportSpec(tcp=True, channels=channels if channels is None or max(channels) < 256 else None)
    if kind in ("RTP/AVP", "RTP/AVP/UDP"):
        ports = _pair(values.get("client_port", ""))
        if ports is not None and min(ports) > 0 and max(ports) < 65536:
            return TransportSpec(tcp=False, client_ports=ports)
    return None


def choose_transport(header: str, *, allow_udp: bool) -> TransportSpec | None:
    """The client's first alternative that can be served, None when there is none (answer 461)."""
    for spec in header.split(","):
        transport = _parse_transport(spec.strip())
        if transport is not None and (transport.tcp or allow_udp):
            return transport
    return None


def response(status: int, cseq: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Bytes of one response; Content-Length is added when there is a body."""
    lines = [f"RTSP/1.0 {status} {REASONS[status]}", f"CSeq: {cseq}", "Server: Vedette camera simulator"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + body


class RtspParser:
    """Cuts a client's bytes into requests and interleaved frames, whatever the pieces they come in.

    Holds at most one incomplete message, bounded by `MAX_HEAD_BYTES` + `MAX_BODY_BYTES`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[RtspRequest | InterleavedFrame]:
        """Take `data` and give, one by one, everything that it completes. Read the answer to its end before feeding on.

        Raises:
            RtspProtocolError: after the messages before it: the bytes are no RTSP, the connection cannot be used further.
        """
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> RtspRequest | InterleavedFrame | None:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # stray line ends between messages are allowed
            del buffer[:2]
        if not buffer:
            return None
        if buffer[0] == INTERLEAVED_MARK:
            return self._interleaved()
        end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4)
        if end < 0:
            if len(buffer) > MAX_HEAD_BYTES:
                raise RtspProtocolError("request head too long")
            return None
        return self._request(end)

    def _interleaved(self) -> InterleavedFrame | None:
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < 4 + size:
            return None
        frame = InterleavedFrame(self._buffer[1], bytes(self._buffer[4 : 4 + size]))
        del self._buffer[: 4 + size]
        return frame

    def _request(self, head_end: int) -> RtspRequest | None:
        head = self._buffer[:head_end].decode("utf-8", "replace")
        first, *lines = head.split("\r\n")
        method, url = _request_line(first)
        headers = _headers(lines)
        length_text = headers.get("content-length", "0")
        if not length_text.isdigit() or int(length_text) > MAX_BODY_BYTES:
            raise RtspProtocolError("bad Content-Length")
        body_end = head_end + 4 + int(length_text)
        if len(self._buffer) < body_end:
            return None
        body = bytes(self._buffer[head_end + 4 : body_end])
        del self._buffer[:body_end]
        return RtspRequest(method, url, headers, body)


def _request_line(line: str) -> tuple[str, str]:
    parts = line.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]):
        raise RtspProtocolError("malformed request line")
    if parts[2] != "RTSP/1.0":
        raise RtspProtocolError("not RTSP/1.0", 505)
    try:
        urlsplit(parts[1])
    except ValueError as error:
        raise RtspProtocolError("malformed URL") from error
    return parts[0].upper(), parts[1]


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise RtspProtocolError("malformed header")
        headers[name.strip().lower()] = value.strip()
    return headers
