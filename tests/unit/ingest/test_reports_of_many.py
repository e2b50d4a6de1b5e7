"""Hundreds of cameras that fail in the same moment."""

from __future__ import annotations

from tests.support.ingest import channel, ingest
from tests.support.waiting import until

CAMERAS = 300  # more than reports that may wait at once


async def test_every_camera_whose_footage_is_lost_is_told() -> None:
    setups = [channel(f"cam{number}", number, "rtsp://192.0.2.1/1", enabled=False) for number in range(1, CAMERAS + 1)]
    names = {setup["id"] for setup in setups}
    async with ingest(*setups) as received:

        def all_told() -> bool:
            for name in sorted(names):  # the disk is full: each camera loses a segment, and then another
                received.service._report("spool.full", "the disk of the spool is full", name)
            assert received.service.health().details["not_recorded"] == CAMERAS
            return {event.channel for event in received.events} == names

        await until(all_told, "all cameras are told of")
        assert len(received.events) == CAMERAS
