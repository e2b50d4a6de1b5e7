"""`vedette camera`: looking at one camera before it is configured."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import typer
from pydantic import ValidationError
from rich.table import Table

from services.cli.output import ERR, OUT, say
from shared.config.channels import StreamConfig, Transport
from shared.domain.clock import NS_PER_S, Clock, SystemClock
from shared.domain.errors import CameraStreamError, ConfigError
from shared.domain.redact import redact

app = typer.Typer(help="Look at cameras.", no_args_is_help=True)

CONNECT_S = 10.0
READ_S = 10.0
#: A key frame interval longer than this makes recordings start late and seeking coarse.
LONG_GOP_S = 8.0


@app.callback()
def _group() -> None:
    """Look at cameras."""


@dataclass
class Findings:
    """What was seen of a stream while it was watched."""

    codec: str
    size: tuple[int, int]
    audio: str
    watched_s: float = 0.0
    video_bytes: int = 0
    frames: int = 0
    key_frames_at: list[int] = field(default_factory=list)

    @property
    def fps(self) -> float:
        return self.frames / self.watched_s if self.watched_s else 0.0

    @property
    def bitrate_bps(self) -> float:
        return self.video_bytes * 8 / self.watched_s if self.watched_s else 0.0

    @property
    def gop(self) -> float:
        """Frames from one key frame to the next, on average; 0 when fewer than two came."""
        at = self.key_frames_at
        return (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else 0.0


@app.command()
def probe(  # each is an option of the command
    url: Annotated[str, typer.Argument(help="rtsp://, rtsps://, http(s):// or file://")],
    user: Annotated[str, typer.Option("--user", help="User name on the camera.")] = "",
    password_env: Annotated[str, typer.Option("--password-env", metavar="NAME", help="Environment variable that holds the password.")] = "",
    transport: Annotated[Transport, typer.Option("--transport", help="How RTP travels.")] = Transport.TCP,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=60, help="How long to watch.")] = 6.0,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept any TLS certificate.")] = False,
) -> None:
    """Connect to a camera, watch it for some seconds, and say what it sends and how to configure it."""
    config = stream_config(url, user, password_env, transport, verify_tls=not insecure)
    with ERR.status(f"Watching {redact(config.url)} for {seconds:g} s"):
        findings = watch(config, SystemClock(), seconds)
    table = Table(show_header=False)
    for name, value in describe(findings):
        table.add_row(name, value)
    OUT.print(table)
    say(snippet(config, password_env))


def stream_config(url: str, user: str, password_env: str, transport: Transport, *, verify_tls: bool) -> StreamConfig:
    """The stream to probe. A user name and password inside the URL are taken out of it.

    Raises:
        ConfigError: no URL of a camera, or the environment variable is not set.
    """
    if password_env and password_env not in os.environ:
        raise ConfigError(f"environment variable {password_env} is not set", where="--password-env")
    password = os.environ.get(password_env) if password_env else None
    try:
        parts = urlsplit(url)
        if parts.username is not None and parts.hostname:
            user, password = user or unquote(parts.username), password or unquote(parts.password or "") or None
            url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        values: dict[str, Any] = {"url": url, "transport": transport, "user": user, "password": password, "verify_tls": verify_tls}
        return StreamConfig.model_validate(values)
    except ValueError as error:
        problems = error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else []
        what = problems[0]["msg"].removeprefix("Value error, ") if problems else "this is no URL"
        raise ConfigError(what, where=redact(url), hint="an example: rtsp://192.0.2.10:554/stream1") from None


def watch(config: StreamConfig, clock: Clock, seconds: float) -> Findings:
    """Connect and count. Blocks for `seconds` and the time to connect.

    Raises:
        CameraError: what is wrong with the camera, its address or its account.
    """
    try:
        from services.ingest.adapters.camera import Camera, Opening, configure_libav
    except ModuleNotFoundError as error:
        raise ConfigError(f"the Python package {error.name!r} is not installed", hint="install `vedette[ingest]`") from error
    configure_libav()
    stop = threading.Event()
    camera = Camera(Opening(config, audio=True, connect_timeout_s=CONNECT_S, read_timeout_s=READ_S, clock=clock, stop=stop))
    try:
        audio = camera.audio.codec_context.name if camera.audio is not None else ""
        findings = Findings(camera.codec.value, camera.size, audio)
        _count(camera, findings, clock, seconds)
    finally:
        stop.set()
        camera.close()
    return findings


def _count(camera: Any, findings: Findings, clock: Clock, seconds: float) -> None:
    started_ns = clock.monotonic_ns()
    elapsed: Callable[[], float] = lambda: (clock.monotonic_ns() - started_ns) / NS_PER_S  # noqa: E731  # read twice below
    try:
        for packet in camera.packets():
            if packet.stream_index == camera.video.index and packet.size:
                if packet.is_keyframe:
                    findings.key_frames_at.append(findings.frames)
                findings.frames += 1
                findings.video_bytes += packet.size
            findings.watched_s = elapsed()
            if findings.watched_s >= seconds:
                return
    except CameraStreamError:
        findings.watched_s = elapsed()
        if findings.frames == 0:
            raise


def describe(findings: Findings) -> list[tuple[str, str]]:
    """Rows for people."""
    width, height = findings.size
    rows = [
        ("video", f"{findings.codec}, {width}x{height}"),
        ("frames", f"{findings.fps:.1f} a second ({findings.frames} in {findings.watched_s:.1f} s)"),
        ("bit rate", f"{findings.bitrate_bps / 1e6:.2f} Mbit/s, {findings.bitrate_bps / 8 * 86400 / 1e9:.1f} GB a day"),
    ]
    if findings.gop and findings.fps:
        seconds = findings.gop / findings.fps
        advice = "; long: set the camera to 1 to 4 s" if seconds > LONG_GOP_S else ""
        rows.append(("key frame", f"every {findings.gop:.0f} frames ({seconds:.1f} s){advice}"))
    else:
        rows.append(("key frame", f"{len(findings.key_frames_at)} came while watching; the interval is longer than that"))
    kept = "kept as it is" if findings.audio == "aac" else "becomes AAC (audio: transcode), or is dropped (audio: copy)"
    rows.append(("sound", f"{findings.audio}, {kept}" if findings.audio else "none"))
    if max(width, height) > 1280:
        rows.append(("advice", "give its smaller stream as `sub`: analysis then costs a tenth"))
    return rows


def snippet(config: StreamConfig, password_env: str) -> str:
    """The channel to put into a site's file."""
    lines = ["channels:", "  - id: camera-1", "    number: 1", "    main:", f'      url: "{redact(config.url)}"']
    if config.transport is not Transport.TCP:
        lines.append(f"      transport: {config.transport.value}")
    if config.user:
        lines += [f'      user: "{config.user}"', f"      password: {{env: {password_env or 'CAMERA_PASSWORD'}}}"]
    if not config.verify_tls:
        lines.append("      verify_tls: false")
    return "\n".join(lines)
