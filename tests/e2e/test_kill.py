"""Kill -9 at random moments, again and again: nothing acknowledged is lost, nothing is catalogued twice.

Each round starts the whole recorder on the same folder, lets it run for a random time (start-up, recovery and recording are all
hit), and kills it. What the catalogue holds at that moment is what has been acknowledged; what the spool holds has been promised. At
the end all of both must be there once, and `vedette check --deep` must be clean.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.simulated import CameraSpec
from tests.support.clips import make_clip
from tests.support.recorder import Recorder, count_frames
from tests.support.rtsp import camera_simulator
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3000)]

ROUNDS = int(os.environ.get("VEDETTE_KILL_ROUNDS", "50"))
SEED = int(os.environ.get("VEDETTE_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
#: From the process's start to its end, at least and at most; between them twice what the first segment takes on this machine.
LONGEST_S, LONGEST_AT_MOST_S = 6.0, 40.0
CHANNELS = ("first", "second")


def site(urls: dict[str, str]) -> dict[str, Any]:
    """Short segments and files, so that every round cuts, spools, appends, closes, uploads and commits several times."""
    return {
        "ingest": {"segment_s": 1},
        "storage": {"file_s": 4, "sweep_every_s": 1},
        "channels": [
            {"id": name, "number": number, "main": {"url": url}, "analysis": {"enabled": False}}
            for number, (name, url) in enumerate(urls.items(), start=1)
        ],
    }


def catalogued(data_dir: Path) -> Counter[str]:
    """How often each segment id is in the catalogue."""
    rows = query(data_dir, "select id from segments")
    return Counter(str(row[0]) for row in rows)


def query(data_dir: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of storage's catalogue; none as long as there is no catalogue."""
    database = data_dir / "db" / "catalogue.sqlite"
    if not database.exists():
        return []
    with closing(sqlite3.connect(database)) as connection:
        if not connection.execute("select 1 from sqlite_master where name = 'segments'").fetchone():
            return []
        return connection.execute(sql).fetchall()


def first_segment_s(vedette: Recorder) -> float:
    """How long this machine takes from a start to the first segment, seconds; then it is killed."""
    began_s = time.monotonic()
    vedette.spawn()
    wait_for(lambda: catalogued(vedette.data_dir), what="it records", deadline_s=300)
    vedette.kill()
    return time.monotonic() - began_s


def spooled(data_dir: Path) -> int:
    """Segments that wait in the spool, and those that a kill has interrupted: the next start completes them."""
    return sum(path.suffix in (".mp4", ".part") for path in (data_dir / "spool").rglob("*"))


def test_fifty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    clips = {name: make_clip(tmp_path / f"{name}.mp4", seconds=6, fps=10, gop=5) for name in CHANNELS}
    with camera_simulator(*(CameraSpec(f"/{name}", clip) for name, clip in clips.items())) as simulator:
        vedette = Recorder(tmp_path, site({name: simulator.url(f"/{name}") for name in CHANNELS}))
        pause, acknowledged = threading.Event(), Counter[str]()
        longest_s, in_vain = min(max(LONGEST_S, 2 * first_segment_s(vedette)), LONGEST_AT_MOST_S), 0
        for _ in range(ROUNDS):
            vedette.spawn()
            pause.wait(chance.uniform(0.2, longest_s))  # the random moment is the point of this test
            vedette.kill()
            now = catalogued(vedette.data_dir)
            assert not acknowledged - now, f"seed {SEED}: acknowledged segments are gone"
            in_vain = in_vain + 1 if now == acknowledged else 0
            if in_vain == 3:  # too short rounds for a machine that has become busy, perhaps
                longest_s, in_vain = min(1.5 * longest_s, LONGEST_AT_MOST_S), 0
            acknowledged = now
        simulator.stop_listening()  # the cameras are away: only what was promised is still to come
        try:
            vedette.start()
            wait_for(lambda: spooled(vedette.data_dir) == 0, what="the spool is handed over", deadline_s=300)
            vedette.stop()
        finally:
            vedette.kill()
    assert_sound(vedette, acknowledged)


def assert_sound(vedette: Recorder, acknowledged: Counter[str]) -> None:
    final = catalogued(vedette.data_dir)
    assert len(final) > ROUNDS // 2  # the rounds did record
    assert not acknowledged - final
    assert set(final.values()) == {1}
    check = vedette.check("--deep")
    assert check.returncode == 0, f"seed {SEED}: {check.stdout}{check.stderr}"
    assert "The store is in order." in check.stdout, f"seed {SEED}: {check.stdout}"
    sessions = defaultdict(list)
    for session, sequence in query(vedette.data_dir, "select session, sequence from segments"):
        sessions[session].append(sequence)
    for session, sequences in sessions.items():
        # A segment that was spooled and lost would leave a hole: ingest numbers them without gaps.
        assert sorted(sequences) == list(range(len(sequences))), f"seed {SEED}: session {session} has {sorted(sequences)}"


def test_every_stored_file_is_whole_after_a_kill(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=6, fps=10, gop=5)
    with camera_simulator(CameraSpec("/first", clip)) as simulator:
        vedette = Recorder(tmp_path, site({"first": simulator.url("/first")}))
        try:
            vedette.start()
            wait_for(lambda: sum(r["frames"] for r in vedette.recordings("first")) >= 100, what="ten seconds are stored")
            vedette.kill()
            simulator.stop_listening()
            vedette.start()
            wait_for(lambda: spooled(vedette.data_dir) == 0, what="the spool is handed over")
            recordings = vedette.recordings("first")
            assert sum(recording["frames"] for recording in recordings) >= 100
            for recording in recordings:
                assert count_frames(vedette.download(recording, tmp_path)) == recording["frames"]
            vedette.stop()
        finally:
            vedette.kill()
