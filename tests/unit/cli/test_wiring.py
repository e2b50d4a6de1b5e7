"""Start and stop of the services: in order, one process per folder, and recording whatever else fails."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.cli.factory import View
from services.cli.lock import DataDirLock
from services.cli.wiring import BACKOFF_MAX_S, START_ORDER, STOP_ORDER, Wiring
from shared.bus.embedded import EmbeddedBus
from shared.config.load import parse_site
from shared.domain.clock import ManualClock
from shared.domain.errors import CatalogueError, ConfigError
from shared.messages import EventMessage
from shared.service import Health, Runtime, Service
from shared.topics import DEAD_LETTERS, EVENTS


@dataclass
class FakeService:
    """Notes what happens to it; fails where it is told to."""

    name: str
    story: list[str]
    start_errors: list[Exception]
    stop_error: Exception | None = None
    slow: bool = False

    async def start(self) -> None:
        self.story.append(f"start {self.name}")
        if self.slow:
            await asyncio.Event().wait()
        if self.start_errors:
            raise self.start_errors.pop(0)

    async def stop(self) -> None:
        self.story.append(f"stop {self.name}")
        if self.stop_error is not None:
            raise self.stop_error

    def health(self) -> Health:
        return Health(ok=True)


@dataclass
class FakeFactory:
    """Makes fakes. Errors by service; those of making and starting are used up one by one. `slow`: their start never ends."""

    start_errors: dict[str, list[Exception]] = field(default_factory=dict)
    stop_errors: dict[str, Exception] = field(default_factory=dict)
    make_errors: dict[str, list[Exception]] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    story: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    runtime: Runtime | None = None

    def create(self, name: str, runtime: Runtime, view: View) -> Service:
        if self.make_errors.get(name):
            raise self.make_errors[name].pop(0)
        self.runtime = runtime
        self.made.append(name)
        return FakeService(name, self.story, self.start_errors.get(name, []), self.stop_errors.get(name), name in self.slow)


def silent(_name: str, _what: str) -> None:
    pass


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def wire(tmp_path: Path, clock: ManualClock) -> Callable[[FakeFactory], Wiring]:
    return lambda factory: Wiring(parse_site("data_dir: data", base_dir=tmp_path), clock, factory=factory)


async def until(condition: Callable[[], bool]) -> None:
    """Let tasks run until `condition()` holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # the tested code has no event for it
            await asyncio.sleep(0)


async def advance(clock: ManualClock) -> None:
    """Past any back-off."""
    for _ in range(20):
        await asyncio.sleep(0)
    clock.advance(BACKOFF_MAX_S)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_services_start_and_stop_in_order(wire: Callable[[FakeFactory], Wiring]) -> None:
    factory = FakeFactory()
    wiring = wire(factory)
    await wiring.start(silent)
    assert factory.made[0] == "ingest"
    assert factory.made[-1] == "console"
    assert factory.story == [f"start {name}" for name in START_ORDER]
    factory.story.clear()
    await wiring.stop(silent)
    assert factory.story == [f"stop {name}" for name in STOP_ORDER]
    await wiring.stop(silent)
    assert len(factory.story) == len(STOP_ORDER)


async def test_no_service_waits_for_another_that_takes_its_time(wire: Callable[[FakeFactory], Wiring]) -> None:
    """Storage sweeps, or its database does not answer: cameras are recorded meanwhile. Stopped then, it is stopped too."""
    factory = FakeFactory(slow={"storage"})
    wiring = wire(factory)
    starting = asyncio.create_task(wiring.start(silent))
    await until(lambda: {"ingest", "alarms", "analytics"} <= set(wiring.services))
    assert "storage" not in wiring.services
    assert wiring.health()["storage"] == Health(ok=False, summary="starting")
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert "stop storage" in factory.story
    again = wire(FakeFactory())  # the folder is free again
    await again.start(silent)
    await again.stop(silent)


async def test_the_data_folder_is_absolute_and_private(wire: Callable[[FakeFactory], Wiring], tmp_path: Path) -> None:
    factory = FakeFactory()
    wiring = wire(factory)
    await wiring.start(silent)
    assert factory.runtime is not None
    assert factory.runtime.data_dir == tmp_path / "data"
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    await wiring.stop(silent)


