"""Faust workers over the embedded bus."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.faust.worker import Outgoing, Worker
from shared.messages import DetectionsMessage, EventMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import ACTIONS, ALARMS, DETECTIONS, EVENTS, Topic
from tests.contract.bus_contract import event
from tests.contract.worker_contract import DEADLINE_S, Story, WorkerContract, detections, story, until

__all__ = ["story"]  # a fixture


@pytest.fixture
async def bus() -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(SystemClock())
    await bus.start()
    yield bus
    await bus.stop()


class TestWorkerOnEmbeddedBus(WorkerContract):
    pass


async def test_messages_pass_by_reference(bus: EmbeddedBus, tmp_path: Path) -> None:
    clock = SystemClock()
    seen: list[DetectionsMessage] = []

    async def handler(message: DetectionsMessage) -> Sequence[Outgoing[Any]]:
        seen.append(message)
        return []

    worker = Worker("g", Runtime(SiteConfig(), bus, clock, tmp_path, Reporter(bus.producer, clock, "d")))
    worker.handle(DETECTIONS, handler)
    await worker.start()
    sent = detections("x", 1, 0)
    await bus.publish(DETECTIONS, sent)
    await until(lambda: bool(seen))
    assert seen[0] is sent
    await worker.stop()


async def test_a_joining_worker_makes_nothing_be_handled_twice(story: Story) -> None:
    await story.worker("a")
    joining = asyncio.create_task(story.worker("b"))
    count = 0
    async with asyncio.timeout(DEADLINE_S):
        while not joining.done() or {name for name, *_ in story.handled} != {"a", "b"}:
            await story.publish(range(8), [count])
            await asyncio.sleep(0.002)
            count += 1
    await until(lambda: len(story.pairs()) == 8 * count, len(story.handled))
    assert len(story.handled) == 8 * count


async def test_a_worker_may_have_handlers_for_several_topics(bus: EmbeddedBus, tmp_path: Path) -> None:
    clock = SystemClock()
    seen: list[str] = []

    async def on_detections(message: DetectionsMessage) -> Sequence[Outgoing[Any]]:
        seen.append("detections")
        return [Outgoing(EVENTS, event(message.channel_number, "e"))]

    async def on_event(message: EventMessage) -> Sequence[Outgoing[Any]]:
        seen.append(message.event_id)
        return []

    worker = Worker("g", Runtime(SiteConfig(), bus, clock, tmp_path, Reporter(bus.producer, clock, "d")))
    worker.handle(DETECTIONS, on_detections)
    worker.handle(EVENTS, on_event)
    with pytest.raises(ValueError, match="handler already"):
        worker.handle(EVENTS, on_event)
    await worker.start()
    await bus.publish(DETECTIONS, detections("x", 1, 0))
    await until(lambda: seen == ["detections", "e"], seen)
    await worker.stop()


async def test_several_workers_run_in_one_process_and_leave_the_signals_alone(bus: EmbeddedBus, tmp_path: Path) -> None:
    clock = SystemClock()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def ignore(_: Any) -> Sequence[Outgoing[Any]]:
        return []

    for _ in range(2):  # started and stopped twice
        workers = [Worker(name, Runtime(SiteConfig(), bus, clock, tmp_path, Reporter(bus.producer, clock, "d"))) for name in "ab"]
        pairs: list[tuple[Topic[Any], Topic[Any]]] = [(EVENTS, ACTIONS), (ALARMS, EVENTS)]
        for worker, topics in zip(workers, pairs, strict=True):
            for topic in topics:
                worker.handle(topic, ignore)
        await asyncio.gather(*(worker.start() for worker in workers))
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        for worker in workers:
            await worker.stop()


async def test_an_app_that_dies_is_started_again(story: Story, bus: EmbeddedBus) -> None:
    worker = await story.worker("a")
    await story.publish([1], [0])
    await until(lambda: story.of(1) == [0])
    await until(lambda: bus.backlog(DETECTIONS, story.run) == 0, "it is committed: else it would be handled again")
    await bus.stop()  # the consumer is closed under the app
    await until(lambda: not worker.health().ok)
    await bus.start()
    await story.publish([1], [1])
    await until(lambda: story.of(1) == [0, 1], story.handled)
    await until(lambda: worker.health().ok, "it runs again")
    assert int(worker.health().details["restarts"]) >= 1, "tried as often as the bus was still away"


async def test_a_hanging_handler_is_no_progress(story: Story) -> None:
    story.gate, story.gated = asyncio.Event(), {1}
    worker = await story.worker("a")
    await story.publish([1], range(3))
    await until(lambda: bool(story.waiting))
    await until(lambda: worker.health().details["lag"] == 3)
    assert worker.health().details["in_flight"] == 1
    story.gate.set()
    await until(lambda: worker.health().details["lag"] == 0)


async def test_the_log_is_freed_of_what_was_handled(story: Story, bus: EmbeddedBus) -> None:
    await story.worker("a")
    await story.publish([1, 2], range(20))
    await until(lambda: len(story.handled) == 40)
    await until(lambda: sum(messages for messages, _ in bus.held(DETECTIONS)) == 0)
