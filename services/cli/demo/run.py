"""`vedette demo`: builds cameras and a site around them, and runs it as `vedette run` would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from services.cli.announce import webhook_line
from services.cli.demo.child import USER, CameraProcess, Cameras
from services.cli.demo.encode import camera_pair
from services.cli.demo.receiver import WebhookReceiver
from services.cli.demo.scene import build_scenes
from services.cli.demo.site_file import DemoCamera, footage_camera, footage_names, scene_camera, site_text
from services.cli.logs import start_logging
from services.cli.models import prepare_detector
from services.cli.output import progress_bars, say
from services.cli.ports import any_free_port, is_free
from services.cli.serve import serve
from shared.config.load import load_site
from shared.config.services import AnalyticsConfig
from shared.domain.clock import Clock
from shared.domain.errors import ConfigError, ModelError

#: The variable that names a folder with real footage (`video/*.mp4` in it), and where that is in a source checkout.
FOOTAGE_VARIABLE = "VEDETTE_TEST_DATA"
_FOOTAGE_DEFAULT = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def run_demo(folder: Path, clock: Clock, *, port: int, duration_s: float | None) -> None:
    """Build what is missing, then run until Ctrl-C (or for `duration_s` seconds).

    Args:
        folder: where the site's file and its recordings go; both stay.
        port: of the page; another free one is taken when it is in use.

    Raises:
        VedetteError: what is wrong and what to do.
    """
    folder = folder.absolute()
    _make(folder)
    try:
        prepare_detector(AnalyticsConfig())
    except ModelError as error:
        say(f"No detection in this demo, recording alone: {error}", style="bold yellow")
    cameras = _cameras(user_cache_path("vedette") / "demo")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(folder, cameras, clock, port, duration_s))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in (
            ("camera-password", secrets.token_urlsafe(12)),
            ("webhook-secret", "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()),
        ):
            file = folder / name
            if not file.exists():
                file.touch(mode=0o600)
                file.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the demo's folder cannot be written: {error.strerror}", where=str(folder), hint="choose one by --folder"
        ) from error


def footage() -> Iterator[Path]:
    """Real footage that is here and that the demo knows."""
    folder = Path(os.environ.get(FOOTAGE_VARIABLE, _FOOTAGE_DEFAULT))
    for name in footage_names():
        if (folder / "video" / name).is_file():
            yield folder / "video" / name


def _cameras(cache: Path) -> list[DemoCamera]:
    """All cameras; their files are built (with progress) when the cache has none."""
    cache.mkdir(parents=True, exist_ok=True)
    with progress_bars() as progress:
        cameras = [
            scene_camera(scene) for scene in build_scenes(cache, lambda what, done, all_: progress(f"drawing camera {what}", done, all_))
        ]
        for file in footage():
            pair = camera_pair(file, cache, lambda what, done, all_: progress(f"preparing {what}", done, all_))
            cameras.append(footage_camera(file, pair))
    return cameras


async def _run(folder: Path, cameras: list[DemoCamera], clock: Clock, port: int, duration_s: float | None) -> None:
    secret = (folder / "webhook-secret").read_text(encoding="utf-8").strip()
    password = (folder / "camera-password").read_text(encoding="utf-8").strip()
    files = {f"/{camera.id}/{stream}": getattr(camera.files, stream) for camera in cameras for stream in ("main", "sub")}
    child, receiver = CameraProcess(Cameras(files, password)), WebhookReceiver(secret, _received)
    try:
        rtsp = f"rtsp://127.0.0.1:{await child.start()}"
        text = site_text(cameras, rtsp=rtsp, user=USER, centre=receiver.start(), port=_free(port), zone=_zone())
        site_file = folder / "site.yml"
        site_file.write_text(text, encoding="utf-8")
        site = load_site(site_file)
        start_logging(Path(site.data_dir))
        say(f"Demo:      {len(cameras)} cameras at {rtsp}; the site's file is {site_file}")
        for line in _command():
            say(line)
        await serve(site, clock, limit_s=duration_s)
    finally:
        await child.stop()
        await asyncio.to_thread(receiver.stop)


def _command() -> list[str]:
    """Where the command is, when a shell would not find it by its name."""
    command = Path(sys.argv[0]).absolute()
    activate = command.with_name("activate")
    if shutil.which("vedette") or not activate.exists():
        return []
    return [f"Command:   `vedette` is {_short(command)}; after `. {_short(activate)}` a shell finds it by its name"]


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _received(event: dict[str, Any], verified: bool) -> None:
    if verified:
        say(f"          webhook received, signature ok: {webhook_line(event)}", style="dim")
    else:
        say("          webhook received, SIGNATURE WRONG", style="bold red")


def _free(port: int) -> int:
    """`port` when nobody listens on it, else another."""
    if port and is_free("127.0.0.1", port):
        return port
    if port:
        say(f"Port {port} is in use; the page gets another.", style="yellow")
    return any_free_port()


def _zone() -> str:
    """This machine's time zone by its IANA name, or UTC where that cannot be told."""
    target = Path("/etc/localtime").resolve()
    name = "/".join(target.parts[target.parts.index("zoneinfo") + 1 :]) if "zoneinfo" in target.parts else ""
    return name or "UTC"
