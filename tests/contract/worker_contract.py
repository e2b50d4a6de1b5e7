"""What Faust workers promise on every bus, as tests. Each module that inherits `WorkerContract` gives the fixture `bus`.

The topics are the real ones; groups and channels differ from test to test, so that tests can share a broker.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.bus.port import Bus, Consumer
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.faust.worker import Outgoing, Worker
from shared.messages import DeadLetter, DetectionsMessage, EventKind, EventMessage, EventPhase, Message
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DEAD_LETTERS, DETECTIONS, EVENTS

DEADLINE_S = 120.0
_RUNS = itertools.count()


def detections(run: str, number: int, sequence: int) -> DetectionsMessage:
    return DetectionsMessage(channel=f"cam{number}", channel_number=number, capture_ns=1, frame_sequence=sequence, trace=run)


def answer(message: DetectionsMessage) -> Outgoing[EventMessage]:
    event = EventMessage(
        channel=message.channel, channel_number=message.channel_number, event_id=str(message.frame_sequence), kind=EventKind.SMD,
        source="answer", phase=EventPhase.STARTED, start_ns=1, at_ns=1, trace=message.trace,
    )  # fmt: skip
    return Outgoing(EVENTS, event)


async def until(condition: Callable[[], bool], what: object = "") -> None:
    """Wait for a condition that no event tells of."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  # as the docstring says
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not come true: {what}") from None


class Story:
    """One test's run: its own group and traces, workers, and what they handled."""

    def __init__(self, bus: Bus, data_dir: Path) -> None:
        self.bus = bus
        self.run = f"run-{next(_RUNS)}"
        clock = SystemClock()
        self.runtime = Runtime(SiteConfig(), bus, clock, data_dir, Reporter(bus.producer, clock, "d"))
        self.handled: list[tuple[str, int, int]] = []  # worker, channel number, sequence
        self.active: dict[int, int] = {}
        self.workers: list[Worker] = []
        self.fail_at: set[int] = set()
        self.gate: asyncio.Event | None = None
        self.gated: set[int] = set()
        self.waiting: set[int] = set()
        self.straight: list[int] = []

    async def worker(self, name: str) -> Worker:
        worker = Worker(self.run, self.runtime)
        self.workers.append(worker)

        async def handler(message: DetectionsMessage) -> Sequence[Outgoing[Any]]:
            if message.trace != self.run:
                return []
            number = message.channel_number
            assert self.active.get(number) is None, "two messages of a channel in flight"
            self.active[number] = message.frame_sequence
            try:
                if self.gate is not None and number in self.gated:
                    self.waiting.add(number)
                    await self.gate.wait()
                await asyncio.sleep(0)
                if message.frame_sequence in self.fail_at:
                    raise RuntimeError(f"cannot handle {message.frame_sequence}")
                self.handled.append((name, number, message.frame_sequence))
                return [answer(message)]
            finally:
                del self.active[number]

        def straight(message: DetectionsMessage) -> None:
            self.straight += [message.frame_sequence] if message.trace == self.run else []

        worker.handle(DETECTIONS, handler, straight=straight)
        await worker.start()
        return worker

    async def publish(self, numbers: Sequence[int], sequences: Sequence[int]) -> None:
        for sequence in sequences:
            for number in numbers:
                await self.bus.producer.publish(DETECTIONS, detections(self.run, number, sequence))

    def of(self, number: int) -> list[int]:
        return [sequence for _, channel, sequence in self.handled if channel == number]

    def pairs(self) -> set[tuple[int, int]]:
        return {(number, sequence) for _, number, sequence in self.handled}

    async def collect(self, consumer: Consumer, enough: Callable[[list[Message]], bool]) -> list[Message]:
        found: list[Message] = []
        async with asyncio.timeout(DEADLINE_S):
            while not enough(found):
                found += [record.message for record in await consumer.poll(timeout_s=0.2)]
        return found


@pytest.fixture
async def story(bus: Bus, tmp_path: Path) -> AsyncIterator[Story]:
    story = Story(bus, tmp_path)
    before = asyncio.all_tasks()
    yield story
    for worker in story.workers:
        await worker.stop()

    def left() -> list[str]:
        mine = [repr(task.get_coro()) for task in asyncio.all_tasks() - before]
        return [one for one in mine if "faust" in one or "mode" in one]

    await until(lambda: not left(), "workers leave no task behind")


