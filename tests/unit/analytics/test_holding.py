"""Which channels a worker holds, and which frames it still takes, while channels move between workers."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from services.analytics.adapters.state_store import StateFiles
from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.channel_work import CATCH_UP_NS, ChannelWork
from services.analytics.core.channel import ChannelAnalysis
from services.analytics.core.gate import Gate
from services.analytics.holding import Holding
from services.analytics.state import StateMoved
from shared.domain.clock import NS_PER_S, ManualClock
from shared.messages import FrameMessage
from tests.support.analysis import plain_picture

LIMIT_NS = 2 * NS_PER_S
NOW_NS = 1_700_000_000 * NS_PER_S


def new_channel(name: str) -> ChannelWork:
    gate = Gate(threshold=0.002, recheck_s=2, enabled=True)
    work = ChannelWork(name, 1, ChannelAnalysis(gate, lambda: CBIoUTracker(confidence=0.25, frame_rate=5)), 0)
    work.configure((), ZoneInfo("UTC"))
    return work


def frame(sequence: int, *, age_ns: int = 0, session: str = "s") -> FrameMessage:
    return FrameMessage(
        channel="a", channel_number=1, session=session, sequence=sequence, published_ns=NOW_NS - age_ns, capture_ns=NOW_NS - age_ns,
        source_width=160, source_height=96, picture=plain_picture(40),
    )  # fmt: skip


def handle(work: ChannelWork, message: FrameMessage) -> None:
    assert work.known(message, 0) is None
    work.finish(message, work.look(message), None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_NS)


@pytest.fixture
def workers(tmp_path: Path, clock: ManualClock) -> tuple[Holding, Holding]:
    return (Holding(StateFiles(tmp_path), clock, new_channel), Holding(StateFiles(tmp_path), clock, new_channel))


async def test_what_nobody_else_had_meanwhile_goes_on_as_it_is(workers: tuple[Holding, Holding]) -> None:
    mine, _ = workers
    (work,) = await mine.enter(["a"])
    handle(work, frame(1))
    assert await mine.enter(["a", "b"]) == [mine["b"]]
    assert mine["a"] is work
    await mine.save(work)
    await mine.enter(["b"])
    assert [held.id for held in mine] == ["b"]


async def test_what_another_had_meanwhile_is_taken_from_the_store(workers: tuple[Holding, Holding]) -> None:
    mine, others = workers
    (work,) = await mine.enter(["a"])
    handle(work, frame(1))
    await mine.save_all()
    (theirs,) = await others.enter(["a"])
    assert theirs.known(frame(1), 0) == []
    assert theirs.known(frame(2), 0) is None
    handle(theirs, frame(5))
    await others.save_all()
    (back,) = await mine.enter(["a"])
    assert back is not work
    assert back.known(frame(5), 0) == []


async def test_who_has_lost_a_channel_tells_nothing_of_it_until_it_enters_anew(workers: tuple[Holding, Holding]) -> None:
    mine, others = workers
    (work,) = await mine.enter(["a"])
    await others.enter(["a"])
    with pytest.raises(StateMoved):
        await mine.save(work)
    with pytest.raises(StateMoved):
        await mine.of("a")
    await mine.enter(["a"])
    assert await mine.of("a") is mine["a"]


async def test_the_time_that_partitions_took_to_move_is_no_silence_of_the_channel(
    workers: tuple[Holding, Holding], clock: ManualClock
) -> None:
    mine, _ = workers
    (work,) = await mine.enter(["a"])
    clock.advance(30)
    assert await mine.enter(["a"]) == []
    assert work.handled_ns == clock.monotonic_ns()


async def test_what_was_taken_from_the_store_is_to_be_read_again_until_a_frame_is_handled(workers: tuple[Holding, Holding]) -> None:
    """Partitions may move again before a worker could have its frames read anew."""
    mine, others = workers
    (work,) = await mine.enter(["a"])
    assert not work.unread
    handle(work, frame(1))
    await mine.save_all()
    (taken,) = await others.enter(["a"])
    assert taken.unread
    assert await others.enter(["a"]) == []
    assert others["a"].unread
    handle(taken, frame(2))
    assert not taken.unread


async def test_frames_that_waited_are_handled_until_one_is_fresh_and_not_for_ever(
    workers: tuple[Holding, Holding], clock: ManualClock
) -> None:
    mine, others = workers
    (work,) = await mine.enter(["a"])
    assert work.too_old(frame(1, age_ns=10 * NS_PER_S), NOW_NS, clock.monotonic_ns(), LIMIT_NS), "there is nothing to catch up with"
    handle(work, frame(7, age_ns=21 * NS_PER_S, session="the one before"))
    handle(work, frame(1, age_ns=20 * NS_PER_S))
    await mine.save_all()
    (taken,) = await others.enter(["a"])
    monotonic_ns = clock.monotonic_ns()
    assert taken.known(frame(8, age_ns=21 * NS_PER_S, session="the one before"), monotonic_ns) == [], "older than the state"
    assert not taken.too_old(frame(2, age_ns=10 * NS_PER_S), NOW_NS, monotonic_ns, LIMIT_NS)
    assert taken.too_old(frame(2, age_ns=CATCH_UP_NS + NS_PER_S), NOW_NS, monotonic_ns, LIMIT_NS)
    assert taken.too_old(frame(2, age_ns=10 * NS_PER_S), NOW_NS, monotonic_ns + CATCH_UP_NS, LIMIT_NS)
    assert not taken.too_old(frame(3), NOW_NS, monotonic_ns, LIMIT_NS)
    assert taken.too_old(frame(4, age_ns=10 * NS_PER_S), NOW_NS, monotonic_ns, LIMIT_NS), "it has caught up"


@pytest.mark.parametrize("back_s", [1, 30, 3600, 10 * 365 * 24 * 3600])
async def test_after_a_restart_with_the_clock_set_back_every_frame_is_looked_at(
    workers: tuple[Holding, Holding], clock: ManualClock, back_s: int
) -> None:
    before, after = workers
    (work,) = await before.enter(["a"])
    handle(work, frame(1))
    await before.save_all()
    clock.jump(-back_s)
    work = await after.of("a")
    for sequence in range(3):
        new = frame(sequence, age_ns=back_s * NS_PER_S, session="after the restart")
        assert work.known(new, clock.monotonic_ns()) is None
        assert not work.too_old(new, clock.now_ns(), clock.monotonic_ns(), LIMIT_NS)
        work.finish(new, work.look(new), None)


def the_file_in(folder: Path) -> Path:
    (file,) = [path for path in folder.rglob("*") if path.is_file()]
    return file


async def test_a_store_that_is_away_is_logged_once_and_when_it_is_back(tmp_path: Path, clock: ManualClock) -> None:
    mine = Holding(StateFiles(tmp_path), clock, new_channel)
    (work,) = await mine.enter(["a"])
    handle(work, frame(1))
    file = the_file_in(tmp_path)
    away = file.rename(tmp_path / "away")
    file.mkdir()
    with capture_logs() as lines:
        for _ in range(10):
            await mine.save(work)
            assert work.dirty
        file.rmdir()
        away.rename(file)
        await mine.save(work)
        assert not work.dirty
        await mine.save(work)
    assert [line["log_level"] for line in lines] == ["warning", "info"]
