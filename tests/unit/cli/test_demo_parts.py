"""Parts of the demo: its configuration file, its monitoring centre, and its cameras as a process that ends with its parent."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import httpx
import psutil
import pytest
from standardwebhooks.webhooks import Webhook

from services.cli.demo.child import USER, CameraProcess, Cameras
from services.cli.demo.encode import CameraPair
from services.cli.demo.receiver import WebhookReceiver
from services.cli.demo.scene import SCENES, SceneFiles
from services.cli.demo.site_file import footage_camera, footage_names, scene_camera, site_text
from shared.config.load import parse_site
from shared.domain.clock import SystemClock
from tests.support.clips import make_clip

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FILES = CameraPair(Path("main.mp4"), Path("sub.mp4"))


def test_the_site_is_valid_and_watches_what_the_scenes_are_true_of(tmp_path: Path) -> None:
    (tmp_path / "webhook-secret").write_text(SECRET, encoding="utf-8")
    (tmp_path / "camera-password").write_text("geheim-17", encoding="utf-8")
    cameras = [scene_camera(SceneFiles(FILES, scene)) for scene in SCENES] + [footage_camera(Path(name), FILES) for name in footage_names()]
    text = site_text(cameras, rtsp="rtsp://127.0.0.1:8554", user=USER, centre="http://127.0.0.1:1/webhooks", port=8780, zone="Europe/Paris")
    site = parse_site(text, base_dir=tmp_path)
    assert [channel.id for channel in site.channels] == ["gate", "yard", "door", "campus", "car-park"]
    watched = {(channel.id, rule.id) for channel in site.channels for rule in channel.rules}
    for scene in SCENES:
        assert {(scene.name, line.name) for line in scene.lines} <= watched
        assert {(scene.name, zone.name) for zone in scene.zones} <= watched
    assert all(rule.linkage.webhooks == ("demo-centre",) for channel in site.channels for rule in channel.rules)
    assert "geheim" not in text


@pytest.mark.parametrize(("secret", "status", "verified"), [(SECRET, 204, True), ("whsec_" + "A" * 32, 401, False)])
def test_the_centre_verifies_signatures(secret: str, status: int, verified: bool) -> None:
    seen: list[tuple[dict[str, Any], bool]] = []
    receiver = WebhookReceiver(SECRET, lambda event, right: seen.append((event, right)))
    url = receiver.start()
    try:
        body, now = json.dumps({"type": "alarm"}), datetime.fromtimestamp(SystemClock().now_ns() / 1e9, UTC)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", now, body),
        }
        assert httpx.post(url, content=body, headers=headers).status_code == status
        assert httpx.post(url, content=b"").status_code == 413
    finally:
        receiver.stop()
    assert seen == [({"type": "alarm"} if verified else {}, verified)]


async def test_the_cameras_play_until_their_owner_stops_them(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    cameras = CameraProcess(Cameras({"/a/main": clip}, "geheim-17"))
    port = await cameras.start()
    (child,) = [process for process in psutil.Process().children() if "services.cli.demo.child" in process.cmdline()]
    assert not any("geheim" in argument for argument in child.cmdline())

    def frames() -> int:
        options = {"rtsp_transport": "tcp"}
        with av.open(f"rtsp://{USER}:geheim-17@127.0.0.1:{port}/a/main", options=options, timeout=120) as container:
            return sum(1 for packet, _ in zip(container.demux(video=0), range(5), strict=False) if packet.size)

    assert await asyncio.to_thread(frames) == 5
    await cameras.stop()
    assert not child.is_running()
    await cameras.stop()


async def test_the_cameras_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=1)
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from services.cli.demo.child import CameraProcess, Cameras\n"
        "async def main():\n"
        "    cameras = CameraProcess(Cameras({'/a/main': Path(sys.argv[1])}, 'p'))\n"
        "    print(await cameras.start(), flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[3]
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(clip), stdout=asyncio.subprocess.PIPE, cwd=root)
    assert parent.stdout is not None
    assert int(await parent.stdout.readline()) > 0
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    await parent.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [child], 300)
    assert not alive
