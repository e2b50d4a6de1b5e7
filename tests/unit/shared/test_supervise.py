"""Supervised loops: started again with back-off, reported, stopped by their owner."""

from __future__ import annotations

import asyncio

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.domain.clock import ManualClock
from shared.report import Reporter
from shared.supervise import BACKOFF_MAX_S, HEALTHY_AFTER_S, MAX_REPORTS, Supervisor
from shared.topics import EVENTS


async def until(condition: object) -> None:
    """Let tasks run until `condition()` holds."""
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the tested code has no event for it
            await asyncio.sleep(0)


async def test_a_loop_that_fails_is_reported_and_started_again() -> None:
    clock, reports, runs = ManualClock(), [], []

    async def report(name: str, error: BaseException) -> None:
        reports.append((name, str(error)))

    async def loop() -> None:
        runs.append(clock.monotonic_ns())
        if len(runs) < 3:
            raise OSError(f"failure {len(runs)}")

    supervisor = Supervisor(clock, report)
    supervisor.spawn("cleaner", loop)
    for count in (1, 2):
        await until(lambda: clock.sleepers == 1)
        assert len(runs) == count
        clock.advance(BACKOFF_MAX_S)
    await until(lambda: not supervisor.loops[0].running)
    assert len(runs) == 3
    assert reports == [("cleaner", "failure 1"), ("cleaner", "failure 2")]
    assert supervisor.loops[0].failures == 2


async def test_a_report_that_cannot_get_through_does_not_keep_the_loop_from_starting_again() -> None:
    clock, runs, under_way = ManualClock(), 0, 0

    async def report(name: str, error: BaseException) -> None:
        nonlocal under_way
        under_way += 1
        try:
            await asyncio.Event().wait()
        finally:
            under_way -= 1

    async def loop() -> None:
        nonlocal runs
        runs += 1
        raise OSError

    supervisor = Supervisor(clock, report)
    supervisor.spawn("cleaner", loop)
    for count in range(1, 2 * MAX_REPORTS):
        await until(lambda: clock.sleepers == 1)
        assert runs == count
        clock.advance(BACKOFF_MAX_S)
    assert under_way == MAX_REPORTS
    await supervisor.stop()
    assert under_way == 0


async def test_a_full_bus_does_not_delay_the_restart() -> None:
    """The events topic is full, and the loop that failed is the one that would make room."""
    clock = ManualClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    consumer = await bus.consumer([EVENTS], group="alarms")
    reporter = Reporter(bus.producer, clock, "device")
    for _ in range(EVENTS.capacity // 2):
        await reporter.tell("clock.jump", "")
    failed = asyncio.Event()

    async def handle() -> None:
        if not failed.is_set():
            failed.set()
            raise OSError
        while records := await consumer.poll():
            await consumer.commit([record.position for record in records])

    supervisor = Supervisor(clock, reporter.loop_failed)
    supervisor.spawn("alarms", handle)
    await until(lambda: clock.sleepers == 1)
    clock.advance(BACKOFF_MAX_S)
    await until(lambda: consumer.lag() == 0 and bus.held(EVENTS)[0][0] == 0)
    await supervisor.stop()
    await bus.stop()


async def test_the_back_off_grows_to_its_limit_and_starts_anew_after_a_healthy_run() -> None:
    clock = ManualClock()
    healthy = False

    async def loop() -> None:
        if healthy:
            await clock.sleep(HEALTHY_AFTER_S + 1)
        raise OSError

    async def waited() -> float:
        """Seconds that the supervisor sleeps now, found by advancing."""
        await until(lambda: clock.sleepers == 1)
        runs, seconds = supervisor.loops[0].failures, 0.0
        while supervisor.loops[0].failures == runs:
            clock.advance(0.125)
            seconds += 0.125
            for _ in range(5):
                await asyncio.sleep(0)
        return seconds

    supervisor = Supervisor(clock)
    supervisor.spawn("x", loop)
    waits = [await waited() for _ in range(8)]
    for n, wait in enumerate(waits):
        full = min(0.5 * 2**n, BACKOFF_MAX_S)
        assert full / 2 <= wait <= full + 0.125
    healthy = True
    await waited()  # the last long sleep, and the healthy run after it fails
    healthy = False
    assert await waited() <= 0.5 + 0.125
    await supervisor.stop()


async def test_secrets_do_not_get_into_the_state() -> None:
    clock = ManualClock()

    async def loop() -> None:
        raise OSError("cannot open rtsp://admin:hunter22@camera/1")

    supervisor = Supervisor(clock)
    supervisor.spawn("x", loop)
    await until(lambda: supervisor.loops[0].failures == 1)
    assert "hunter22" not in supervisor.loops[0].last_error
    await supervisor.stop()


async def test_stop_cancels_every_loop_and_waits_for_its_end() -> None:
    ended: list[str] = []

    async def loop(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    supervisor = Supervisor(ManualClock())
    supervisor.spawn("a", lambda: loop("a"))
    supervisor.spawn("b", lambda: loop("b"))
    await asyncio.sleep(0)
    await supervisor.stop()
    await supervisor.stop()
    assert sorted(ended) == ["a", "b"]
    with pytest.raises(ValueError, match="stopped"):
        supervisor.spawn("c", lambda: loop("c"))


@pytest.mark.parametrize("alone", [True, False], ids=["cancel", "stop"])
async def test_a_loop_that_fails_at_its_cancellation_is_not_started_again(alone: bool) -> None:
    """What it had open cannot be closed: that is no reason to open it again."""
    clock, runs = ManualClock(), 0

    async def loop() -> None:
        nonlocal runs
        runs += 1
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("cannot be closed")

    supervisor = Supervisor(clock)
    supervisor.spawn("x", loop)
    await until(lambda: runs == 1)
    async with asyncio.timeout(60):
        await (supervisor.cancel("x") if alone else supervisor.stop())
    assert runs == 1
    assert clock.sleepers == 0


async def test_one_loop_can_be_cancelled_and_spawned_again() -> None:
    supervisor = Supervisor(ManualClock())
    supervisor.spawn("camera", asyncio.Event().wait)  # type: ignore[arg-type]  # what it returns does not matter
    with pytest.raises(ValueError, match="running already"):
        supervisor.spawn("camera", asyncio.Event().wait)  # type: ignore[arg-type]  # as above
    await supervisor.cancel("camera")
    await supervisor.cancel("unknown")
    assert supervisor.loops == ()
    supervisor.spawn("camera", asyncio.Event().wait)  # type: ignore[arg-type]  # as above
    await supervisor.stop()