class WorkerContract:
    async def test_every_message_is_handled_in_order_per_channel_and_answered(self, story: Story) -> None:
        events = await story.bus.consumer([EVENTS], group=None)
        await story.worker("a")
        await story.publish(range(1, 6), range(20))
        await until(lambda: len(story.handled) >= 100, story.handled)
        for number in range(1, 6):
            assert story.of(number) == list(range(20))
        found = await story.collect(events, lambda found: len([m for m in found if m.trace == story.run]) >= 100)
        answers = [(m.channel_number, int(m.event_id)) for m in found if isinstance(m, EventMessage) and m.trace == story.run]
        for number in range(1, 6):
            assert [sequence for channel, sequence in answers if channel == number] == list(range(20))

    async def test_a_slow_channel_delays_no_other(self, story: Story) -> None:
        story.gate, story.gated = asyncio.Event(), {1}
        await story.worker("a")
        await story.publish([1, 2], range(30))
        await until(lambda: len(story.of(2)) == 30, story.handled)
        assert story.of(1) == []
        story.gate.set()
        await until(lambda: story.of(1) == list(range(30)), story.of(1))

    async def test_what_has_waited_for_nothing_is_told_from_what_has(self, story: Story) -> None:
        story.gate, story.gated = asyncio.Event(), {1}
        await story.publish([1], range(5))
        worker = await story.worker("a")
        await until(lambda: story.waiting == {1}, "the first is in hand, others are behind it")
        await story.publish([1], [5])
        await until(lambda: worker.health().details["lag"] == 6, "it knows of the last one")
        story.gate.set()
        await until(lambda: len(story.of(1)) == 6, story.handled)
        assert story.straight == [], "each has waited: for the worker, for the one before it, or for the worker to read on"
        for sequence in (6, 7, 8):
            await until(lambda: worker.health().details["in_flight"] == 0, "what the one before it gave is acknowledged")
            await story.publish([1], [sequence])
            await until(lambda: story.of(1)[-1] == sequence, story.handled)  # noqa: B023  # called before the loop goes on
        assert story.straight[-2:] == [7, 8], "nothing had held them up"

    async def test_a_handler_that_fails_is_reported_its_message_is_kept_and_the_stream_goes_on(self, story: Story) -> None:
        letters = await story.bus.consumer([DEAD_LETTERS, EVENTS], group=None)
        story.fail_at = {3}
        worker = await story.worker("a")
        await story.publish([1], range(6))
        await until(lambda: story.of(1) == [0, 1, 2, 4, 5], story.handled)
        found = await story.collect(
            letters, lambda f: any(isinstance(m, DeadLetter) for m in f) and any("cannot handle" in getattr(m, "message", "") for m in f)
        )
        letter = next(m for m in found if isinstance(m, DeadLetter) and "cannot handle" in m.reason)
        assert letter.origin.startswith("detections/1/")
        assert DetectionsMessage.model_validate_json(letter.raw).frame_sequence == 3
        report = next(m for m in found if isinstance(m, EventMessage) and m.kind is EventKind.EXCEPTION)
        assert report.source == "loop.failed"
        assert worker.health().ok
        assert worker.health().details["failed"] == 1

    async def test_after_a_restart_what_was_committed_is_not_handled_again(self, story: Story) -> None:
        first = await story.worker("a")
        await story.publish([1, 2], range(10))
        await until(lambda: len(story.handled) == 20, story.handled)
        await first.stop()
        await story.publish([1, 2], range(10, 15))
        await story.worker("b")
        await until(lambda: len(story.pairs()) == 30, story.handled)
        assert story.of(1) == story.of(2) == list(range(15))

    async def test_stopping_in_the_middle_loses_nothing(self, story: Story) -> None:
        first = await story.worker("a")
        await story.publish([1, 2, 3], range(10))
        await until(lambda: len(story.handled) > 4, story.handled)
        await first.stop()
        assert not story.active
        await story.worker("b")
        await until(lambda: len(story.pairs()) == 30, story.handled)
        for number in (1, 2, 3):
            assert story.of(number) == sorted(story.of(number)), "what was handled was committed: order holds across the restart"

    async def test_two_workers_share_the_channels_and_one_takes_over_from_the_other(self, story: Story) -> None:
        await story.worker("a")
        second = await story.worker("b")
        numbers = range(1, 9)
        sequence = itertools.count()

        async def both() -> None:
            while {name for name, *_ in story.handled} != {"a", "b"}:
                await story.publish(numbers, [next(sequence)])
                await asyncio.sleep(0.05)

        await asyncio.wait_for(both(), DEADLINE_S)
        await second.stop()
        last = next(sequence)
        await story.publish(numbers, [last])
        everything = {(number, n) for number in numbers for n in range(last + 1)}
        await until(lambda: story.pairs() == everything, everything - story.pairs())

    async def test_a_worker_that_is_stopped_says_so(self, story: Story) -> None:
        worker = await story.worker("a")
        await until(lambda: worker.health().ok, "it runs")
        await worker.stop()
        await worker.stop()
        assert not worker.health().ok
