"""Killed at random moments, storage loses nothing that it acknowledged, stores nothing twice, and is in order after its next start."""

from __future__ import annotations

import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import av
import pytest

from services.storage.adapters import disk
from services.storage.adapters.layout import Layout
from services.storage.check import check
from services.storage.core.footer import TAIL_BYTES, parse_footer
from services.storage.core.model import State
from tests.support.segments import Feed
from tests.support.storage_process import CHANNELS, CONFIG, feeds
from tests.support.storing import storing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

ROUNDS = int(os.environ.get("VEDETTE_CRASH_ROUNDS", "10"))
#: Segments of two channels: files that are stored, and one of each that is being written.
ENOUGH = 14
ROOT = Path(__file__).parents[2]


def run_and_kill(
    folder: Path, first: int, *, after_s: float | None = None, after: int = 0, once_stored: bool = False
) -> dict[str, tuple[str, int]]:
    """Acknowledged segments: id to (channel, number). Killed `after_s` after its first sign of life (`once_stored`: after the first is
    acknowledged), or once `after` are acknowledged."""
    command = [sys.executable, "-m", "tests.support.storage_process", str(folder), str(first)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    acknowledged: dict[str, tuple[str, int]] = {}
    timer = threading.Timer(after_s or 0.0, process.send_signal, [signal.SIGKILL])
    try:
        for line in process.stdout:
            words = line.split()
            if words == ["ready"] and after_s is not None and not once_stored:
                timer.start()
            elif len(words) == 3 and words[0] in CHANNELS:
                acknowledged[words[2]] = (words[0], int(words[1]))
                if once_stored and len(acknowledged) == 1:
                    timer.start()
                if after_s is None and len(acknowledged) >= after:
                    process.kill()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    return acknowledged


def file_being_written(folder: Path) -> tuple[Path, int]:
    """The file of an open recording, and how many of its bytes are catalogued. Behind them may lie what a write left, or an index."""
    with sqlite3.connect(folder / "db" / "catalogue.sqlite") as connection:
        query = "select id, size_bytes from recordings where state = 'open' order by start_ns desc, id limit 1"
        id_, size = connection.execute(query).fetchone()
    (path,) = [path for path in Layout(folder).local_files() if path.stem == id_]
    return path, size


def closed(path: Path) -> bool:
    """Whether a recording file says itself what it is, so that a catalogue can be made from it."""
    return parse_footer(disk.read_end(path, TAIL_BYTES), path.stat().st_size, State.CLOSED, locked=False) is not None


def catalogued(folder: Path) -> Counter[str]:
    with sqlite3.connect(folder / "db" / "catalogue.sqlite") as connection:
        return Counter(row[0] for row in connection.execute("select id from segments"))


async def test_killed_again_and_again(tmp_path: Path) -> None:
    seed = int(os.environ.get("VEDETTE_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    chance = random.Random(seed)
    known: dict[str, tuple[str, int]] = {}
    first = 0
    for round_ in range(ROUNDS):
        known |= run_and_kill(tmp_path, first, after_s=chance.uniform(0.0, 0.8), once_stored=round_ % 2 == 1)
        found = catalogued(tmp_path)
        assert set(known) <= set(found), f"seed {seed}: acknowledged segments are not catalogued"
        # What was not acknowledged comes again, and, the acknowledgement being what may get lost, some of what was.
        last = min(max((n for channel, n in known.values() if channel == name), default=-1) for name in CHANNELS)
        first = max(0, last + 1 - chance.choice((0, 1, 3)))
    assert known, f"seed {seed}: nothing was recorded"
    last = max(number for _, number in known.values())
    async with storing(tmp_path, CONFIG) as store:
        assert store.service.health().ok
        again = [feed.next() for feed in feeds(first) for _ in range(last + 1 - first)]
        await store.keep(*again)
    assert await store.check() == [], f"seed {seed}"
    final = catalogued(tmp_path)
    assert set(final.values()) == {1}
    assert set(known) <= set(final)


async def test_tails_strays_and_half_deletes_are_repaired(tmp_path: Path) -> None:
    """What each instruction of the writer, uploader and cleaner can leave behind, put there by hand."""
    feed = Feed()
    run_and_kill(tmp_path, 0, after=ENOUGH)
    open_file, _ = file_being_written(tmp_path)
    with open_file.open("ab") as file:  # written, not catalogued
        file.write(os.urandom(5000))
    stray = open_file.with_name("00000000-0000-0000-0000-000000000000.mp4")
    stray.write_bytes(feed.next().payload)  # a file whose first group was not catalogued
    findings = await check(CONFIG, tmp_path, deep=False)
    assert findings
    assert all(found.repairable for found in findings), findings
    assert any(f"{stray.name}: a leftover file" in found.text for found in findings)
    before = catalogued(tmp_path)
    async with storing(tmp_path, CONFIG) as store:
        assert not stray.exists()
        frames = 0
        for recording in await store.recordings():
            data = (await store.http.get(f"/api/recordings/{recording['id']}/media")).content
            with av.open(io.BytesIO(data), "r") as container:
                shown = sum(1 for _ in container.decode(video=0))
            assert shown == recording["frames"]
            frames += shown
        assert frames == sum(before.values()) * 10
    with sqlite3.connect(tmp_path / "db" / "catalogue.sqlite") as connection:  # marked, and no further
        (doomed,) = connection.execute("select id from recordings order by start_ns limit 1").fetchone()
        connection.execute("update recordings set state = 'deleting' where id = ?", (doomed,))
        connection.commit()
    assert any(text.startswith("S8") for text in await store.check())
    (half_deleted,) = await check(CONFIG, tmp_path, deep=False)
    assert half_deleted.repairable
    channel, _, time = half_deleted.text.partition(", ")
    assert channel in CHANNELS
    assert time.startswith("20")
    assert doomed not in half_deleted.text
    async with storing(tmp_path, CONFIG) as store:
        assert doomed not in [recording["id"] for recording in await store.recordings()]
    assert await store.check() == []


async def test_footage_that_the_disk_lost_is_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    run_and_kill(tmp_path, 0, after=ENOUGH)
    path, size = file_being_written(tmp_path)
    os.truncate(path, size - 100)
    assert [found for found in await check(CONFIG, tmp_path, deep=False) if not found.repairable]
    async with storing(tmp_path, CONFIG) as store:
        assert await store.recordings()
    assert await store.check() == []


async def test_a_lost_catalogue_does_not_cost_the_footage_beside_it(tmp_path: Path) -> None:
    run_and_kill(tmp_path, 0, after=ENOUGH)
    files = {path.name for path in Layout(tmp_path).local_files() if not closed(path)}
    assert files
    for path in (tmp_path / "db").iterdir():
        path.unlink()
    async with storing(tmp_path, CONFIG) as store:
        assert not files & {f"{recording['id']}.mp4" for recording in await store.recordings()}
    assert {path.name for path in (tmp_path / "lost+found").rglob("*.mp4")} == files
