"""The storage service over the bus and HTTP: what goes in comes out, once, whole, and where it is expected."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import av
import pytest

from shared.bus.port import Position
from shared.domain.clock import NS_PER_S, ManualClock
from shared.messages import (
    ActionKind,
    DeadLetter,
    Discontinuity,
    EventMessage,
    RecordingChange,
    RecordingMessage,
)
from shared.topics import ACTIONS, DEAD_LETTERS, EVENTS, RECORDINGS
from tests.support.segments import START_NS, Feed, level, payloads
from tests.support.storing import MIB, Storing, command, next_of, site, storing, until

pytestmark = pytest.mark.integration


def frames_of(data: bytes) -> list[int]:
    """Luma in the middle of the top of each picture."""
    with av.open(io.BytesIO(data), "r") as container:
        return [int(frame.to_ndarray()[5, 50]) for frame in container.decode(video=0)]


async def media(store: Storing, recording_id: str, **headers: str) -> bytes:
    answer = await store.http.get(f"/api/recordings/{recording_id}/media", headers=headers)
    assert answer.status_code in (200, 206), answer.text
    return answer.content


async def test_every_frame_comes_back_in_order(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door", "yard")) as store:
        door, yard = Feed("door", 1), Feed("yard", 2, audio=True)
        for _ in range(10):
            await store.keep(door.next(), yard.next())
        for channel in ("door", "yard"):
            recordings = await store.recordings(channel)
            assert [r["frames"] for r in recordings] == [40, 40, 20]
            assert [r["open"] for r in recordings][-1]
            shown = [luma for r in recordings for luma in frames_of(await media(store, r["id"]))]
            assert shown == pytest.approx([level(n) for n in range(100)], abs=3)
    assert await store.check() == []


async def test_a_redelivered_segment_is_stored_once(tmp_path: Path) -> None:
    feed = Feed()
    segments = list(feed.take(6))
    async with storing(tmp_path, site("door")) as store:
        await store.keep(*segments[:4])
        await store.keep(*segments[1:6], segments[5])
        assert sum(r["frames"] for r in await store.recordings()) == 60
    async with storing(tmp_path, site("door")) as store:
        await store.keep(*segments)
        assert sum(r["frames"] for r in await store.recordings()) == 60
    assert await store.check() == []


async def test_files_end_at_parameters_discontinuities_and_gaps(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door", storage={"file_s": 60})) as store:
        feed = Feed()
        await store.keep(*feed.take(2))
        feed.parameters = "p2"
        await store.keep(*feed.take(2))
        await store.keep(feed.next(discontinuity=Discontinuity.LOSS))
        feed.at_ns += 3 * NS_PER_S
        await store.keep(*feed.take(2))
        feed.sequence += 1
        await store.keep(feed.next())
        assert [r["frames"] for r in await store.recordings()] == [20, 20, 10, 20, 10]
        answer = await store.http.get("/api/timeline", params={"channel": "door", "from_ns": START_NS, "to_ns": START_NS + 60 * NS_PER_S})
        spans = [((s["from_ns"] - START_NS) / NS_PER_S, (s["to_ns"] - START_NS) / NS_PER_S, s["kind"]) for s in answer.json()["spans"]]
        assert spans == [(0, 5, "general"), (8, 11, "general")]
    assert await store.check() == []


async def test_ranges_of_open_and_stored_files(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door", storage={"file_s": 4})) as store:
        await store.keep(*Feed().take(6))

        async def uploaded() -> bool:
            return any((tmp_path / "objects" / "recordings").rglob("*.mp4"))

        await until(uploaded, what="the first file is uploaded")
        for recording in await store.recordings():
            url = f"/api/recordings/{recording['id']}/media"
            whole = (await store.http.get(url)).content
            assert len(whole) == recording["size_bytes"]
            for header, start, end in (("bytes=0-99", 0, 100), ("bytes=100-", 100, len(whole)), ("bytes=-50", len(whole) - 50, len(whole))):
                answer = await store.http.get(url, headers={"Range": header})
                assert answer.status_code == 206
                assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole)}"
                assert answer.content == whole[start:end]
            assert (await store.http.get(url, headers={"Range": f"bytes={len(whole)}-"})).status_code == 416
            assert (await store.http.get(url, params={"bytes": 500})).content == whole[:500]
        assert (await store.http.get("/api/recordings/none/media")).status_code == 404


async def test_what_cannot_be_is_refused_and_is_no_fault_of_the_store(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door")) as store:
        await store.keep(Feed().next())
        for key in ("..%2f..%2fetc%2fpasswd", "a%2f..%2f..%2fb", ".hidden", "%00", "a%2f%2fb", "x" * 600, "a.jpg"):
            assert (await store.http.get(f"/api/snapshots/{key}")).status_code == 404, key
        for recording in ("%00", "..%2f..%2fx", "x" * 600, "none"):
            assert (await store.http.get(f"/api/recordings/{recording}/media")).status_code == 404, recording
            assert (await store.http.put(f"/api/recordings/{recording}/lock")).status_code == 404, recording
        wrongs: list[dict[str, str | int]] = [{"from_ns": -1}, {"to_ns": 2**63}, {"from_ns": 10, "to_ns": 9}]
        wrongs += [{"channel": "\x00"}, {"channel": "../x"}]
        for path in ("/api/recordings", "/api/timeline"):
            for wrong in wrongs:
                params: dict[str, str | int] = {"channel": "door", "from_ns": 0, "to_ns": 5, **wrong}
                assert (await store.http.get(path, params=params)).status_code == 422, (path, wrong)
            everything = await store.http.get(path, params={"channel": "door", "from_ns": 0, "to_ns": 2**63 - 1})
            assert everything.status_code == 200
        for limit in (0, -1, 10**30):
            assert (await store.http.get("/api/recordings", params={"limit": limit})).status_code == 422
        (kept,) = await store.recordings()
        answer = await store.http.get(f"/api/recordings/{kept['id']}/media", headers={"Range": f"bytes={'9' * 5000}-"})
        assert answer.status_code == 416


async def test_a_damaged_segment_is_a_dead_letter_and_the_next_is_stored(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door")) as store:
        letters = await store.listen(DEAD_LETTERS)
        feed = Feed()
        damaged = feed.next().model_copy(update={"payload": payloads(12)[5]})
        torn = feed.next(payload=payloads(12)[1][:-7])
        await store.keep(damaged, torn, feed.next())
        reasons = {}
        for _ in range(2):
            letter = await next_of(letters, lambda message: isinstance(message, DeadLetter))
            assert isinstance(letter, DeadLetter)
            assert letter.origin.startswith("segments/1/")
            reasons[letter.raw] = letter.reason
        assert reasons == {damaged.payload: "its bytes differ from its sha256", torn.payload: "the segment has no video frames"}
        assert [r["frames"] for r in await store.recordings()] == [10]
    assert await store.check() == []


async def test_alarm_mode_keeps_what_an_alarm_claims_and_drops_the_rest(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    config = site("door", storage={"file_s": 4, "sweep_every_s": 10}, recording={"mode": "alarm"})
    async with storing(tmp_path, config, clock) as store:
        feed = Feed()
        await store.keep(*feed.take(12))
        assert await store.recordings() == []
        record = command(ActionKind.RECORD, "door", from_ns=START_NS + 5 * NS_PER_S, to_ns=START_NS + 7 * NS_PER_S)
        await store.bus.producer.publish(ACTIONS, record)

        async def claimed() -> list[dict[str, object]]:
            return await store.recordings()

        (kept,) = await until(claimed, what="the claimed file is listed")
        assert (kept["kind"], kept["start_ns"]) == ("alarm", START_NS + 4 * NS_PER_S)

        async def only_claimed() -> bool:
            clock.advance(30)
            used: int = (await store.http.get("/api/storage")).json()["used_bytes"]
            kept_bytes: int = (await store.recordings())[0]["size_bytes"]
            return used == kept_bytes

        await until(only_claimed, what="the unclaimed files are deleted")
        assert [r["id"] for r in await store.recordings()] == [kept["id"]]
    assert await store.check() == []


async def test_a_channel_that_is_off_is_acknowledged_and_not_stored(tmp_path: Path) -> None:
    async with storing(tmp_path, site("door", recording={"mode": "off"})) as store:
        await store.keep(*Feed().take(3))
        assert await store.recordings() == []


async def test_overwriting_takes_the_oldest_and_never_a_locked_one(tmp_path: Path) -> None:
    big = payloads(4, gop=10, size=(640, 360), kbit=8000)
    assert min(map(len, big)) > 400_000
    async with storing(tmp_path, site("door", storage={"file_s": 4, "max_bytes": 16 * MIB})) as store:
        changes = await store.listen(RECORDINGS)
        feed = Feed(pool=big, size=(640, 360))
        await store.keep(*feed.take(12))
        first, second = (await store.recordings())[:2]
        assert (await store.http.put(f"/api/recordings/{first['id']}/lock")).json()["locked"]
        for _ in range(15):
            await store.keep(*feed.take(4))
        recordings = await store.recordings()
        ids = [r["id"] for r in recordings]
        assert first["id"] in ids
        assert second["id"] not in ids
        # What is left of the unlocked ones is the newest, without a hole.
        starts = [r["start_ns"] for r in recordings[1:]]
        assert starts == [starts[0] + n * 4 * NS_PER_S for n in range(len(starts))]
        assert recordings[-1]["end_ns"] == feed.at_ns

        async def counted() -> bool:
            """A file that has just ended is closed meanwhile, which adds its index."""
            used: int = (await store.http.get("/api/storage")).json()["used_bytes"]
            return bool(sum(r["size_bytes"] for r in await store.recordings()) == used <= 16 * MIB)

        await until(counted, what="what is listed is what is counted", deadline_s=60)
        gone = await next_of(changes, lambda m: m.change is RecordingChange.DELETED)
        assert isinstance(gone, RecordingMessage)
        assert (gone.recording_id, gone.reason) == (second["id"], "overwritten")
        assert not (await store.http.delete(f"/api/recordings/{first['id']}/lock")).json()["locked"]
        await store.keep(*feed.take(4))
        assert first["id"] not in [r["id"] for r in await store.recordings()]
    assert await store.check() == []


async def test_more_than_there_is_room_for_at_once_is_stored_bit_by_bit(tmp_path: Path) -> None:
    """As after an outage. Files are deleted as fast as they are closed; nobody is told that storage is full."""
    big = payloads(4, gop=10, size=(640, 360), kbit=8000)
    async with storing(tmp_path, site("door", storage={"file_s": 4, "max_bytes": 16 * MIB})) as store:
        told = await store.listen(EVENTS)
        feed = Feed(pool=big, size=(640, 360))
        await store.keep(*feed.take(40))
        recordings = await store.recordings()
        starts = [r["start_ns"] for r in recordings]
        assert starts == [starts[0] + n * 4 * NS_PER_S for n in range(len(starts))]
        assert recordings[-1]["end_ns"] == feed.at_ns
        assert await told.poll(timeout_s=0) == []
    assert await store.check() == []


async def test_stop_policy_holds_segments_back_until_there_is_room(tmp_path: Path) -> None:
    big = payloads(4, gop=10, size=(640, 360), kbit=8000)
    config = site("door", storage={"file_s": 4, "max_bytes": 16 * MIB, "when_full": "stop"})
    async with storing(tmp_path, config) as store:
        events = await store.listen(EVENTS)
        feed = Feed(pool=big, size=(640, 360))
        pending: list[asyncio.Future[Position]] = []
        full = None
        async with asyncio.timeout(120):
            while full is None:
                if sum(not future.done() for future in pending) < 8:  # more would wait for the bus
                    pending += await store.send(feed.next())
                for record in await events.poll(timeout_s=0.1):
                    message = record.message
                    assert isinstance(message, EventMessage)
                    full = message if message.source == "storage.full" else full
        waiting = [future for future in pending if not future.done()]
        assert waiting
        stored = await store.recordings()
        assert sum(r["frames"] for r in stored) == (len(pending) - len(waiting)) * 10
    bigger = site("door", storage={"file_s": 4, "max_bytes": 64 * MIB, "when_full": "stop"})
    async with storing(tmp_path, bigger) as store:
        await store.keep(*feed.made)
        assert sum(r["frames"] for r in await store.recordings()) == len(feed.made) * 10
    assert await store.check() == []


async def test_quota_mode_takes_a_channels_own_oldest(tmp_path: Path) -> None:
    big = payloads(4, gop=10, size=(640, 360), kbit=8000)
    config = site("door", "yard", storage={"file_s": 4, "quota_mode": True}, recording={"quota_bytes": 12 * MIB})
    async with storing(tmp_path, config) as store:
        door, yard = Feed("door", 1, pool=big, size=(640, 360)), Feed("yard", 2, pool=big, size=(640, 360))
        await store.keep(*yard.take(4))
        await store.keep(*door.take(24))

        async def within() -> bool:
            sizes: list[int] = [r["size_bytes"] for r in await store.recordings("door")]
            return sum(sizes) <= 12 * MIB

        await until(within, what="the channel is within its quota")
        assert sum(r["frames"] for r in await store.recordings("yard")) == 40
    assert await store.check() == []
