"""`vedette camera`: looking at one camera before it is configured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import typer
from pydantic import ValidationError
from rich.table import Table

from services.cli.output import ERR, OUT, say
from shared.config.channels import StreamConfig, Transport
from shared.domain.errors import ConfigError
from shared.domain.redact import redact

if TYPE_CHECKING:
    from services.ingest.probe import StreamReport

app = typer.Typer(help="Look at cameras.", no_args_is_help=True)

#: Seconds to wait for the camera's answer, and of silence that are too long.
WAIT_S = 10.0
#: A key frame interval longer than this makes recordings start late and seeking coarse.
LONG_GOP_S = 8.0
WRONG_CLOCK_S = 5.0
#: Wider streams are worth a sub stream.
SUB_STREAM_PX = 1280


@app.callback()
def _group() -> None:
    """Look at cameras."""


@app.command()
def probe(  # each is an option of the command
    url: Annotated[str, typer.Argument(help="rtsp://, rtsps://, http(s):// or file://")],
    user: Annotated[str, typer.Option("--user", help="User name on the camera.")] = "",
    password_env: Annotated[str, typer.Option("--password-env", metavar="NAME", help="Environment variable that holds the password.")] = "",
    transport: Annotated[Transport, typer.Option("--transport", help="How RTP travels.")] = Transport.TCP,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=60, help="How long to watch.")] = 6.0,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept any TLS certificate.")] = False,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", metavar="FILE", help="PEM file of the authorities to believe.")] = None,
) -> None:
    """Connect to a camera, watch it for some seconds, and say what it sends and how to configure it."""
    config = stream_config(url, user, password_env, transport, verify_tls=not insecure, ca_file=ca_file)
    try:
        from services.ingest.probe import probe as look
    except ModuleNotFoundError as error:
        raise ConfigError(f"the Python package {error.name!r} is not installed", hint="install `vedette[ingest]`") from error
    password = config.password.get_secret_value() if config.password is not None else ""
    with ERR.status(f"Watching {redact(config.url)} for {seconds:g} s"):
        report = look(
            config.url,
            transport=transport,
            user=config.user,
            password=password,
            verify_tls=config.verify_tls,
            ca_file=config.ca_file,
            seconds=seconds,
            timeout_s=WAIT_S,
        )
    table = Table(show_header=False)
    for name, value in describe(report):
        table.add_row(name, value)
    OUT.print(table)
    say(snippet(config, password_env))


def stream_config(
    url: str, user: str, password_env: str, transport: Transport, *, verify_tls: bool, ca_file: Path | None = None
) -> StreamConfig:
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
        values |= {"ca_file": ca_file} if ca_file else {}
        return StreamConfig.model_validate(values)
    except ValueError as error:
        problems = error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else []
        what = problems[0]["msg"].removeprefix("Value error, ") if problems else "this is no URL"
        if problems and problems[0]["loc"] == ("ca_file",):
            raise ConfigError(what, where="--ca-file") from None
        raise ConfigError(what, where=redact(url), hint="an example: rtsp://192.0.2.10:554/stream1") from None


def describe(report: StreamReport) -> list[tuple[str, str]]:
    """Rows for people, with advice where the camera's settings could be better."""
    rows = [
        ("video", f"{report.codec}, {report.width}x{report.height}"),
        ("frames", f"{report.fps:g} a second ({report.frames} in {report.seconds:.1f} s)"),
        ("bit rate", f"{report.bitrate_bps / 1e6:.2f} Mbit/s, {report.bitrate_bps / 8 * 86400 / 1e9:.1f} GB a day"),
    ]
    if report.gop_frames and report.fps:
        seconds = report.gop_frames / report.fps
        advice = "; long: set the camera to 1 to 4 s" if seconds > LONG_GOP_S else ""
        rows.append(("key frame", f"every {report.gop_frames} frames ({seconds:.1f} s){advice}"))
    else:
        rows.append(("key frame", "fewer than two came: watch longer (--seconds), or set the camera to one every 1 to 4 s"))
    kept = "kept as it is" if report.audio_codec == "aac" else "becomes AAC (audio: transcode), or is dropped (audio: copy)"
    rows.append(("sound", f"{report.audio_codec} at {report.audio_rate} Hz, {kept}" if report.audio_codec else "none"))
    if report.clock_offset_s is not None:
        advice = "; set the camera's clock by NTP" if abs(report.clock_offset_s) > WRONG_CLOCK_S else ""
        rows.append(("clock", f"{report.clock_offset_s:+.1f} s against this machine{advice}"))
    if report.lost:
        rows.append(("losses", f"{report.lost} lost or broken packets; over a bad network use transport tcp"))
    if max(report.width, report.height) > SUB_STREAM_PX:
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
    if config.ca_file is not None:
        lines.append(f"      ca_file: {config.ca_file}")
    return "\n".join(lines)
