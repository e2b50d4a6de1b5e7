"""Ingest takes a new configuration while it records: cameras that it does not concern have no gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.simulated import CameraSpec
from services.ingest.core.changes import changes
from shared.config.site import SiteConfig
from shared.messages.media import ChannelState
from tests.support.clips import make_clip
from tests.support.ingest import channel, gapless, ingest
from tests.support.rtsp import camera_simulator
from tests.support.waiting import until

SECONDS, FPS = 8.0, 10
SETTINGS: dict[str, Any] = {"segment_s": 1, "reconnect_min_s": 60, "reconnect_max_s": 60, "status_every_s": 0.5}


def site(*channels: dict[str, Any], **more: Any) -> SiteConfig:
    return SiteConfig.model_validate({"channels": list(channels), "ingest": SETTINGS, "storage": {"min_free_bytes": 0}} | more)


@pytest.mark.integration
async def test_a_camera_that_is_not_concerned_has_no_gap(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=SECONDS, fps=FPS)
    with camera_simulator(*(CameraSpec(f"/{name}", clip, loop=False) for name in ("kept", "changed", "added"))) as camera:
        kept, changed = channel("kept", 1, camera.url("/kept")), channel("changed", 2, camera.url("/changed"))
        added = channel("added", 3, camera.url("/added"))
        async with ingest(kept, changed, data_dir=tmp_path, **SETTINGS) as received:
            await received.until(lambda r: bool(r.of("kept") and r.of("changed")))
            renamed = kept | {"name": "Gate", "rules": [{"id": "line", "kind": "smd"}], "recording": {"keep_days": 3}}
            await received.service.reconfigure(site(renamed, changed | {"audio": "off"}, added))
            await received.until(lambda r: bool(r.of("added")) and len({segment.session for segment in r.of("changed")}) == 2)

            await received.service.reconfigure(site(renamed, added, changed | {"enabled": False}))
            await received.until(lambda r: r.state("changed") is not None and r.state("changed").state is ChannelState.DISABLED)  # type: ignore[union-attr]  # not None, as asked before
            await received.until(lambda r: all(sum(s.frames for s in r.of(name)) >= SECONDS * FPS for name in ("kept", "added")))
            for name in ("kept", "added"):
                segments = received.of(name)
                assert sum(segment.frames for segment in segments) == SECONDS * FPS
                assert gapless(segments)
                assert len({segment.session for segment in segments}) == 1
            waiting = tmp_path / "spool" / "changed"
            await until(lambda: not list(waiting.iterdir()), "what was recorded is handed over")
            segments_of_changed = len(received.of("changed"))

            await received.service.reconfigure(site(renamed))
            await received.until(lambda r: r.state("added") is not None and r.state("added").state is ChannelState.DISABLED)  # type: ignore[union-attr]  # as above
            assert len(received.of("changed")) == segments_of_changed
            health = received.service.health()
            assert health.ok
            assert health.details["channels"] == 1


@pytest.mark.integration
async def test_what_is_kept_free_on_the_disk_is_taken_while_it_records(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=SECONDS, fps=FPS)
    with camera_simulator(CameraSpec("/gate", clip, live=True)) as camera:
        gate = channel("gate", 1, camera.url("/gate"))
        async with ingest(gate, take=False, **SETTINGS) as received:
            service = received.service
            await until(lambda: service.health().details["spool_bytes"], "it records")
            await service.reconfigure(site(gate, storage={"min_free_bytes": 2**62}))
            await until(lambda: service.health().details["not_recorded"] == 1, "there is no room")
            await service.reconfigure(site(gate))
            await until(lambda: service.health().ok, "it records again")


def test_only_what_the_connection_depends_on_counts() -> None:
    gate = channel("gate", 1, "rtsp://192.0.2.1/s", password="one")
    old = site(gate)
    for same in (gate | {"name": "x"}, gate | {"recording": {"keep_days": 1}}, gate | {"rules": [{"id": "r", "kind": "smd"}]}):
        assert changes(old, site(same)).stop == changes(old, site(same)).start == frozenset()
    assert changes(old, site(gate, ingest=SETTINGS | {"status_every_s": 3})).start == frozenset()
    main = gate["main"]
    for other in (gate | {"main": main | {"password": "two"}}, gate | {"recording": {"mode": "off"}}, gate | {"analysis": {"fps": 3}}):
        assert changes(old, site(other)).stop == changes(old, site(other)).start == {"gate"}
    assert changes(old, site(gate, ingest=SETTINGS | {"segment_s": 2})).start == {"gate"}
    assert changes(old, site()).stop == {"gate"}
    assert changes(old, site()).start == frozenset()
    assert changes(old, site(gate | {"enabled": False})).start == frozenset()
