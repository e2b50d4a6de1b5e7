"""One RTSP connection of the simulator: requests in, answers out, at most one session that plays."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from services.cli.demo.playback import PacketSink, Playback, ended
from services.cli.demo.rtsp_auth import accepted, challenge
from services.cli.demo.rtsp_protocol import (
    InterleavedFrame,
    RtspParser,
    RtspProtocolError,
    RtspRequest,
    TransportSpec,
    choose_transport,
    response,
)
from services.cli.demo.sdp import describe
from services.cli.demo.simulated import SimulatedCamera
from services.cli.demo.sinks import InterleavedSink, UdpSink

_PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_LINGER_S = 5.0  # after the end of a stream the client has this long to hang up by itself
log = structlog.get_logger(__name__)


class ServerView(Protocol):
    """What a connection needs of its server."""

    @property
    def tls(self) -> bool: ...
    @property
    def udp(self) -> tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]: ...
    @property
    def udp_ports(self) -> tuple[int, int]: ...

    def camera(self, path: str) -> SimulatedCamera | None: ...


class _Hangup(Exception):
    """The connection is to end now; `abrupt` by reset."""

    def __init__(self, *, abrupt: bool = False) -> None:
        super().__init__()
        self.abrupt = abrupt


@dataclass(slots=True)
class _Session:
    """What SETUP made: the camera, and per track the TCP channels or the client's UDP ports."""

    id: str
    camera: SimulatedCamera
    tcp: bool
    ways: dict[int, tuple[int, int]] = field(default_factory=dict)
    playback: asyncio.Task[None] | None = None


