"""Lanes: one event in flight per partition, partitions side by side."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from shared.faust.lanes import LANE_MAX_WAITING, LaneKey, Lanes


class Handler:
    """Handles an event when the test lets it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.pauses: list[tuple[str, LaneKey]] = []
        self.lanes: Lanes[str] = Lanes(
            self, lambda lane: self.pauses.append(("pause", lane)), lambda lane: self.pauses.append(("resume", lane))
        )

    async def __call__(self, event: str) -> None:
        self.begun.append(event)
        await self.gates[event].wait()
        self.ended.append(event)

    async def end(self, event: str) -> None:
        self.gates[event].set()
        for _ in range(5):
            await asyncio.sleep(0)


A, B = ("events", 0), ("events", 1)


async def test_a_lane_handles_one_event_at_a_time_and_lanes_do_not_wait_for_each_other() -> None:
    handler = Handler()
    handler.lanes.put(A, "a1")
    handler.lanes.put(A, "a2")
    handler.lanes.put(B, "b1")
    await handler.end("b1")
    assert (handler.begun, handler.ended) == (["a1", "b1"], ["b1"])
    await handler.end("a1")
    await handler.end("a2")
    assert handler.ended == ["b1", "a1", "a2"]
    assert handler.lanes.in_flight == 0


async def test_a_full_lane_is_paused_and_resumed_when_it_has_room() -> None:
    handler = Handler()
    for n in range(1 + LANE_MAX_WAITING):
        handler.lanes.put(A, f"a{n}")
    assert handler.pauses == [("pause", A)]
    await handler.end("a0")
    assert handler.pauses == [("pause", A), ("resume", A)]
    for n in range(1, 1 + LANE_MAX_WAITING):
        await handler.end(f"a{n}")
    assert handler.pauses == [("pause", A), ("resume", A)]


async def test_draining_forgets_what_waits_and_waits_for_what_is_in_flight() -> None:
    handler = Handler()
    handler.lanes.put(A, "a1")
    handler.lanes.put(A, "a2")
    await asyncio.sleep(0)
    draining = asyncio.create_task(handler.lanes.drain(5))
    await asyncio.sleep(0)
    assert not draining.done()
    await handler.end("a1")
    await draining
    assert (handler.begun, handler.ended) == (["a1"], ["a1"])


async def test_draining_cancels_what_does_not_end_and_the_lane_can_be_used_again() -> None:
    handler = Handler()
    for n in range(1 + LANE_MAX_WAITING):
        handler.lanes.put(A, f"a{n}")
    await asyncio.sleep(0)
    await handler.lanes.drain(0.01)
    assert handler.ended == []
    assert handler.pauses[-1] == ("resume", A)
    handler.lanes.put(A, "again")
    await handler.end("again")
    assert handler.ended == ["again"]
