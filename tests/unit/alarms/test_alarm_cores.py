"""The alarm cores at the points that matter: the table of transitions, linkage, arming, retry, and what a centre is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.alarms.core import report
from services.alarms.core.anti_dither import ended, hit, raised
from services.alarms.core.arming import Arming
from services.alarms.core.lifecycle import TRANSITIONS, Trigger, after
from services.alarms.core.linkage import Change, consequences, extend_at_ns
from services.alarms.core.place import Place, rfc3339
from services.alarms.core.record import Alarm
from services.alarms.core.retry import Backoff
from shared.config.rules import Linkage, RecordLinkage, SnapshotLinkage
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S
from shared.domain.targets import TargetClass
from shared.messages import ActionKind, AlarmState, EventKind, EventMessage, EventPhase

NOON_NS = 1_717_416_000 * NS_PER_S  # Monday 2024-06-03 12:00:00 UTC
SITE = SiteConfig.model_validate(
    {
        "site": {"name": "Warehouse", "time_zone": "Europe/Berlin"},
        "device": {"id": "nvr"},
        "schedules": {"night": {"monday": ["20:00-24:00"]}},
        "centres": [
            {"id": "brief", "url": "https://a.example/x", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
            {
                "id": "full",
                "url": "https://b.example/x",
                "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "send": ["raised", "updated", "ended"],
            },
            {"id": "off", "url": "https://c.example/x", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "enabled": False},
        ],
        "channels": [
            {
                "id": "dock",
                "number": 3,
                "name": "Loading dock",
                "main": {"url": "rtsp://192.0.2.1/x"},
                "rules": [
                    {"id": "gate", "kind": "tripwire", "line": [[0, 0], [1, 1]], "arming": "night", "anti_dither_s": 7},
                    {"id": "old", "kind": "tripwire", "line": [[0, 0], [1, 1]], "enabled": False},
                ],
            },
            {"id": "yard", "number": 4, "main": {"url": "rtsp://192.0.2.1/y"}},
        ],
    }
)
PLACE = Place.of(SITE, "http://127.0.0.1:8780")


def started(source: str = "gate", kind: EventKind = EventKind.TRIPWIRE, **more: object) -> EventMessage:
    values: dict[str, object] = {
        "channel": "dock", "channel_number": 3, "event_id": "e1", "kind": kind, "source": source, "phase": EventPhase.STARTED,
        "start_ns": NOON_NS, "at_ns": NOON_NS, "direction": "a_to_b", "target": TargetClass.HUMAN,
    }  # fmt: skip
    return EventMessage.model_validate(values | more)


def alarm(**more: object) -> Alarm:
    return replace(raised(started(), 5 * NS_PER_S, NOON_NS + 1), **more)  # type: ignore[arg-type]  # any field, by name


def test_every_state_answers_every_trigger_that_can_happen_in_it() -> None:
    for state in AlarmState:
        for trigger in Trigger:
            if (state, trigger) == (AlarmState.ENDED, Trigger.QUIET):
                with pytest.raises(ValueError, match="cannot be quiet"):
                    after(state, trigger)
            else:
                assert (state, trigger) in TRANSITIONS
    assert [trigger for state, trigger in TRANSITIONS if state is None] == [Trigger.HIT]
    assert {before for (before, _), after in TRANSITIONS.items() if after is AlarmState.RAISED} == {None, AlarmState.RAISED}


def test_the_first_acknowledgement_stays_and_changes_no_end() -> None:
    over = ended(alarm(), NOON_NS + 9)
    seen = over.acknowledged("ada", "fox", NOON_NS + 10)
    assert (seen.state, seen.acknowledged_by, seen.acknowledged_ns, seen.note) == (AlarmState.ENDED, "ada", NOON_NS + 10, "fox")
    assert seen.acknowledged("bob", "bear", NOON_NS + 11) == seen


def test_the_own_channels_snapshot_is_preferred() -> None:
    first = alarm().pictured("other.jpg", own_channel=False, now_ns=1)
    own = first.pictured("own.jpg", own_channel=True, now_ns=2)
    assert (first.snapshot, own.snapshot) == ("other.jpg", "own.jpg")
    assert own.pictured("other.jpg", own_channel=False, now_ns=3) == own


def test_linkage_runs_once_and_then_only_extends() -> None:
    linkage = Linkage(record=RecordLinkage(pre_s=4, post_s=20), snapshot=SnapshotLinkage(), webhooks=("brief", "full", "off"))
    begun = consequences(alarm(), linkage, Change.RAISED, PLACE, NOON_NS)
    assert [command.action for command in begun.commands] == [ActionKind.SHOW_MESSAGE, ActionKind.SNAPSHOT, ActionKind.RECORD]
    assert [told.centre for told in begun.reports] == ["brief", "full"]
    record = begun.commands[2]
    assert (record.from_ns, record.to_ns) == (NOON_NS - 4 * NS_PER_S, NOON_NS + 20 * NS_PER_S)

    event = started(event_id="e2", start_ns=NOON_NS + NS_PER_S, at_ns=NOON_NS + NS_PER_S)
    again = consequences(hit(begun.alarm, event, NOON_NS + NS_PER_S), linkage, Change.HIT, PLACE, NOON_NS + NS_PER_S)
    assert [(command.action, command.action_id) for command in again.commands] == [(ActionKind.RECORD, record.action_id)]
    assert again.log == ()
    assert [told.centre for told in again.reports] == ["full"]

    over = consequences(ended(again.alarm, NOON_NS + 8 * NS_PER_S), linkage, Change.ENDED, PLACE, NOON_NS + 8 * NS_PER_S)
    assert over.commands == ()
    assert [entry.text for entry in over.log] == [
        "Loading dock: gate (line crossed, a to b, human): nothing more was heard of it; ended after 1.0 s, 2 hits"
    ]


def test_footage_is_asked_for_in_capture_time_when_the_cameras_clock_is_wrong() -> None:
    behind = alarm(handled_ns=NOON_NS + 3600 * NS_PER_S)  # the camera's clock is an hour slow
    linkage = Linkage(record=RecordLinkage(post_s=10))
    now_ns = behind.handled_ns + 5 * NS_PER_S
    asked = consequences(behind, linkage, Change.GOES_ON, PLACE, now_ns)
    assert asked.alarm.recorded_to_ns == NOON_NS + 15 * NS_PER_S
    assert extend_at_ns(asked.alarm, linkage) == now_ns + 5 * NS_PER_S


def test_linkage_reaches_other_channels() -> None:
    linkage = Linkage(record=RecordLinkage(channels=("yard", "dock")), snapshot=SnapshotLinkage(channels=("yard",)), show_message=False)
    commands = consequences(alarm(), linkage, Change.RAISED, PLACE, NOON_NS).commands
    assert [(c.action, c.channel, c.channel_number) for c in commands] == [
        (ActionKind.SNAPSHOT, "yard", 4),
        (ActionKind.RECORD, "yard", 4),
        (ActionKind.RECORD, "dock", 3),
    ]
    assert len({command.action_id for command in commands}) == 3
    told = report.data(alarm(), linkage, PLACE)
    assert told["snapshot_url"] == f"http://127.0.0.1:8780/api/snapshots/nvr/yard/2024/06/03/{alarm().alarm_id}.jpg"


def test_arming_follows_the_sites_clock() -> None:
    policy = Arming(SITE).policy(started())
    assert policy is not None
    assert policy.period_ns == 7 * NS_PER_S
    assert not policy.armed(NOON_NS)
    assert policy.armed(NOON_NS + 6 * 3600 * NS_PER_S)  # 18:00 UTC is 20:00 in Berlin
    assert Arming(SITE).policy(started("old")) is None
    assert Arming(SITE).policy(started("unknown")) is None
    exception = Arming(SITE).policy(started("storage.full", EventKind.EXCEPTION))
    assert exception is not None
    assert exception.armed(NOON_NS)
    assert (exception.linkage.record, exception.linkage.snapshot, exception.linkage.webhooks) == (None, None, ())


def test_what_a_centre_is_told() -> None:
    attributes, data = report.attributes(alarm(), PLACE), report.data(alarm(), Linkage(snapshot=None), PLACE)
    assert attributes["source"] == "/sites/nvr/channels/dock"
    assert attributes["type"] == "vedette.alarm.raised"
    assert data["site"] == "Warehouse"
    assert data["target"] == "human"
    assert data["start"] == "2024-06-03T12:00:00.000Z"
    assert (data["end"], data["end_ns"]) == (None, None)
    assert "snapshot_url" not in data
    assert report.report_id(alarm()) == report.report_id(alarm(hits=2))  # raised is raised, once
    assert report.delivery_id("brief", "r") != report.delivery_id("full", "r")


def test_rfc3339_cuts_to_milliseconds() -> None:
    assert rfc3339(NOON_NS + 1_999_999) == "2024-06-03T12:00:00.001Z"


def test_backoff_doubles_to_its_longest_and_stops_at_the_deadline() -> None:
    backoff = Backoff(1, 300)
    assert [backoff.delay_s(attempt, 1.0) for attempt in (1, 2, 3, 9, 10, 5000)] == [1, 2, 4, 256, 300, 300]
    assert backoff.delay_s(3, 0.0) == 2
    assert backoff.next_attempt_ns(1, 1.0, NOON_NS, NOON_NS + NS_PER_S, None) == NOON_NS + NS_PER_S
    assert backoff.next_attempt_ns(2, 1.0, NOON_NS, NOON_NS + NS_PER_S, None) is None
    assert backoff.next_attempt_ns(1, 1.0, NOON_NS, NOON_NS + 100 * NS_PER_S, 60) == NOON_NS + 60 * NS_PER_S
    assert backoff.next_attempt_ns(1, 1.0, NOON_NS, NOON_NS + 10 * NS_PER_S, 60) is None
    with pytest.raises(ValueError, match="back-off"):
        Backoff(2, 1)
