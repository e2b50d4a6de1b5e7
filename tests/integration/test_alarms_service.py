"""From events on the bus to alarms, actions and one webhook each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
from fastapi import FastAPI, Request

from services.alarms.api import router
from services.alarms.check import check
from shared.domain.clock import NS_PER_S, ManualClock
from shared.domain.ids import DEVICE_CHANNEL
from shared.messages import ActionKind, ActionMessage, ActionPhase, AlarmMessage, AlarmState, EventKind, EventPhase
from shared.topics import ACTIONS
from tests.support.alarms import Running, centre_config, crossing, event, pass_time, receiver, running, site_config
from tests.support.waiting import until


def actions(recorder: Running, kind: ActionKind) -> list[ActionMessage]:
    return [
        message
        for message in recorder.published
        if isinstance(message, ActionMessage) and message.action is kind and message.phase is ActionPhase.REQUESTED
    ]


async def log_of(recorder: Running) -> list[str]:
    """The system log, newest first."""
    async with recorder.service.book.read() as page:
        return [entry.text for entry in await page.log_entries(100)]


def told(recorder: Running, state: AlarmState) -> list[AlarmMessage]:
    return [message for message in recorder.published if isinstance(message, AlarmMessage) and message.state is state]


async def test_a_crossing_is_one_alarm_one_webhook_one_snapshot_one_notice(tmp_path: Path) -> None:
    async with receiver() as centre, running(site_config(centre_config(centre.url)), tmp_path) as recorder:
        base_ns = recorder.clock.now_ns()
        await recorder.send(*crossing("a", 0, base_ns=base_ns))
        (arrival,) = await until(centre.accepted, "the webhook")
        (alarm,) = await recorder.wait_alarms(1)
        day = datetime.fromtimestamp(base_ns // NS_PER_S, UTC)
        key = f"recorder/cam1/{day:%Y/%m/%d}/{alarm.alarm_id}.jpg"

        data = arrival.event["data"]
        assert arrival.event["type"] == "vedette.alarm.raised"
        assert arrival.event["source"] == "/sites/recorder/channels/cam1"
        assert datetime.fromisoformat(arrival.event["time"]) == datetime.fromtimestamp(base_ns // 1000 / 1e6, UTC)
        assert data["alarm_id"] == alarm.alarm_id
        assert data["channel"] == {"id": "cam1", "number": 1, "name": "Camera 1"}
        assert data["rule"] == {"id": "line", "name": "Gate"}
        assert data["start_ns"] == base_ns
        assert data["snapshot_url"] == f"https://nvr.example/api/snapshots/{key}"

        await until(lambda: len(recorder.published) >= 4, "alarm, notice, snapshot and record are published")
        (snapshot,) = actions(recorder, ActionKind.SNAPSHOT)
        assert (snapshot.object_key, snapshot.at_ns, snapshot.channel) == (key, base_ns, "cam1")
        (record,) = actions(recorder, ActionKind.RECORD)
        assert (record.from_ns, record.to_ns) == (base_ns - 5 * NS_PER_S, base_ns + 10 * NS_PER_S)
        (notice,) = actions(recorder, ActionKind.SHOW_MESSAGE)
        assert notice.text == "Camera 1: Gate (line crossed, a to b)"
        assert [message.alarm_id for message in told(recorder, AlarmState.RAISED)] == [alarm.alarm_id]
        assert len(centre.arrivals) == 1
        assert await recorder.problems() == []


async def test_a_redelivered_event_changes_nothing(tmp_path: Path) -> None:
    async with receiver() as centre, running(site_config(centre_config(centre.url)), tmp_path) as recorder:
        base_ns = recorder.clock.now_ns()
        events = crossing("a", 0, base_ns=base_ns)
        await recorder.send(*events, *events, *crossing("last", 60, base_ns=base_ns))
        alarms = await recorder.wait_alarms(2)
        assert [alarm.hits for alarm in alarms] == [1, 1]
        await until(lambda: len(centre.arrivals) >= 2, "two webhooks")
        assert len(centre.arrivals) == 2


async def test_outside_its_schedule_an_event_is_kept_and_raises_nothing(tmp_path: Path) -> None:
    async with running(site_config(), tmp_path) as recorder:
        base_ns = recorder.clock.now_ns()
        await recorder.send(*crossing("off", 0, base_ns=base_ns, source="off"), *crossing("on", 0, base_ns=base_ns))
        (alarm,) = await recorder.wait_alarms(1)
        assert alarm.source == "line"
        async with recorder.service.book.read() as page:
            seen = await page.seen(crossing("off", 0, base_ns=base_ns)[0].event_id)
        assert seen is not None
        assert (seen.ended, seen.alarm_id) == (True, None)


async def test_within_the_anti_dither_period_there_is_one_alarm_also_across_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    base_ns = clock.now_ns()
    async with receiver() as centre:
        site = site_config(centre_config(centre.url), rule={"anti_dither_s": 10})
        async with running(site, tmp_path, clock) as recorder:
            await recorder.send(*crossing("a", 0, base_ns=base_ns), *crossing("b", 4, base_ns=base_ns))
            await until(lambda: told(recorder, AlarmState.UPDATED), "the second hit")
            await recorder.wait_alarms(1, quiet=True)  # else it goes on, and whatever comes is a hit
        async with running(site, tmp_path, clock) as recorder:
            await recorder.send(*crossing("c", 13.9, base_ns=base_ns), *crossing("d", 24, base_ns=base_ns))
            first, second = await recorder.wait_alarms(2)
            assert (first.hits, first.last_ns - base_ns) == (3, round(13.9 * NS_PER_S))
            assert (second.hits, second.start_ns - base_ns) == (1, 24 * NS_PER_S)
            await until(lambda: len(actions(recorder, ActionKind.SHOW_MESSAGE)) == 1, "one notice, of the second alarm")


async def test_a_momentary_alarm_ends_when_its_period_has_passed(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(site_config(), tmp_path, clock) as recorder:
        base_ns = clock.now_ns()
        await recorder.send(*crossing("a", 0, base_ns=base_ns))
        await recorder.wait_alarms(1, quiet=True)
        await pass_time(clock, 5.5)
        await recorder.send(*crossing("other", 0, base_ns=base_ns, channel=2))
        await recorder.wait_alarms(2)
        assert (await recorder.alarms(channel="cam1"))[0].state is AlarmState.RAISED
        await pass_time(clock, 1.0)
        (ended,) = await until(lambda: told(recorder, AlarmState.ENDED), "the end")
        assert (ended.channel, ended.end_ns) == ("cam1", base_ns)
        assert await recorder.problems() == []


async def test_footage_is_extended_while_an_alarm_lasts(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(site_config(), tmp_path, clock) as recorder:
        base_ns = clock.now_ns()
        await recorder.send(event("long", 0, base_ns=base_ns))
        await until(lambda: len(actions(recorder, ActionKind.RECORD)) == 1, "the first request")
        for seconds in (5, 10, 15):
            await pass_time(clock, 5)

            def asked(count: int = 1 + seconds // 5) -> bool:
                return len(actions(recorder, ActionKind.RECORD)) == count

            await until(asked, "the next request")
        await recorder.send(event("long", 16, EventPhase.ENDED, base_ns=base_ns, start_s=0))
        await until(lambda: len(actions(recorder, ActionKind.RECORD)) == 5, "the last request")
        requests = actions(recorder, ActionKind.RECORD)
        assert [(request.to_ns or 0) - base_ns for request in requests] == [seconds * NS_PER_S for seconds in (10, 15, 20, 25, 26)]
        assert len({request.action_id for request in requests}) == 1


async def test_a_stored_snapshot_is_written_to_the_alarm(tmp_path: Path) -> None:
    async with running(site_config(), tmp_path, ManualClock()) as recorder:  # it does not end meanwhile
        await recorder.send(*crossing("a", 0, base_ns=recorder.clock.now_ns()))
        (request,) = await until(lambda: actions(recorder, ActionKind.SNAPSHOT), "the request")
        done = request.model_copy(update={"phase": ActionPhase.DONE})
        await recorder.bus.producer.publish(ACTIONS, done)
        await recorder.bus.producer.publish(ACTIONS, done)
        (updated,) = await until(lambda: told(recorder, AlarmState.UPDATED), "the alarm with its snapshot")
        assert updated.snapshot == request.object_key
        assert len(told(recorder, AlarmState.RAISED)) == 1


async def test_exceptions_become_alarms_that_last_until_they_are_cleared(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(site_config(), tmp_path, clock) as recorder:
        reporter = recorder.service._runtime.reporter
        await reporter.raise_("storage.full", "no room on the disk")
        (alarm,) = await recorder.wait_alarms(1, kind=EventKind.EXCEPTION)
        assert (alarm.channel, alarm.source, alarm.message) == (DEVICE_CHANNEL, "storage.full", "no room on the disk")
        await until(lambda: actions(recorder, ActionKind.SHOW_MESSAGE), "the notice")
        assert not actions(recorder, ActionKind.RECORD)
        await pass_time(clock, 60)
        assert (await recorder.alarms())[0].state is AlarmState.RAISED
        await reporter.clear("storage.full")
        await recorder.wait_alarms(1, quiet=True)
        await pass_time(clock, 7)
        await until(lambda: told(recorder, AlarmState.ENDED), "the end")


async def test_counting_is_no_alarm_and_a_threshold_is(tmp_path: Path) -> None:
    async with running(site_config(), tmp_path) as recorder:
        base_ns = recorder.clock.now_ns()
        kind = EventKind.PEOPLE_COUNTING
        await recorder.send(
            event("count", 0, EventPhase.UPDATED, base_ns=base_ns, source="people", kind=kind, counts={"enter": 4, "leave": 0, "stay": 4}),
            event("limit", 1, base_ns=base_ns, source="people", kind=kind, direction="enter", counts={"enter": 5, "leave": 0, "stay": 5}),
        )
        (alarm,) = await recorder.wait_alarms(1)
        assert alarm.counts["enter"] == 5


async def test_after_a_restart_an_alarm_goes_on_until_its_event_ends(tmp_path: Path) -> None:
    site, clock = site_config(), ManualClock()
    base_ns = clock.now_ns()
    async with running(site, tmp_path, clock) as recorder:
        await recorder.send(event("long", 0, base_ns=base_ns))
        await recorder.wait_alarms(1)
    clock.advance(10 * site.alarms.lost_after_s)  # it was off: nothing could be heard
    async with running(site, tmp_path, clock) as recorder:
        await until(lambda: actions(recorder, ActionKind.RECORD), "the timers have looked at it")
        (alarm,) = await recorder.alarms()
        assert alarm.state is AlarmState.RAISED
        end_s = 10 * site.alarms.lost_after_s + 1
        await recorder.send(event("long", end_s, EventPhase.ENDED, base_ns=base_ns, start_s=0))
        await recorder.wait_alarms(1, quiet=True)
        await pass_time(clock, 7)
        (ended,) = await until(lambda: told(recorder, AlarmState.ENDED), "the end")
        assert (ended.end_ns, ended.message, ended.hits) == (base_ns + round(end_s * NS_PER_S), "", 1)
        assert await recorder.problems() == []


async def test_after_a_restart_an_alarm_of_which_nothing_more_is_heard_ends_with_a_reason_and_may_go_on(tmp_path: Path) -> None:
    site, clock = site_config(), ManualClock()
    base_ns, lost_s = clock.now_ns(), site.alarms.lost_after_s
    async with running(site, tmp_path, clock) as recorder:
        await recorder.send(event("lost", 0, base_ns=base_ns))
        await recorder.wait_alarms(1)
    async with running(site, tmp_path, clock) as recorder:
        for _ in range(2):
            assert told(recorder, AlarmState.ENDED) == []
            await pass_time(clock, lost_s / 2)
        (ended,) = await until(lambda: told(recorder, AlarmState.ENDED), "the end is told")
        assert (ended.end_ns, ended.message) == (base_ns, "nothing more was heard of it")
        entries = (await log_of(recorder))[:1]
        assert entries == ["Camera 1: Gate (line crossed): nothing more was heard of it; ended after 0.0 s, 1 hit"]
        assert await recorder.problems() == []

        await recorder.send(event("lost", lost_s, EventPhase.UPDATED, base_ns=base_ns, start_s=0))
        (resumed,) = await until(lambda: told(recorder, AlarmState.UPDATED), "it goes on")
        assert (resumed.end_ns, resumed.message, resumed.hits) == (None, "", 1)
        await recorder.send(event("lost", lost_s, EventPhase.ENDED, base_ns=base_ns, start_s=0))
        await recorder.wait_alarms(1, quiet=True)
        await pass_time(clock, 7)
        await until(lambda: len(told(recorder, AlarmState.ENDED)) == 2, "it ends again")
        assert await recorder.problems() == []


async def test_the_http_api(tmp_path: Path) -> None:
    async with running(site_config(), tmp_path, ManualClock()) as recorder:  # nothing ends meanwhile
        app = FastAPI()

        @app.middleware("http")
        async def signed_in(request: Request, call_next):  # type: ignore[no-untyped-def]  # FastAPI's own types for this are private
            request.state.user = "ada"
            return await call_next(request)

        app.include_router(router(recorder.service))
        base_ns = recorder.clock.now_ns()
        await recorder.send(*crossing("a", 0, base_ns=base_ns))
        await recorder.wait_alarms(1)
        await recorder.send(*crossing("b", 1, base_ns=base_ns, channel=2))
        _, newest = await recorder.wait_alarms(2, quiet=True)  # no message is to come that makes another revision
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            listed = (await http.get("/api/alarms")).json()["alarms"]
            assert [alarm["channel"] for alarm in listed] == ["cam2", "cam1"]
            assert [alarm["channel"] for alarm in (await http.get("/api/alarms", params={"channel": "cam1"})).json()["alarms"]] == ["cam1"]
            assert (await http.get("/api/alarms", params={"to_ns": base_ns})).json()["alarms"] == []
            assert (await http.get("/api/alarms", params={"kind": "smd"})).json()["alarms"] == []
            assert (await http.get("/api/alarms", params={"kind": "nonsense"})).status_code == 422
            seen = (await http.post(f"/api/alarms/{newest.alarm_id}/acknowledge", json={"note": "the postman"})).json()
            assert (seen["acknowledged_by"], seen["note"]) == ("ada", "the postman")
            again = (await http.post(f"/api/alarms/{newest.alarm_id}/acknowledge", json={"note": "no, a thief"})).json()
            assert again == seen
            assert (await http.get(f"/api/alarms/{newest.alarm_id}")).json() == seen
            assert (await http.post("/api/alarms/none/acknowledge", json={})).status_code == 404
            entries = (await http.get("/api/log")).json()["entries"]
            assert entries[0]["text"] == "Camera 2: Gate (line crossed, a to b) acknowledged by ada"
        (message,) = await until(lambda: told(recorder, AlarmState.UPDATED), "consoles learn of it")
        assert message.model_dump(mode="json") == seen
        assert message.revision > told(recorder, AlarmState.RAISED)[-1].revision


async def test_what_no_column_holds_is_refused_as_such(tmp_path: Path) -> None:
    async with running(site_config(), tmp_path) as recorder:
        app = FastAPI()
        app.include_router(router(recorder.service))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            for path in ("/api/alarms", "/api/events"):
                for wrong in ({"from_ns": -1}, {"to_ns": -1}, {"from_ns": 2**63}, {"to_ns": 10**30}, {"limit": 0}, {"channel": "x" * 65}):
                    assert (await http.get(path, params=wrong)).status_code == 422, (path, wrong)
                assert (await http.get(path, params={"from_ns": 0, "to_ns": 2**63 - 1})).status_code == 200
            for path in ("/api/alarms", "/api/events", "/api/log", "/api/dead-letters"):
                assert (await http.get(path, params={"limit": 10**30})).status_code == 422
            assert (await http.get("/api/alarms", params={"channel": "a\x00"})).status_code == 422
            assert (await http.get("/api/dead-letters", params={"centre": "a\x00"})).status_code == 422
            assert (await http.get(f"/api/alarms/{'x' * 65}")).status_code == 422
            assert (await http.post("/api/alarms/x/acknowledge", json={"note": "\x00"})).status_code == 422
            assert (await http.post("/api/alarms/x/acknowledge", json={"note": "x" * 1001})).status_code == 422
            for ids in (["x"] * 1001, ["x" * 65], ["\x00"]):
                assert (await http.post("/api/dead-letters/replay", json={"centre": "station", "ids": ids})).status_code == 422
            assert (await http.post("/api/dead-letters/replay", json={"centre": "none", "ids": ["x"] * 1000})).status_code == 404


async def test_the_check_finds_what_is_wrong_with_a_book(tmp_path: Path) -> None:
    site = site_config()
    assert await check(site, tmp_path, 0) == []  # no book yet
    async with running(site, tmp_path) as recorder:
        await recorder.send(event("a", 0, base_ns=recorder.clock.now_ns()))
        (alarm,) = await recorder.wait_alarms(1)
        async with recorder.service.book.write() as page:
            await page.save_alarm(replace(alarm, hits=2, last_ns=alarm.start_ns - 1, live=frozenset({"never"})), None, new=False)
        assert await recorder.problems() == [
            f"alarm {alarm.alarm_id} lasts, but no timer will ever end it",
            f"alarm {alarm.alarm_id} ends before it begins",
            f"alarm {alarm.alarm_id} waits for events that ended or never were",
            f"alarm {alarm.alarm_id} has 2 hits, but 1 events",
        ]