async def test_a_second_recorder_on_the_same_folder_is_refused(wire: Callable[[FakeFactory], Wiring], tmp_path: Path) -> None:
    first = wire(FakeFactory())
    await first.start(silent)
    second_factory = FakeFactory()
    with pytest.raises(ConfigError, match=r"another Vedette \(process \d+\) is running on this data folder"):
        await wire(second_factory).start(silent)
    assert second_factory.story == []
    await first.stop(silent)
    third = wire(FakeFactory())
    await third.start(silent)
    await third.stop(silent)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="the data folder cannot be written: Not a directory"):
        DataDirLock(tmp_path / "file" / "data").acquire()


async def test_what_is_not_installed_is_told_and_not_tried_again(wire: Callable[[FakeFactory], Wiring], clock: ManualClock) -> None:
    factory = FakeFactory(make_errors={"analytics": [ModuleNotFoundError("No module named 'openvino'", name="openvino")] * 9})
    said, wiring = [], wire(factory)
    await wiring.start(lambda name, what: said.append((name, what)))
    why = "could not start: the Python package 'openvino' is not installed (install `vedette[analytics]`; recording works without it)"
    assert ("analytics", why) in said
    assert set(wiring.services) == {"storage", "alarms", "ingest", "console"}
    health = wiring.health()
    assert not health["analytics"].ok
    assert health["ingest"].ok
    await advance(clock)
    assert len(factory.make_errors["analytics"]) == 8
    await wiring.stop(silent)


@pytest.mark.parametrize("name", ["ingest", "storage", "alarms", "analytics"])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (CatalogueError("the server refused the connection", where="db:5432"), "db:5432: the server refused the connection"),
        (RuntimeError("a fault"), "RuntimeError: a fault"),
    ],
    ids=["known error", "unexpected error"],
)
async def test_what_cannot_start_is_told_once_and_tried_again_until_it_can(
    wire: Callable[[FakeFactory], Wiring], clock: ManualClock, name: str, error: Exception, why: str
) -> None:
    factory = FakeFactory(start_errors={name: [error] * 3})
    said, wiring = [], wire(factory)
    await wiring.start(lambda name, what: said.append((name, what)))
    assert (name, f"could not start: {why}; it is tried again") in said
    assert set(wiring.services) == {*START_ORDER} - {name}
    assert wiring.health()[name] == Health(ok=False, summary=f"not running: {why}")
    for _ in range(3):
        await advance(clock)
    await until(lambda: name in wiring.services)
    assert wiring.health()[name].ok
    assert [what for who, what in said if who == name] == ["starting", f"could not start: {why}; it is tried again", "started"]
    assert factory.story.count(f"start {name}") == 4
    assert factory.story.count(f"stop {name}") == 3
    await wiring.stop(silent)


@pytest.mark.parametrize("name", ["storage", "ingest"])
async def test_nothing_runs_when_the_settings_of_recording_are_wrong(wire: Callable[[FakeFactory], Wiring], name: str) -> None:
    factory = FakeFactory(start_errors={name: [ConfigError("no such kind of database")]})
    wiring = wire(factory)
    with pytest.raises(ConfigError, match="no such kind of database"):
        await wiring.start(silent)
    started = [line.split()[1] for line in factory.story if line.startswith("start")]
    stopped = [line.split()[1] for line in factory.story if line.startswith("stop")]
    assert set(started) == set(stopped)
    again = wire(FakeFactory())  # the folder is free again
    await again.start(silent)
    await again.stop(silent)


async def test_dead_letters_that_give_way_are_reported(tmp_path: Path) -> None:
    wiring = Wiring(parse_site("data_dir: data", base_dir=tmp_path), ManualClock(), names=("ingest",), factory=FakeFactory())
    await wiring.start(silent)
    events = await wiring.bus.consumer([EVENTS], group=None)
    assert isinstance(wiring.bus, EmbeddedBus)
    wiring.bus.kept.on_dropped(DEAD_LETTERS, 7)
    (record, *_) = await events.poll(timeout_s=20)
    assert isinstance(record.message, EventMessage)
    assert (record.message.source, record.message.message) == ("dead_letters.dropped", "the 7 oldest of dead-letters gave way for new ones")
    await wiring.stop(silent)


async def test_one_service_that_fails_to_stop_does_not_keep_the_others(wire: Callable[[FakeFactory], Wiring]) -> None:
    factory = FakeFactory(stop_errors={"ingest": RuntimeError("a fault")})
    wiring = wire(factory)
    await wiring.start(silent)
    factory.story.clear()
    await wiring.stop(silent)
    assert factory.story == [f"stop {name}" for name in STOP_ORDER]
