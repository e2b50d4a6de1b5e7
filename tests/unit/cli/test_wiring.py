"""Start and stop of the services: in order, one process per folder, and recording whatever else fails."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.cli.factory import HealthOf
from services.cli.lock import DataDirLock
from services.cli.wiring import START_ORDER, STOP_ORDER, Wiring
from shared.config.load import parse_site
from shared.domain.clock import ManualClock
from shared.domain.errors import ConfigError, ModelError, VedetteError
from shared.service import Health, Runtime, Service


@dataclass
class FakeService:
    """Notes what happens to it; fails where it is told to."""

    name: str
    story: list[str]
    start_error: Exception | None = None
    stop_error: Exception | None = None

    async def start(self) -> None:
        self.story.append(f"start {self.name}")
        if self.start_error is not None:
            raise self.start_error

    async def stop(self) -> None:
        self.story.append(f"stop {self.name}")
        if self.stop_error is not None:
            raise self.stop_error

    def health(self) -> Health:
        return Health(ok=True)


@dataclass
class FakeFactory:
    """Makes fakes; `start_errors`, `stop_errors` and `make_errors` by service."""

    start_errors: dict[str, Exception] = field(default_factory=dict)
    stop_errors: dict[str, Exception] = field(default_factory=dict)
    make_errors: dict[str, Exception] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    runtime: Runtime | None = None

    def create(self, name: str, runtime: Runtime, health: HealthOf) -> Service:
        if name in self.make_errors:
            raise self.make_errors[name]
        self.runtime = runtime
        self.made.append(name)
        return FakeService(name, self.story, self.start_errors.get(name), self.stop_errors.get(name))


def silent(_name: str, _what: str) -> None:
    pass


@pytest.fixture
def wire(tmp_path: Path) -> Callable[[FakeFactory], Wiring]:
    return lambda factory: Wiring(parse_site("data_dir: data", base_dir=tmp_path), ManualClock(), factory=factory)


async def test_services_start_and_stop_in_order(wire: Callable[[FakeFactory], Wiring]) -> None:
    factory = FakeFactory()
    wiring = wire(factory)
    await wiring.start(silent)
    assert factory.made[-1] == "console"
    assert factory.story == [f"start {name}" for name in START_ORDER]
    factory.story.clear()
    await wiring.stop(silent)
    assert factory.story == [f"stop {name}" for name in STOP_ORDER]
    await wiring.stop(silent)
    assert len(factory.story) == len(STOP_ORDER)


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


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        (
            FakeFactory(make_errors={"analytics": ModuleNotFoundError("No module named 'openvino'", name="openvino")}),
            "could not start: the Python package 'openvino' is not installed (install `vedette[analytics]`; recording works without it)",
        ),
        (FakeFactory(start_errors={"analytics": ModelError("corrupt", where="yolov8n")}), "could not start: yolov8n: corrupt"),
        (FakeFactory(start_errors={"analytics": RuntimeError("a fault")}), "could not start: RuntimeError: a fault"),
    ],
    ids=["package missing", "known error", "unexpected error"],
)
async def test_recording_goes_on_without_analytics(wire: Callable[[FakeFactory], Wiring], factory: FakeFactory, told: str) -> None:
    said: list[tuple[str, str]] = []
    wiring = wire(factory)
    await wiring.start(lambda name, what: said.append((name, what)))
    assert ("analytics", told) in said
    assert set(wiring.services) == {"storage", "alarms", "ingest", "console"}
    health = wiring.health()
    assert not health["analytics"].ok
    assert health["ingest"].ok
    await wiring.stop(silent)


@pytest.mark.parametrize("name", ["storage", "ingest"])
async def test_nothing_runs_without_recording(wire: Callable[[FakeFactory], Wiring], name: str) -> None:
    factory = FakeFactory(start_errors={name: VedetteError("the disk is gone")})
    wiring = wire(factory)
    with pytest.raises(VedetteError, match="the disk is gone"):
        await wiring.start(silent)
    started = [line.split()[1] for line in factory.story if line.startswith("start")]
    stopped = [line.split()[1] for line in factory.story if line.startswith("stop")]
    assert set(started) == set(stopped)
    again = wire(FakeFactory())  # the folder is free again
    await again.start(silent)
    await again.stop(silent)


async def test_one_service_that_fails_to_stop_does_not_keep_the_others(wire: Callable[[FakeFactory], Wiring]) -> None:
    factory = FakeFactory(stop_errors={"ingest": RuntimeError("a fault")})
    wiring = wire(factory)
    await wiring.start(silent)
    factory.story.clear()
    await wiring.stop(silent)
    assert factory.story == [f"stop {name}" for name in STOP_ORDER]
