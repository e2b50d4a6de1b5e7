"""Schedules at the moments where they go wrong."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from shared.config.schedules import Holiday, WeeklySchedule
from shared.domain.clock import NS_PER_S
from shared.domain.schedule import MAX_PERIODS, Period, Schedule, active, next_change

BERLIN = ZoneInfo("Europe/Berlin")
NOTHING = dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"), ())


def ns(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()) * NS_PER_S


def weekly(zone: ZoneInfo = BERLIN, holidays: tuple[Holiday, ...] = (), **rows: tuple[str, ...]) -> Schedule:
    return WeeklySchedule.model_validate(NOTHING | rows).evaluable(holidays, zone)


def test_period_ends_are_exclusive_and_24_00_is_the_end_of_the_day() -> None:
    schedule = weekly(monday=("08:00-12:00", "13:00-24:00"))
    assert not active(schedule, ns("2024-06-03T07:59:59"))
    assert active(schedule, ns("2024-06-03T08:00:00"))
    assert not active(schedule, ns("2024-06-03T12:00:00"))
    assert active(schedule, ns("2024-06-03T23:59:59") + NS_PER_S - 1)
    assert not active(schedule, ns("2024-06-04T00:00:00"))
    assert next_change(schedule, ns("2024-06-03T13:00:00")) == ns("2024-06-04T00:00:00")


def test_a_period_across_midnight_has_no_change_at_midnight() -> None:
    schedule = weekly(monday=("22:00-24:00",), tuesday=("00:00-06:00",))
    assert next_change(schedule, ns("2024-06-03T22:00:00")) == ns("2024-06-04T06:00:00")


def test_the_hour_that_comes_twice_is_inside_twice() -> None:
    schedule = weekly(sunday=("02:00-03:00",))
    first, second = ns("2024-10-27T02:30:00"), ns("2024-10-27T02:30:00", fold=1)
    assert second - first == 3600 * NS_PER_S
    assert active(schedule, first)
    assert active(schedule, second)
    assert next_change(schedule, first) == ns("2024-10-27T03:00:00")


def test_half_of_the_hour_that_comes_twice_is_left_and_entered_again() -> None:
    schedule = weekly(sunday=("01:00-02:30",))
    left = next_change(schedule, ns("2024-10-27T01:00:00"))
    assert left == ns("2024-10-27T02:30:00")
    assert left is not None
    again = next_change(schedule, left)
    assert again == ns("2024-10-27T02:00:00", fold=1)
    assert again is not None
    assert next_change(schedule, again) == ns("2024-10-27T02:30:00", fold=1)


def test_the_hour_that_does_not_exist_is_never_reached_and_ends_stay() -> None:
    gone = weekly(sunday=("02:10-02:50",))
    # 31 March 2024: clocks go from 02:00 to 03:00; the period comes a week later.
    assert next_change(gone, ns("2024-03-30T12:00:00")) == ns("2024-04-07T02:10:00")
    spanning = weekly(sunday=("01:00-04:00",))
    assert next_change(spanning, ns("2024-03-31T01:00:00")) == ns("2024-03-31T04:00:00")
    assert ns("2024-03-31T04:00:00") - ns("2024-03-31T01:00:00") == 2 * 3600 * NS_PER_S


def test_a_holiday_replaces_the_weekday() -> None:
    christmas = Holiday(name="Christmas", first="12-24", last="12-26")
    schedule = weekly(holidays=(christmas,), tuesday=("08:00-18:00",), holiday=("10:00-11:00",))
    assert not active(schedule, ns("2024-12-24T09:00:00"))  # a Tuesday
    assert active(schedule, ns("2024-12-24T10:30:00"))
    assert active(schedule, ns("2024-12-31T09:00:00"))


def test_a_schedule_without_holiday_row_keeps_the_weekdays() -> None:
    schedule = weekly(holidays=(Holiday(name="x", first="12-24"),), tuesday=("08:00-18:00",))
    assert active(schedule, ns("2024-12-24T09:00:00"))


def test_a_yearly_range_goes_over_new_year() -> None:
    schedule = weekly(holidays=(Holiday(name="x", first="12-30", last="01-02"),), holiday=("00:00-24:00",))
    assert next_change(schedule, ns("2024-06-01T00:00:00")) == ns("2024-12-30T00:00:00")
    assert next_change(schedule, ns("2024-12-31T00:00:00")) == ns("2025-01-03T00:00:00")


def test_29_february_comes_in_leap_years_only() -> None:
    schedule = weekly(holidays=(Holiday(name="x", first="02-29"),), holiday=("00:00-24:00",))
    assert next_change(schedule, ns("2024-03-01T00:00:00")) == ns("2028-02-29T00:00:00")
    assert not active(schedule, ns("2025-03-01T00:00:00"))
    far = weekly(ZoneInfo("UTC"), (Holiday(name="x", first="02-29"),), holiday=("00:00-24:00",))
    utc = ZoneInfo("UTC")
    assert next_change(far, ns("2096-03-01T00:00:00", utc)) == ns("2104-02-29T00:00:00", utc)


def test_a_holiday_once_is_not_there_next_year() -> None:
    schedule = weekly(holidays=(Holiday(name="x", first="2024-05-01", last="2024-05-02"),), holiday=("00:00-24:00",))
    assert active(schedule, ns("2024-05-02T23:59:00"))
    assert not active(schedule, ns("2025-05-01T12:00:00"))
    assert next_change(schedule, ns("2024-05-03T00:00:00")) is None


def test_always_and_never_do_not_change() -> None:
    assert next_change(WeeklySchedule().evaluable((), BERLIN), ns("2024-05-01T00:00:00")) is None
    assert next_change(weekly(), ns("2024-05-01T00:00:00")) is None


def test_what_cannot_be_a_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="a period from"):
        Period(10, 10)
    with pytest.raises(ValueError, match="7 days"):
        Schedule(days=((),), zone=BERLIN)
    with pytest.raises(ValueError, match=f"at most {MAX_PERIODS}"):
        Schedule(days=((Period(0, 1),) * 7, *((),) * 6), zone=BERLIN)
    with pytest.raises(ValueError, match="no day of the calendar"):
        Holiday(name="x", first="02-30")
