"""Storage groups: buckets of their own for what channels name them for, on this disk and in a real S3 server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.storage.adapters.layout import Layout
from services.storage.check import check
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S
from shared.messages import ActionKind, ActionPhase, RecordingChange
from shared.topics import ACTIONS, EVENTS, RECORDINGS
from tests.support.clocks import SetClock
from tests.support.segments import START_NS, Feed, payloads
from tests.support.set_clock import a_day_goes_by, swept
from tests.support.storing import MIB, Storing, command, next_of, objects_of, put_back, site, storing, until

pytestmark = [pytest.mark.integration, pytest.mark.servers, pytest.mark.timeout(1500)]  # the first run builds the server

ARCHIVE = {"archive": {"bucket": "kept"}}
PICTURE = "vedette/door/2025/10/09/a1.jpg"
KINDS = ["local", "s3"]


def grouped(recording: dict[str, dict[str, Any]], groups: dict[str, Any] = ARCHIVE, **more: Any) -> SiteConfig:
    """The door and the yard, each with what it says of its recording."""
    plain = site("door", "yard", storage={"file_s": 4, "groups": groups}, **more).model_dump()
    for channel in plain["channels"]:
        channel["recording"] |= recording.get(channel["id"], {})
    return SiteConfig.model_validate(plain | {"objects": more.get("objects", {"kind": "local"})})


async def keys(store: Storing, bucket: str, ending: str = "") -> list[str]:
    """What lies in a bucket."""
    return [info.key async for info in (await store.service.buckets.open(bucket)).list() if info.key.endswith(ending)]


async def all_uploaded(store: Storing, open_files: int) -> None:
    """All but those that are still written are in the object store."""

    async def none_waits() -> bool:
        return len(Layout(store.data_dir).local_files()) <= open_files

    await until(none_waits, what="closed files are in the object store", deadline_s=120)  # tried again a minute later at most


async def picture(store: Storing, at_ns: int, key: str) -> None:
    """A snapshot of the door."""
    results = await store.listen(ACTIONS)
    await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=at_ns, key=key, name=key[-6:-4]))
    done = await next_of(results, lambda m: m.phase is not ActionPhase.REQUESTED)
    assert getattr(done, "phase", None) is ActionPhase.DONE


@pytest.mark.parametrize("kind", KINDS)
async def test_channels_go_where_their_group_is_and_a_lost_catalogue_finds_them(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    with objects_of(kind, tmp_path / "server") as objects:
        config = grouped({"door": {"group": "archive", "snapshots_group": "archive"}}, objects=objects)
        async with storing(folder, config) as store:
            await store.keep(*Feed("door", 1).take(10), *Feed("yard", 2).take(10))
            await picture(store, START_NS + NS_PER_S, PICTURE)
            await all_uploaded(store, 2)
            assert {key.split("/")[1] for key in await keys(store, "kept", ".mp4")} == {"door"}
            assert {key.split("/")[1] for key in await keys(store, "recordings")} == {"yard"}
            assert await keys(store, "kept", ".jpg") == [PICTURE]
            assert await keys(store, "snapshots") == []
            first = (await store.recordings("door"))[0]
            assert (await store.http.put(f"/api/recordings/{first['id']}/lock")).status_code == 200
            locked = [info async for info in (await store.service.buckets.open("kept")).locked()]
            assert [info.size_bytes for info in locked] == [first["size_bytes"]]
        async with storing(folder, config) as store:
            await store.every_recording_plays()
            before, room = await store.recordings(), (await store.http.get("/api/storage")).json()
        (group,) = room["groups"]
        assert (group["group"], group["bucket"], group["limit_bytes"]) == ("archive", "kept", None)
        picture_bytes = group["used_bytes"] - sum(r["size_bytes"] for r in before if r["channel"] == "door")
        assert 0 < picture_bytes < 100_000
        assert await check(config, folder, deep=True) == []

        for path in (folder / "db").glob("catalogue.sqlite*"):
            path.unlink()
        async with storing(folder, config) as store:

            async def listed() -> bool:
                return bool((await store.http.get("/api/storage")).json()["groups"] == room["groups"])

            await until(listed, what="the group is listed again, with its picture", deadline_s=60)
            await until(lambda: _equal(store, before), what="all recordings are listed again", deadline_s=60)
            await store.every_recording_plays()
            assert (await store.http.get(f"/api/snapshots/{PICTURE}")).status_code == 200
            await until(lambda: _locked(store), what="the lock is the row's too")
        assert await check(config, folder, deep=True) == []


async def _equal(store: Storing, before: list[dict[str, Any]]) -> bool:
    return await store.recordings() == before


async def _locked(store: Storing) -> bool:
    return [recording["locked"] for recording in await store.recordings("door")].count(True) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_channel_changes_its_group_while_it_records_and_the_old_one_stays(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    with objects_of(kind, tmp_path / "server") as objects:
        before = grouped({}, {}, objects=objects)
        after = grouped({"door": {"group": "archive", "snapshots_group": "archive"}}, objects=objects)
        door = Feed("door", 1)
        async with storing(folder, before) as store:
            await store.keep(*door.take(6))
            await picture(store, START_NS + NS_PER_S, PICTURE)
            await store.service.reconfigure(after)
            await store.keep(*door.take(8))
            await picture(store, START_NS + 2 * NS_PER_S, PICTURE.replace("a1", "a2"))
            await all_uploaded(store, 1)
            old, new = await keys(store, "recordings"), await keys(store, "kept", ".mp4")
            assert len(old) == 2  # the file that was open when the group changed is ended where it began
            assert new
            assert await keys(store, "kept", ".jpg") == [PICTURE.replace("a1", "a2")]
            await store.every_recording_plays()
            assert sum(r["frames"] for r in await store.recordings()) == 140
            locked = [(await store.recordings())[n]["id"] for n in (0, 2)]  # one of each bucket
            for id_ in locked:
                assert (await store.http.put(f"/api/recordings/{id_}/lock")).status_code == 200
        # The group is gone from the site: what lies there is still played, checked, unlocked and deleted.
        async with storing(folder, before) as store:
            await store.keep(*door.take(4))
            await store.every_recording_plays()
            assert (await store.http.get(f"/api/snapshots/{PICTURE.replace('a1', 'a2')}")).status_code == 200
            (group,) = (await store.http.get("/api/storage")).json()["groups"]
            assert (group["group"], group["bucket"]) == (None, "kept")
            for id_ in locked:
                assert not (await store.http.delete(f"/api/recordings/{id_}/lock")).json()["locked"]
            assert [info async for info in (await store.service.buckets.open("kept")).locked()] == []
        assert await check(before, folder, deep=True) == []
        expired = before.model_dump()
        expired["channels"][0]["recording"]["keep_days"] = 1
        clock = SetClock()
        async with storing(folder, SiteConfig.model_validate(expired | {"objects": objects}), clock) as store:
            await a_day_goes_by(store, clock)

            async def gone() -> bool:
                return await keys(store, "kept") == [] == await keys(store, "recordings")

            await until(gone, what="old recordings of both buckets are deleted", deadline_s=60)


async def test_a_full_group_overwrites_its_own_oldest_and_never_anothers(tmp_path: Path) -> None:
    big = payloads(4, gop=10, size=(640, 360), kbit=8000)
    groups = {"archive": {"bucket": "kept", "max_bytes": 16 * MIB}}
    async with storing(tmp_path, grouped({"door": {"group": "archive"}}, groups)) as store:
        changes = await store.listen(RECORDINGS)
        door, yard = Feed("door", 1, pool=big, size=(640, 360)), Feed("yard", 2, pool=big, size=(640, 360))
        await store.keep(*yard.take(44))  # older, and more than the group may have
        await store.keep(*door.take(8))
        first, second = (await store.recordings("door"))[:2]
        assert (await store.http.put(f"/api/recordings/{first['id']}/lock")).json()["locked"]
        await store.keep(*door.take(52))

        async def within() -> bool:
            found = await store.recordings("door")
            return bool(sum(r["size_bytes"] for r in found if not r["locked"]) <= 16 * MIB)

        await until(within, what="the group is within its limit", deadline_s=60)
        assert sum(r["frames"] for r in await store.recordings("yard")) == 440
        recordings = await store.recordings("door")
        assert recordings[0]["id"] == first["id"]
        starts = [r["start_ns"] for r in recordings[1:]]
        assert starts == [starts[0] + n * 4 * NS_PER_S for n in range(len(starts))]  # the newest, without a hole
        assert recordings[-1]["end_ns"] == door.at_ns
        gone = await next_of(changes, lambda m: m.change is RecordingChange.DELETED)
        assert (getattr(gone, "recording_id", ""), getattr(gone, "reason", "")) == (second["id"], "storage group")
        (group,) = (await store.http.get("/api/storage")).json()["groups"]
        assert group["limit_bytes"] == 16 * MIB
    assert await store.check() == []


async def test_objects_in_a_bucket_that_the_catalogue_does_not_mean_are_told(tmp_path: Path) -> None:
    config = grouped({"door": {"group": "archive"}})
    async with storing(tmp_path, config) as store:
        await store.keep(*Feed("door", 1).take(6))
        await all_uploaded(store, 1)
        (key, *_) = await keys(store, "kept")
    other = tmp_path / "objects" / "recordings" / key
    other.parent.mkdir(parents=True)
    other.write_bytes((tmp_path / "objects" / "kept" / key).read_bytes())
    (finding,) = await check(config, tmp_path, deep=False)
    assert finding.text == f"{key}: it lies in bucket recordings and, by the catalogue, in kept (S3)"
    assert not finding.repairable


async def test_a_bucket_that_cannot_be_used_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """A file where the bucket's folder should be: it waits, and is told; the other group goes on, and all is well when it can be used."""
    config = grouped({"door": {"group": "archive"}})
    wrong = tmp_path / "objects" / "kept"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"")
    async with storing(tmp_path, config) as store:
        await store.keep(*Feed("door", 1).take(10), *Feed("yard", 2).take(10))

        async def others_uploaded() -> bool:
            files = [path.parent.name for path in Layout(tmp_path).local_files()]
            return files.count("yard") == 1 and files.count("door") == 3

        await until(others_uploaded, what="the yard's closed files are in the object store", deadline_s=60)
        await store.every_recording_plays()
        wrong.unlink()
        await all_uploaded(store, 2)
        await store.every_recording_plays()
    assert await store.check() == []


