"""A channel without analysis, from its camera to the page: `vedette run` as a process."""

from __future__ import annotations

from pathlib import Path

import pytest
import simplejpeg  # type: ignore[import-untyped]  # it ships no types

from tests.support.recorder import recorder
from tests.support.waiting import wait_for
from tests.unit.console import stand

pytestmark = pytest.mark.integration


def test_it_shows_live_pictures_that_go_on(tmp_path: Path) -> None:
    film = stand.write_mp4(tmp_path / "film.mp4", 20)
    site = {
        "channels": [{"id": "attic", "number": 1, "main": {"url": film.as_uri()}, "analysis": {"enabled": False}}],
        "storage": {"min_free_bytes": 0},
        "ingest": {"spool_max_bytes": 64 * 1024 * 1024},
    }
    with recorder(tmp_path, site) as vedette:

        def shown_ns() -> int:
            answer = vedette.http.get("/api/channels/attic/live.jpg")
            if answer.status_code == 404:
                return 0
            assert simplejpeg.decode_jpeg(answer.content).shape == (360, 640, 3)
            return int(answer.headers["x-capture-ns"])

        first_ns = wait_for(shown_ns, what="a live picture")
        wait_for(lambda: shown_ns() > first_ns, what="a newer one")
        wait_for(lambda: vedette.get("/api/status")["channels"][0]["state"] == "online", what="it is said to be online")
        assert vedette.get("/api/site")["channels"][0]["live"] is True
