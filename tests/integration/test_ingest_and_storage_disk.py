"""Ingest's spool and storage on one disk that is as full as it is allowed to be: the normal state of a recorder."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from services.ingest.adapters.spool import Spool
from shared.config.services import MIB
from shared.messages import SegmentMessage
from tests.support.segments import Feed, payloads
from tests.support.small_disk import mounted
from tests.support.storing import site, storing
from tests.support.waiting import until

pytestmark = pytest.mark.integration

CHANNELS = ("door", "yard", "gate")
MIN_FREE = 100 * MIB


def spooled(spool: Spool, segment: SegmentMessage) -> SegmentMessage:
    """The segment's way over the disk, as ingest writes and reads it."""
    file = spool.create(segment.channel, segment.model_dump(mode="json", exclude={"payload"}))
    file.write(segment.payload)
    return spool.load(file.finish({}))


async def test_overwriting_leaves_the_spool_its_room(tmp_path: Path) -> None:
    """No segment is refused while the oldest footage makes room for the newest, time and again."""
    pool = payloads(4, gop=10, kbit=2000)
    with mounted(tmp_path / "disk", 128) as disk:
        spool = Spool(disk / "spool", 1 << 30, min_free_bytes=MIN_FREE)
        spool.open()
        config = site(*CHANNELS, storage={"file_s": 4, "min_free_bytes": MIN_FREE, "sweep_every_s": 3600})
        async with storing(disk, config) as store:
            feeds = [Feed(name, number, pool=pool) for number, name in enumerate(CHANNELS, start=1)]
            written, rounds = 0, itertools.cycle((1, 1, 3))  # cameras are not in step: now one segment, now several at once
            while written < 3 * 28 * MIB:  # what fits, three times over
                segments = [spooled(spool, feed.next()) for feed in feeds[: next(rounds)]]
                written += sum(segment.size_bytes for segment in segments)
                await store.keep(*segments)
                for segment in segments:
                    entry = spool.next_after(segment.channel, -1)
                    assert entry is not None
                    spool.acknowledge(entry)
            found = os.statvfs(disk)
            assert found.f_bavail * found.f_frsize >= MIN_FREE
            assert (await store.recordings())[0]["start_ns"] > feeds[0].made[0].start_ns  # something was overwritten
        assert await store.check() == []


async def test_the_sweep_leaves_the_spool_room_for_an_outage_of_storage(tmp_path: Path) -> None:
    """A disk that overwriting keeps full takes footage for a while also when storage takes nothing."""
    pool = payloads(4, gop=10, kbit=2000)
    with mounted(tmp_path / "disk", 128) as disk:
        config = site(*CHANNELS, storage={"file_s": 4, "min_free_bytes": MIN_FREE - 60 * MIB, "sweep_every_s": 0.2})
        feeds = [Feed(name, number, pool=pool) for number, name in enumerate(CHANNELS, start=1)]
        async with storing(disk, config) as store:
            written = 0
            while written < 100 * MIB:
                segments = [feed.next() for feed in feeds]
                written += sum(segment.size_bytes for segment in segments)
                await store.keep(*segments)

            async def has_room() -> bool:
                space, limits, _ = await store.service.space()
                return space.free_bytes >= limits.min_free_bytes + min(space.total_bytes // 20, space.used_bytes // 10)

            await until(has_room, "the sweep has made room for the spool")
        spool = Spool(disk / "spool", 1 << 30, min_free_bytes=MIN_FREE - 60 * MIB)
        spool.open()
        outage = 0
        while outage < 5 * MIB:  # storage is away: nothing is handed over
            outage += spooled(spool, feeds[0].next()).size_bytes
        assert await store.check() == []