async def test_a_bucket_that_refuses_deletes_keeps_nobody_else_from_being_overwritten(tmp_path: Path) -> None:
    """What it holds stays, and no more is marked there; both are over their limits, and the other is kept to its own."""
    big = payloads(4, gop=10, size=(640, 360), kbit=8000)
    groups = {name: {"bucket": name, "max_bytes": 16 * MIB} for name in ("kept", "other")}
    config = grouped({"door": {"group": "kept"}, "yard": {"group": "other"}}, groups)
    trash, moved = tmp_path / "objects" / "kept", tmp_path / "elsewhere"
    async with storing(tmp_path, config) as store:
        door, yard = Feed("door", 1, pool=big, size=(640, 360)), Feed("yard", 2, pool=big, size=(640, 360))
        await store.keep(*door.take(6))
        await all_uploaded(store, 1)
        trash.rename(moved)
        trash.write_bytes(b"")
        told = await store.listen(EVENTS)
        await store.keep(*door.take(48), *yard.take(52))
        await until(lambda: _within_limit(store, "other"), what="the other group is within its limit", deadline_s=60)
        stalled = await next_of(told, lambda m: getattr(m, "source", "") == "retention.stalled")
        assert "kept" in str(getattr(stalled, "details", stalled))
        yards = await store.recordings("yard")
        assert yards[-1]["end_ns"] == yard.at_ns
        doors = await store.recordings("door")
        await store.keep(*door.take(16))
        await swept(store)
        assert not await _within_limit(store, "kept"), "it cannot be kept to its limit"
        assert {r["id"] for r in doors} <= {r["id"] for r in await store.recordings("door")}, "more of it is marked, and none can go"
        put_back(moved, trash)
        await until(lambda: _within_limit(store, "kept"), what="the group is within its limit", deadline_s=60)
        left = await store.recordings("door")
        assert left[-1]["end_ns"] == door.at_ns
        assert sum(r["size_bytes"] for r in left) > 8 * MIB, "no more was deleted than had to be"
    assert await store.check() == []


async def _within_limit(store: Storing, group: str) -> bool:
    """What is marked counts until it has gone."""
    (room,) = (one for one in (await store.http.get("/api/storage")).json()["groups"] if one["group"] == group)
    return bool(room["used_bytes"] <= room["limit_bytes"])
