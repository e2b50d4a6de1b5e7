"""The backlog's turns: bounded rate, oldest first, an order per channel that nothing breaks, and nobody who is live waits."""

from __future__ import annotations

import asyncio
import operator
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.ingest.core.catch_up import FLOOR_BYTES_PER_S, IN_FLIGHT, LEAST_FACTOR, SAVED_S, CatchUp, Rate
from services.ingest.core.spool_index import Entry
from services.ingest.handover import Turns
from shared.domain.clock import NS_PER_MS, NS_PER_S, ManualClock
from tests.support.waiting import until

MIB = 1024 * 1024
CHANNELS = ("a", "b", "c", "d")


class Machine(RuleBasedStateMachine):
    """Channels ask, arrive and give up in any order while time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns, self.number = 0, 0
        self.core = CatchUp(0, 1 * MIB)
        self.asking: dict[str, tuple[int, int]] = {}
        self.under_way: set[str] = set()
        self.sent = 0
        self.largest = 0

    @rule(channel=st.sampled_from(CHANNELS), size=st.integers(1, 8 * MIB))
    def ask(self, channel: str, size: int) -> None:
        if channel not in self.asking and channel not in self.under_way:
            self.number += 1
            self.asking[channel] = (self.number, size)
            self.core.ask(channel, self.number, size)

    @rule()
    def grant(self) -> None:
        channel = self.core.grant(self.now_ns)
        if channel is not None:
            number, size = self.asking.pop(channel)
            assert number < min((other for other, _ in self.asking.values()), default=self.number + 1)
            self.under_way.add(channel)
            self.sent += size
            self.largest = max(self.largest, size)

    @rule(channel=st.sampled_from(CHANNELS))
    def withdraw(self, channel: str) -> None:
        self.core.withdraw(channel)
        self.under_way.discard(channel)
        self.asking.pop(channel, None)

    @rule(elapsed_ms=st.integers(0, 20_000))
    def wait(self, elapsed_ms: int) -> None:
        self.now_ns += elapsed_ms * NS_PER_MS

    @precondition(lambda self: self.asking and len(self.under_way) < IN_FLIGHT)
    @rule()
    def who_waits_as_told_has_a_turn(self) -> None:
        pause_s = self.core.pause_s(self.now_ns)
        assert pause_s is not None
        self.now_ns += int(pause_s * NS_PER_S)
        before = self.sent
        self.grant()
        assert self.sent > before

    @invariant()
    def the_rate_is_kept(self) -> None:
        # What was saved up, what the time allows, and the one segment that goes on the last byte of credit.
        assert self.sent <= MIB * SAVED_S + MIB * self.now_ns / NS_PER_S + self.largest + 1

    @invariant()
    def few_are_under_way(self) -> None:
        assert len(self.under_way) <= IN_FLIGHT


TestMachine = Machine.TestCase


@given(st.integers(1, 64), st.integers(1, 10))
def test_the_rate_is_that_of_the_cameras_from_the_first_minute_to_the_last(cameras: int, period_s: int) -> None:
    rate, size = Rate(0), 2 * MIB
    true = cameras * size / period_s
    for at_s in range(period_s, 601, period_s):
        for _ in range(cameras):
            rate.add(size, at_s * NS_PER_S)
        if at_s >= 5 * period_s:
            assert 0.7 * true < rate.per_s(at_s * NS_PER_S) < 1.4 * true
    assert rate.per_s(3600 * NS_PER_S) < true / 1000


@dataclass
class Site:
    """Cameras, a spool in memory and a broker that takes 20 ms a segment; second by second."""

    cameras: int
    size: int = 2 * MIB
    every_s: int = 4
    waiting: dict[str, list[int]] = field(default_factory=dict)
    number: int = 0

    def record(self, second: int) -> int:
        """How many segments were delivered in this second."""
        due = [f"cam-{n}" for n in range(self.cameras) if (second + n) % self.every_s == 0]
        for channel in due:
            self.number += 1
            self.waiting.setdefault(channel, []).append(self.number)
        return len(due)


@settings(max_examples=40, deadline=None)  # an hour of many cameras is much to count
@given(cameras=st.integers(1, 64), outage_s=st.integers(30, 600), configured=st.one_of(st.none(), st.integers(64 * 1024, 512 * MIB)))
def test_every_outage_is_caught_up_with_within_a_multiple_of_its_length(cameras: int, outage_s: int, configured: int | None) -> None:
    """Whatever is configured: the budget is more than what the cameras deliver."""
    site, core = Site(cameras), CatchUp(0, configured)
    limit_s = outage_s * (1 + 1 / (LEAST_FACTOR - 1)) * 1.5 + 60
    second = 0
    while second < outage_s or any(len(numbers) > 1 for numbers in site.waiting.values()):
        second += 1
        assert second < outage_s + limit_s, "it is not caught up"
        now_ns = second * NS_PER_S
        for _ in range(site.record(second)):
            core.recorded(site.size, now_ns)
        if second <= outage_s:
            continue
        last = 0
        for _ in range(50):  # 20 ms each
            for channel, numbers in site.waiting.items():
                if len(numbers) > 1:
                    core.ask(channel, numbers[0], site.size)
                elif numbers:
                    numbers.pop()  # live: asks nobody
            channel_ = core.grant(now_ns)
            if channel_ is None:
                break
            number = site.waiting[channel_].pop(0)
            assert number > last or number == min([number, *(n for rest in site.waiting.values() for n in rest)])
            last = number
            core.withdraw(channel_)


async def test_turns_are_given_in_the_order_of_time_and_at_the_configured_rate() -> None:
    clock = ManualClock()
    turns = Turns(clock, 1 * MIB)
    runner = asyncio.create_task(turns.run())
    done: list[str] = []

    async def hand_over(channel: str, number: int) -> None:
        async with turns.turn(Entry(channel, number, f"{number}.mp4", 4 * MIB)):
            done.append(channel)

    tasks = [asyncio.create_task(hand_over(channel, number)) for channel, number in (("c", 3), ("a", 1), ("b", 2))]
    await until(lambda: done == ["a"], "the oldest goes at once")
    for expected in (["a", "b"], ["a", "b", "c"]):
        await until(lambda: clock.sleepers > 0, "the next waits for its turn")
        clock.advance(2)
        assert done == expected[:-1]
        clock.advance(2.1)
        await until(partial(operator.eq, done, expected), "it has its turn")
    await asyncio.gather(*tasks)
    runner.cancel()
    await asyncio.gather(runner, return_exceptions=True)


async def test_whoever_gives_up_leaves_its_turn_to_the_others() -> None:
    clock = ManualClock()
    turns = Turns(clock, FLOOR_BYTES_PER_S)
    runner = asyncio.create_task(turns.run())
    held = asyncio.Event()

    async def hold(channel: str, number: int) -> None:
        async with turns.turn(Entry(channel, number, f"{number}.mp4", 1)):
            held.set()
            await asyncio.Event().wait()

    holders = [asyncio.create_task(hold(name, number)) for number, name in enumerate(CHANNELS)]
    await until(lambda: sum(not task.done() for task in holders) == len(CHANNELS) and held.is_set(), "all places are taken")
    for task in holders[:IN_FLIGHT]:
        task.cancel()
    await asyncio.gather(*holders[:IN_FLIGHT], return_exceptions=True)
    async with asyncio.timeout(60):
        for task in holders[IN_FLIGHT:]:
            task.cancel()
        async with turns.turn(Entry("z", 99, "99.mp4", 1)):
            pass
    await asyncio.gather(*holders, return_exceptions=True)
    runner.cancel()
    await asyncio.gather(runner, return_exceptions=True)