class Connection:
    """Serves one client until it hangs up, tears down, is silent for too long, or the stream ends."""

    def __init__(self, server: ServerView, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        self._nonce = secrets.token_hex(16)
        self._session: _Session | None = None
        self._half_closed = False
        self._handlers = {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "GET_PARAMETER": self._keep_alive,
            "SET_PARAMETER": self._keep_alive,
            "TEARDOWN": self._teardown,
        }

    @property
    def _playing(self) -> bool:
        return self._session is not None and self._session.playback is not None

    async def serve(self) -> None:
        """Run the connection to its end. Never raises for what a client does."""
        abrupt = False
        try:
            await self._read_loop()
        except _Hangup as hangup:
            abrupt = hangup.abrupt
        except OSError:  # reset, broken pipe, or a TLS alert
            abrupt = True
        finally:
            await self._release()
            if abrupt:
                self._writer.transport.abort()
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def cut(self, *, abrupt: bool) -> None:
        """End this connection from the camera's side."""
        if abrupt:
            self._writer.transport.abort()
        else:
            self._writer.close()

    async def _read_loop(self) -> None:
        parser = RtspParser()
        while data := await self._read():
            try:
                for message in parser.feed(data):
                    if isinstance(message, InterleavedFrame):
                        continue  # receiver reports: the client lives, there is nothing to answer
                    await self._answer(message)
            except RtspProtocolError as error:
                await self._send(response(error.status, "0"))
                return

    async def _read(self) -> bytes:
        """What comes next; nothing at the end, also when a UDP client has not kept its session alive."""
        session = self._session
        if session is None or session.tcp or session.playback is None:
            return await self._reader.read(65536)
        try:
            async with asyncio.timeout(session.camera.session_timeout_s):
                return await self._reader.read(65536)
        except TimeoutError:
            return b""

    async def _send(self, data: bytes) -> None:
        if self._half_closed:
            return  # the stream is over and FIN is sent: what the client still asks gets no answer
        self._writer.write(data)
        await self._writer.drain()

    async def _answer(self, request: RtspRequest) -> None:
        if request.method == "OPTIONS":
            await self._send(response(200, request.cseq, {"Public": _PUBLIC}))
            return
        handler = self._handlers.get(request.method)
        if handler is None:
            await self._send(response(405, request.cseq, {"Allow": _PUBLIC}))
            return
        camera = self._server.camera(request.target.path)
        if camera is None:
            await self._send(response(404, request.cseq))
            return
        if camera.refusing() and not self._playing:  # who plays already goes on, keep-alives included
            raise _Hangup(abrupt=True)
        credentials = camera.credentials
        if credentials is not None and not accepted(
            credentials, request.headers.get("authorization"), method=request.method, url=request.url, nonce=self._nonce
        ):
            header = {"WWW-Authenticate": challenge(credentials, self._nonce)}
            await self._send(response(401, request.cseq, header))
            return
        await handler(request, camera)

    async def _describe(self, request: RtspRequest, camera: SimulatedCamera) -> None:
        host = str(self._writer.get_extra_info("sockname")[0])
        body = describe(camera.source, host=host, session_id=camera.sdp_id, once=not camera.loop)
        headers = {"Content-Type": "application/sdp", "Content-Base": request.url.rstrip("/") + "/"}
        await self._send(response(200, request.cseq, headers, body))

    async def _setup(self, request: RtspRequest, camera: SimulatedCamera) -> None:
        track = request.target.track
        if track is None and len(camera.source.tracks) == 1:
            track = 0
        if track is None or track >= len(camera.source.tracks):
            await self._send(response(459 if track is None else 404, request.cseq))
            return
        session = self._session
        if session is not None and (session.camera is not camera or session.playback is not None):
            await self._send(response(455, request.cseq))
            return
        allow_udp = not self._server.tls  # plain RTP beside an encrypted connection would be no RTSPS
        spec = choose_transport(request.headers.get("transport", ""), allow_udp=allow_udp)
        if spec is None or (session is not None and session.tcp is not spec.tcp):
            await self._send(response(461, request.cseq))
            return
        if session is None:
            session = self._session = _Session(secrets.token_hex(8), camera, spec.tcp)
        transport = self._way(session, track, spec)
        timeout = f"{session.id};timeout={camera.session_timeout_s}"
        await self._send(response(200, request.cseq, {"Transport": transport, "Session": timeout}))

    def _way(self, session: _Session, track: int, spec: TransportSpec) -> str:
        if spec.tcp:
            low, high = session.ways[track] = spec.channels or (2 * track, 2 * track + 1)
            return f"RTP/AVP/TCP;unicast;interleaved={low}-{high}"
        assert spec.client_ports is not None  # choose_transport lets no UDP pass without them
        low, high = session.ways[track] = spec.client_ports
        own_low, own_high = self._server.udp_ports
        return f"RTP/AVP;unicast;client_port={low}-{high};server_port={own_low}-{own_high}"

    async def _own_session(self, request: RtspRequest) -> _Session | None:
        given = request.headers.get("session", "").partition(";")[0].strip()
        if self._session is None or given != self._session.id:
            await self._send(response(454, request.cseq))
            return None
        return self._session

    async def _play(self, request: RtspRequest, camera: SimulatedCamera) -> None:
        session = await self._own_session(request)
        if session is None:
            return
        headers = {"Session": session.id, "Range": "npt=0-" if not camera.live else "npt=now-"}
        if session.playback is not None:  # some clients keep a session alive by PLAY
            await self._send(response(200, request.cseq, headers))
            return
        kind = "tls" if self._server.tls else "tcp" if session.tcp else "udp"
        playback = camera.new_playback(self._sink(session), frozenset(session.ways), kind)
        base = request.url.rstrip("/")
        headers["RTP-Info"] = ",".join(f"url={base}/trackID={track};{playback.rtp_info(track)}" for track in sorted(session.ways))
        await self._send(response(200, request.cseq, headers))
        camera.connections.add(self)
        session.playback = asyncio.create_task(self._run(session, playback), name=f"camera-playback-{camera.path}")

    def _sink(self, session: _Session) -> PacketSink:
        if session.tcp:
            return InterleavedSink(self._writer, session.ways)
        address = str(self._writer.get_extra_info("peername")[0])
        return UdpSink(*self._server.udp, address, session.ways, self._writer)

    async def _run(self, session: _Session, playback: Playback) -> None:
        try:
            await playback.run()
        except OSError:
            pass  # the client left; its reader ends the connection
        except Exception:  # boundary of the task: a bug here must end this client only, and be seen
            log.exception("camera_playback_failed", path=session.camera.path)
            self.cut(abrupt=True)
        finally:
            session.camera.playback_ended(playback)
        # The end of a `once` source. A reset could destroy what the client has not read yet: send FIN, let it hang up.
        if session.tcp and self._writer.can_write_eof() and not self._writer.is_closing():
            self._half_closed = True
            self._writer.write_eof()
        await asyncio.sleep(_LINGER_S)
        self._writer.close()

    async def _keep_alive(self, request: RtspRequest, camera: SimulatedCamera) -> None:
        headers = {"Session": self._session.id} if self._session is not None else {}
        await self._send(response(200, request.cseq, headers))

    async def _teardown(self, request: RtspRequest, camera: SimulatedCamera) -> None:
        session = await self._own_session(request)
        if session is None:
            return
        await self._release()
        await self._send(response(200, request.cseq, {"Session": session.id}))

    async def _release(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        session.camera.connections.discard(self)
        if session.playback is not None:
            await ended(session.playback)
