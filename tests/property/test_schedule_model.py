"""Schedules against a slow, obvious model: what the clock on the wall shows, minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.schedules import Holiday, WeeklySchedule
from shared.domain.clock import NS_PER_S
from shared.domain.schedule import active, next_change

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: Whole hours, half an hour (Lord Howe), changes at midnight (Havana, Beirut), no changes, a day that was skipped (Apia).
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Beirut", "Asia/Kolkata", "Pacific/Apia")
#: Around the changes of 2011: spring and autumn of both hemispheres, the day that Apia skipped, New Year, and a leap day later.
ANCHORS = (
    datetime(2011, 3, 12, tzinfo=UTC),
    datetime(2011, 3, 26, tzinfo=UTC),
    datetime(2011, 4, 2, tzinfo=UTC),
    datetime(2011, 10, 1, tzinfo=UTC),
    datetime(2011, 10, 29, tzinfo=UTC),
    datetime(2011, 11, 5, tzinfo=UTC),
    datetime(2011, 12, 28, tzinfo=UTC),
    datetime(2012, 2, 28, tzinfo=UTC),
)


def clock_text(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


@st.composite
def rows(draw: st.DrawFn) -> tuple[str, ...]:
    # Mostly at night, where clocks change.
    near_night = st.one_of(st.integers(0, 240), st.integers(1380, 1440), st.integers(0, 1440))
    pairs = draw(st.lists(st.tuples(near_night, near_night), max_size=6))
    return tuple(f"{clock_text(min(pair))}-{clock_text(max(pair))}" for pair in pairs if pair[0] != pair[1])


@st.composite
def holidays(draw: st.DrawFn) -> Holiday:
    around = st.dates(date(2011, 2, 25), date(2012, 3, 5))
    first, last = draw(around), draw(around)
    if draw(st.booleans()):
        return Holiday(name="h", first=f"{first:%m-%d}", last=draw(st.sampled_from([None, f"{last:%m-%d}"])))
    return Holiday(name="h", first=min(first, last).isoformat(), last=max(first, last).isoformat())


def model_active(weekly: WeeklySchedule, days_off: list[Holiday], zone: ZoneInfo, moment: datetime) -> bool:
    wall = moment.astimezone(zone)
    row = getattr(weekly, DAYS[wall.weekday()])
    if weekly.holiday is not None and any(model_covers(holiday, wall) for holiday in days_off):
        row = weekly.holiday
    shown = f"{wall:%H:%M}"
    return any(period[:5] <= shown < period[6:] for period in row)  # times of one length compare as text


def model_covers(holiday: Holiday, wall: datetime) -> bool:
    first, last = holiday.first, holiday.last or holiday.first
    shown = f"{wall:%Y-%m-%d}" if len(first) == 10 else f"{wall:%m-%d}"
    return first <= shown <= last if first <= last else shown >= first or shown <= last


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_active_and_next_change_agree_with_the_model(data: st.DataObject) -> None:
    zone = ZoneInfo(data.draw(st.sampled_from(ZONES)))
    weekly = WeeklySchedule.model_validate({day: data.draw(rows()) for day in DAYS} | {"holiday": data.draw(st.one_of(st.none(), rows()))})
    days_off = data.draw(st.lists(holidays(), max_size=2))
    schedule = weekly.evaluable(days_off, zone)
    start = data.draw(st.sampled_from(ANCHORS)) + timedelta(minutes=data.draw(st.integers(0, 2 * 1440)))
    start_ns = int(start.timestamp()) * NS_PER_S
    now = model_active(weekly, days_off, zone, start)
    assert active(schedule, start_ns) == now

    change = next_change(schedule, start_ns)
    horizon = start + timedelta(days=3)
    expected = start
    while expected < horizon and model_active(weekly, days_off, zone, expected) == now:
        expected += timedelta(minutes=1)
    if expected < horizon:
        assert change == int(expected.timestamp()) * NS_PER_S
    elif change is not None:
        assert change >= int(horizon.timestamp()) * NS_PER_S
        later = datetime.fromtimestamp(change // NS_PER_S, UTC)
        assert model_active(weekly, days_off, zone, later) != now
        assert model_active(weekly, days_off, zone, later - timedelta(minutes=1)) == now
