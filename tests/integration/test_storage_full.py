"""A disk that is really full: a file system of a few MiB (needs root)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.storage.adapters import disk
from services.storage.adapters.layout import Layout
from shared.messages import EventMessage, EventPhase
from shared.topics import EVENTS
from tests.support.segments import Feed, payloads
from tests.support.small_disk import fill, mounted
from tests.support.storing import MIB, Storing, next_of, site, storing, until

pytestmark = pytest.mark.integration


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 24) as folder:
        yield folder


async def has_overwritten(store: Storing, feed: Feed) -> list[dict[str, Any]]:
    """The recordings: the newest footage is there, the oldest has gone."""
    recordings = await store.recordings()
    assert recordings[-1]["end_ns"] == feed.at_ns
    assert recordings[0]["start_ns"] > feed.made[0].start_ns
    return recordings


async def test_overwriting_goes_on_on_a_full_disk(small_disk: Path) -> None:
    """Nothing is kept free: every group runs into ENOSPC, and the oldest goes."""
    pool = payloads(4, gop=10, size=(640, 360), kbit=8000)
    async with storing(small_disk, site("door", storage={"file_s": 4, "sweep_every_s": 3600})) as store:
        feed = Feed(pool=pool, size=(640, 360))
        for _ in range(15):
            await store.keep(*feed.take(4))
        recordings = await has_overwritten(store, feed)
        assert all(a["end_ns"] == b["start_ns"] for a, b in pairwise(recordings))
    assert await store.check() == []


async def test_stopping_on_a_full_disk_and_going_on_when_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "something-else"
    filler.write_bytes(bytes(14 * 1024 * 1024))
    pool = payloads(4, gop=10, size=(640, 360), kbit=8000)
    config = site("door", storage={"file_s": 4, "when_full": "stop", "sweep_every_s": 0.2})
    async with storing(small_disk, config) as store:
        events = await store.listen(EVENTS)
        feed = Feed(pool=pool, size=(640, 360))
        pending = await store.send(*feed.take(12))

        def full(phase: EventPhase):  # type: ignore[no-untyped-def]  # a predicate
            return lambda m: isinstance(m, EventMessage) and m.source == "storage.full" and m.phase is phase

        await next_of(events, full(EventPhase.STARTED))
        assert not store.service.health().ok
        assert not all(future.done() for future in pending)
        filler.unlink()
        for future in pending:
            await future
        await next_of(events, full(EventPhase.ENDED))
        assert sum(r["frames"] for r in await store.recordings()) == 120
    assert await store.check() == []


async def test_overwriting_goes_on_where_somebody_else_takes_the_last_of_the_room(tmp_path: Path) -> None:
    """The catalogue cannot record what is deleted, but for the reserve, which is there before the first segment is."""
    pool = payloads(4, gop=10, size=(640, 360), kbit=8000)
    with mounted(tmp_path / "disk", 48) as folder:
        async with storing(folder, site("door", storage={"file_s": 4, "sweep_every_s": 3600})) as store:
            assert Layout(folder).ballast.exists()
            feed = Feed(pool=pool, size=(640, 360))
            await store.keep(*feed.take(12))

            async def closed() -> bool:
                return sum(not r["open"] for r in await store.recordings()) == 2

            await until(closed, "what can be deleted is closed")
            fill(folder / "something-else")
            await store.keep(*feed.take(4))
            await has_overwritten(store, feed)
        assert await store.check() == []


async def test_overwriting_begins_where_the_last_of_the_room_was_taken_before_any_file_was_closed(tmp_path: Path) -> None:
    """What is open cannot be deleted, and to close it the catalogue needs room: the reserve is for that too."""
    pool = payloads(4, gop=10, size=(640, 360), kbit=8000)
    with mounted(tmp_path / "disk", 48) as folder:
        async with storing(folder, site("door", storage={"file_s": 60, "sweep_every_s": 3600})) as store:
            feed = Feed(pool=pool, size=(640, 360))
            await store.keep(*feed.take(6))
            fill(folder / "something-else")
            await store.keep(*feed.take(3))
            await has_overwritten(store, feed)
        assert await store.check() == []


async def test_overwriting_begins_where_the_last_of_the_room_was_taken_before_the_start(tmp_path: Path) -> None:
    pool = payloads(4, gop=10, size=(640, 360), kbit=8000)
    with mounted(tmp_path / "disk", 48) as folder:
        config, feed = site("door", storage={"file_s": 4, "sweep_every_s": 3600}), Feed(pool=pool, size=(640, 360))
        async with storing(folder, config) as store:
            await store.keep(*feed.take(6))
        fill(folder / "something-else")
        async with storing(folder, config) as store:  # without the reserve its catalogue could not even be opened
            await store.keep(*feed.take(3))
            await has_overwritten(store, feed)
        assert await store.check() == []


def test_what_does_not_fit_leaves_the_room_that_it_found(small_disk: Path) -> None:
    path = small_disk / "door" / "file.mp4"
    disk.append(path, 0, [bytes(MIB)])
    with pytest.raises(OSError) as full:  # noqa: PT011  # its number says which
        disk.append(path, MIB, [bytes(MIB)] * 30)
    assert full.value.errno == errno.ENOSPC
    assert path.stat().st_size == MIB
