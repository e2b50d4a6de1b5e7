"""When a file ends, what is recorded as what, what the time bar shows, what keys look like."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.storage.api import parse_range
from services.storage.core.files import Cut, FileSoFar, NextSegment, cut
from services.storage.core.model import Kind, Span, object_key, snapshot_key
from services.storage.core.recording import CLAIM_WINDOW_NS, kind_of, kind_of_file, unclaimed
from services.storage.core.timeline import BarSpan, bar
from shared.config.channels import RecordMode
from shared.messages import Discontinuity

S = 1_000_000_000
FILE = FileSoFar(0, 20 * S, "p", "s", 4, Kind.GENERAL)
NEXT = NextSegment(20 * S, 24 * S, "p", "s", 5, Discontinuity.NONE, False, Kind.GENERAL)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"parameters": "q"}, Cut.PARAMETERS),
        ({"discontinuity": Discontinuity.LOSS}, Cut.DISCONTINUITY),
        ({"session": "t"}, Cut.SEQUENCE),
        ({"sequence": 6}, Cut.SEQUENCE),
        ({"start_ns": 20 * S + S // 3}, None),  # clock steering
        ({"start_ns": 21 * S}, Cut.TIME),
        ({"start_ns": 19 * S}, Cut.TIME),
        ({"kind": Kind.ALARM}, None),
        ({"kind": Kind.PROVISIONAL}, Cut.KIND),
        ({"continues": True, "parameters": "q"}, Cut.PARAMETERS),
    ],
)
def test_why_a_file_ends(change: dict[str, object], why: Cut | None) -> None:
    assert cut(FILE, replace(NEXT, **change), 60) is why  # type: ignore[arg-type]  # fields by name


def test_without_a_file_one_begins() -> None:
    assert cut(None, NEXT, 60) is Cut.FIRST


def ended_after(length_s: float, file_s: float, *, continues: bool = False) -> int:
    """How many segments of that length go into a file."""
    file, step = replace(FILE, end_ns=0, last_sequence=-1), round(length_s * S)
    for number in range(1000):
        following = replace(NEXT, start_ns=number * step, end_ns=(number + 1) * step, sequence=number, continues=continues)
        if cut(file, following, file_s) is not None:
            return number
        file = replace(file, end_ns=following.end_ns, last_sequence=number)
    raise AssertionError("it never ends")


@pytest.mark.parametrize(("length_s", "segments"), [(4.0, 15), (4.04, 15), (3.9, 15), (1.0, 60), (7.0, 9), (59.0, 1), (90.0, 1)])
def test_files_are_about_as_long_as_asked_for(length_s: float, segments: int) -> None:
    assert max(1, ended_after(length_s, 60)) == segments


def test_a_cut_group_of_pictures_keeps_to_its_file_up_to_twice_the_length() -> None:
    assert ended_after(4.0, 60, continues=True) == 30


def test_pre_record_files_are_short() -> None:
    file = replace(FILE, kind=Kind.PROVISIONAL, start_ns=0, end_ns=10 * S)
    following = replace(NEXT, kind=Kind.PROVISIONAL, start_ns=10 * S, end_ns=14 * S)
    assert cut(file, following, 60) is Cut.LENGTH


SPANS = [Span("a", "door", 100 * S, 110 * S)]


@pytest.mark.parametrize(
    ("mode", "in_schedule", "start_s", "kind"),
    [
        (RecordMode.OFF, True, 105, None),
        (RecordMode.ALWAYS, False, 50, Kind.GENERAL),
        (RecordMode.ALWAYS, False, 105, Kind.ALARM),
        (RecordMode.SCHEDULE, True, 50, Kind.GENERAL),
        (RecordMode.SCHEDULE, False, 50, Kind.PROVISIONAL),
        (RecordMode.SCHEDULE, False, 109, Kind.ALARM),
        (RecordMode.ALARM, True, 50, Kind.PROVISIONAL),
        (RecordMode.ALARM, False, 97, Kind.ALARM),
        (RecordMode.ALARM, False, 110, Kind.PROVISIONAL),
    ],
)
def test_what_footage_is_kept_as(mode: RecordMode, in_schedule: bool, start_s: int, kind: Kind | None) -> None:
    assert kind_of(mode, in_schedule=in_schedule, spans=SPANS, start_ns=start_s * S, end_ns=(start_s + 4) * S) is kind


def test_a_file_has_the_highest_kind_of_its_segments() -> None:
    assert kind_of_file(None, Kind.GENERAL) is Kind.GENERAL
    assert kind_of_file(Kind.GENERAL, Kind.ALARM) is kind_of_file(Kind.ALARM, Kind.GENERAL) is Kind.ALARM
    assert kind_of_file(Kind.PROVISIONAL, Kind.GENERAL) is Kind.GENERAL


def test_only_pre_record_footage_is_ever_unclaimed() -> None:
    assert unclaimed(Kind.PROVISIONAL, 0, CLAIM_WINDOW_NS + 1)
    assert not unclaimed(Kind.PROVISIONAL, 0, CLAIM_WINDOW_NS)
    assert not unclaimed(Kind.GENERAL, 0, 10 * CLAIM_WINDOW_NS)


def test_the_bar_merges_what_touches_and_shows_gaps_and_alarms() -> None:
    footage = [(20 * S, 30 * S), (0, 10 * S), (10 * S + 1000, 18 * S)]
    spans = [Span("a", "door", 5 * S, 7 * S), Span("b", "door", 6 * S, 8 * S), Span("c", "door", 17 * S, 22 * S)]
    assert bar(footage, spans, 2 * S, 28 * S) == [
        BarSpan(2 * S, 5 * S, Kind.GENERAL),
        BarSpan(5 * S, 8 * S, Kind.ALARM),
        BarSpan(8 * S, 17 * S, Kind.GENERAL),
        BarSpan(17 * S, 18 * S, Kind.ALARM),
        BarSpan(20 * S, 22 * S, Kind.ALARM),
        BarSpan(22 * S, 28 * S, Kind.GENERAL),
    ]
    assert bar([], spans, 0, 100 * S) == []


def test_keys_are_by_hour_in_utc() -> None:
    at_ns = 1_700_000_000 * S  # 2023-11-14 22:13:20 UTC
    assert object_key("nvr", "door", "main", at_ns) == f"nvr/door/2023/11/14/22/{at_ns}.mp4"
    assert object_key("nvr", "door", "sub", at_ns, suffix="ab") == f"nvr/door/2023/11/14/22/{at_ns}-sub-ab.mp4"
    assert snapshot_key("nvr", "door", at_ns, "0123456789") == f"nvr/door/2023/11/14/22/{at_ns}-01234567.jpg"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=0-0, 5-6", (0, 1)),
        ("bytes=100-", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=9-5", None),
        ("lines=1-2", None),
    ],
)
def test_ranges_of_http(text: str, wanted: tuple[int, int] | None) -> None:
    assert parse_range(text, 100) == wanted
