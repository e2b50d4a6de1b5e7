"""What alarms ask of storage: snapshots of a moment, footage that is kept; and that one command that fails costs no other."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest

from services.storage.adapters.layout import Layout
from shared.bus.port import Consumer
from shared.domain.clock import NS_PER_S, ManualClock
from shared.messages import ActionKind, ActionMessage, ActionPhase, Discontinuity, Message
from shared.topics import ACTIONS
from tests.support.segments import FPS, START_NS, Feed, level
from tests.support.storing import Storing, command, next_of, site, storing, until

pytestmark = pytest.mark.integration


async def result(results: Consumer, name: str) -> ActionMessage:
    """What became of a command."""
    found = await next_of(results, lambda m: m.action_id == name and m.phase is not ActionPhase.REQUESTED)
    assert isinstance(found, ActionMessage)
    return found


async def luma_of(store: Storing, key: str) -> float:
    """Luma of the flat part of a stored snapshot, in the limited range that it was recorded in."""
    picture = await store.http.get(f"/api/snapshots/{key}")
    assert picture.status_code == 200, picture.text
    with av.open(io.BytesIO(picture.content), "r") as container:
        (shown,) = list(container.decode(video=0))
    return int(shown.to_ndarray()[5, 50]) * 219 / 255 + 16


async def accepted(store: Storing) -> bool:
    """Whether storage has taken every command."""
    return store.embedded.backlog(ACTIONS, "storage-actions") == 0


async def test_a_snapshot_shows_the_frame_of_its_moment(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door", storage={"file_s": 4})) as store:
        results = await store.listen(ACTIONS)
        feed = Feed()
        await store.keep(*feed.take(6))
        for name, frame in (("old", 13), ("edge", 39), ("open", 52)):
            at_ns = START_NS + frame * NS_PER_S // FPS
            await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=at_ns, name=name))
            done = await next_of(results, lambda m: m.phase is not ActionPhase.REQUESTED)
            assert isinstance(done, ActionMessage)
            assert (done.phase, done.action_id, done.text) == (ActionPhase.DONE, name, "")
            picture = await store.http.get(f"/api/snapshots/{done.object_key}")
            assert picture.headers["content-type"] == "image/jpeg"
            with av.open(io.BytesIO(picture.content), "r") as container:
                (shown,) = list(container.decode(video=0))
            assert (shown.width, shown.height) == (192, 108)
            luma = int(shown.to_ndarray()[5, 50])
            # Recorded in limited range; JPEG has the full one.
            assert (luma * 219 / 255 + 16) == pytest.approx(level(frame), abs=2.4)
    assert await store.check() == []


async def test_a_snapshot_waits_for_its_footage_over_a_restart(tmp_path: Path) -> None:
    feed = Feed()
    async with storing(tmp_path, site("door")) as store:
        await store.keep(*feed.take(2))
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=START_NS + 2 * NS_PER_S + NS_PER_S // 2))

        async def accepted() -> bool:
            return store.embedded.backlog(ACTIONS, "storage-actions") == 0

        await until(accepted, what="the command is kept")
    async with storing(tmp_path, site("door")) as store:
        results = await store.listen(ACTIONS)
        await store.keep(*feed.take(2))
        done = await next_of(results, lambda m: True)
        assert isinstance(done, ActionMessage)
        assert done.phase is ActionPhase.DONE


async def test_a_snapshot_of_a_gap_fails_with_the_reason(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door")) as store:
        results = await store.listen(ACTIONS)
        feed = Feed()
        await store.keep(feed.next())
        feed.at_ns += 60 * NS_PER_S
        await store.keep(feed.next(discontinuity=Discontinuity.RECONNECT))
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=START_NS + 30 * NS_PER_S))
        failed = await next_of(results, lambda m: m.phase is not ActionPhase.REQUESTED)
        assert isinstance(failed, ActionMessage)
        assert (failed.phase, failed.text) == (ActionPhase.FAILED, "there is no footage of that moment")


async def test_alarm_footage_is_marked_before_and_after_it_is_stored(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door", storage={"file_s": 4})) as store:
        results = await store.listen(ACTIONS)
        feed = Feed()
        await store.keep(*feed.take(6))
        from_ns, to_ns = START_NS + 5 * NS_PER_S, START_NS + 9 * NS_PER_S
        await store.bus.producer.publish(ACTIONS, command(ActionKind.RECORD, "door", from_ns=from_ns, to_ns=to_ns))
        await store.keep(*feed.take(8))
        done = await next_of(results, lambda m: m.phase is not ActionPhase.REQUESTED)
        assert isinstance(done, ActionMessage)
        assert done.phase is ActionPhase.DONE
        assert [r["kind"] for r in await store.recordings()] == ["general", "alarm", "alarm", "general"]
        answer = await store.http.get("/api/timeline", params={"channel": "door", "from_ns": START_NS, "to_ns": START_NS + 60 * NS_PER_S})
        spans = [((s["from_ns"] - START_NS) / NS_PER_S, (s["to_ns"] - START_NS) / NS_PER_S, s["kind"]) for s in answer.json()["spans"]]
        assert spans == [(0, 5, "general"), (5, 9, "alarm"), (9, 14, "general")]


async def test_a_snapshot_is_where_its_command_says(tmp_path: Path) -> None:
    """The address is sent out in a webhook before there is a picture."""
    key = "vedette/door/2025/10/09/some-alarm.jpg"
    async with storing(tmp_path, site("door")) as store:
        results = await store.listen(ACTIONS)
        await store.keep(*Feed().take(3))
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=START_NS + NS_PER_S, name="named", key=key))
        done = await result(results, "named")
        assert (done.phase, done.object_key) == (ActionPhase.DONE, key)
        assert await luma_of(store, key) == pytest.approx(level(10), abs=2.4)
    assert await store.check() == []


@pytest.mark.parametrize(
    "key",
    [
        "vedette/door/../../secrets/x.jpg",
        "/etc/x.jpg",
        "vedette/yard/2025/10/09/x.jpg",
        "other/door/2025/10/09/x.jpg",
        "vedette/door/x.mp4",
        "vedette/door/x.jpg.meta",
        "vedette/door/" + "x" * 600 + ".jpg",
    ],
)
async def test_a_key_that_is_not_the_channels_is_refused(tmp_path: Path, key: str) -> None:
    async with storing(tmp_path, site("door", "yard")) as store:
        results = await store.listen(ACTIONS)
        await store.keep(*Feed().take(3))
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=START_NS + NS_PER_S, name="bad", key=key))
        failed = await result(results, "bad")
        assert failed.phase is ActionPhase.FAILED
        assert "not a key of a snapshot" in failed.text
        assert [info async for info in (await store.service.buckets.open("snapshots")).list()] == []
    assert await store.check() == []


@pytest.mark.parametrize("how", ["its header is gone", "it cannot be read"])
async def test_one_command_that_fails_costs_the_others_nothing(tmp_path: Path, how: str) -> None:
    async with storing(tmp_path, site("door", "yard")) as store:
        results = await store.listen(ACTIONS)
        door, yard = Feed("door", 1), Feed("yard", 2)
        await store.keep(*door.take(3), *yard.take(3))
        (file,) = [path for path in Layout(tmp_path).local_files() if path.parent.name == "door"]
        if how == "its header is gone":
            with file.open("r+b") as opened:
                opened.write(bytes(200))
        else:
            file.unlink()
            file.mkdir()
        moment = START_NS + NS_PER_S
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=moment, name="bad"))
        await until(lambda: accepted(store), what="the bad command is kept first")
        heard = {name: await store.listen(ACTIONS) for name in ("good", "kept")}
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "yard", at_ns=moment, name="good"))
        await store.bus.producer.publish(ACTIONS, command(ActionKind.RECORD, "yard", from_ns=START_NS, to_ns=moment, name="kept"))
        for name, listener in heard.items():
            assert (await result(listener, name)).phase is ActionPhase.DONE
        await store.keep(*door.take(3)) if how == "its header is gone" else None
        failed = await result(results, "bad")
        assert failed.phase is ActionPhase.FAILED
        assert failed.text
        assert str(tmp_path) not in failed.text


async def test_after_the_clock_was_set_back_a_snapshot_shows_what_is_recorded_now(tmp_path: Path) -> None:
    """The first footage of that moment is an hour old by then, and footage that is newer by its times is stored already."""
    clock = ManualClock(START_NS + 8 * NS_PER_S)
    async with storing(tmp_path, site("door"), clock) as store:
        results = await store.listen(ACTIONS)
        feed = Feed()
        await store.keep(*feed.take(8))
        clock.advance(3600)
        feed.at_ns = START_NS + 3600 * NS_PER_S
        await store.keep(*feed.take(2))
        clock.jump(-3604)
        moment = START_NS + 4 * NS_PER_S + NS_PER_S // 2
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=moment, name="now"))
        await until(lambda: accepted(store), what="the command is kept")
        clock.advance(2)
        feed.at_ns = START_NS + 4 * NS_PER_S
        await store.keep(feed.next(discontinuity=Discontinuity.CLOCK_JUMP), *feed.take(4))
        done = await result(results, "now")
        assert done.phase is ActionPhase.DONE
        assert await luma_of(store, done.object_key) == pytest.approx(level(105), abs=2.4)


async def test_after_the_clock_was_set_back_a_command_fails_in_time(tmp_path: Path) -> None:
    """Its time is hours away by the new clock, and its footage never comes."""
    clock = ManualClock(START_NS)
    async with storing(tmp_path, site("door", "yard"), clock) as store:
        await store.keep(*Feed("yard", 2, at_ns=START_NS - 7203 * NS_PER_S).take(3))
        lost = await store.listen(ACTIONS)
        await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=START_NS, name="lost"))
        await until(lambda: accepted(store), what="the command is kept")
        clock.jump(-7200)
        for number in range(50):
            await looked_through(store, f"look-{number}")
            if any(isinstance(m, ActionMessage) and m.action_id == "lost" and m.phase is ActionPhase.FAILED for m in await heard(lost)):
                break
            clock.advance(10)
        assert 300 * NS_PER_S <= clock.monotonic_ns() < 400 * NS_PER_S


async def looked_through(store: Storing, name: str) -> None:
    """Another command has been carried out: all that wait have been looked at since."""
    results = await store.listen(ACTIONS)
    at_ns = START_NS - 7202 * NS_PER_S
    await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "yard", at_ns=at_ns, name=name))
    assert (await result(results, name)).phase is ActionPhase.DONE
    await results.close()


async def heard(results: Consumer) -> list[Message]:
    """What there is to hear now."""
    return [record.message for record in await results.poll(timeout_s=0)]
