"""When a weekly schedule is active: up to 6 periods a day, holidays, the site's time zone.

A moment is judged by what the site's clock on the wall shows at it. That makes daylight saving time simple: a period keeps its
wall-clock ends, the hour that does not exist is never reached, and of the hour that comes twice both passes are inside.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.domain.clock import NS_PER_S

MINUTES_PER_DAY = 24 * 60
MAX_PERIODS = 6

#: Between two edges of holidays a schedule repeats weekly; two weeks and a day see every change, even one that falls once into the hour
#: that does not exist.
_LOOK_AHEAD_DAYS = 16
#: 29 February comes after 8 years at the latest (2096, 2104).
_LOOK_AHEAD_YEARS = 9


@dataclass(frozen=True, slots=True)
class Period:
    """Minutes of the day, `start_min` included, `end_min` not; 1440 is the end of the day.

    Raises:
        ValueError: it does not end after it begins within one day.
    """

    start_min: int
    end_min: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_min < self.end_min <= MINUTES_PER_DAY:
            raise ValueError(f"a period from minute {self.start_min} to {self.end_min}")


@dataclass(frozen=True, slots=True)
class MonthDay:
    """A day of every year. 29 February is only there in leap years."""

    month: int
    day: int

    def in_year(self, year: int) -> date:
        """That day of `year`; 29 February of a common year is 1 March."""
        if (self.month, self.day) == (2, 29) and not calendar.isleap(year):
            return date(year, 3, 1)
        return date(year, self.month, self.day)


@dataclass(frozen=True, slots=True)
class OnceHoliday:
    """From `first` to `last`, both included."""

    first: date
    last: date

    def covers(self, day: date) -> bool:
        return self.first <= day <= self.last

    def edges(self, _year: int) -> tuple[date, ...]:
        return (self.first, self.last)


@dataclass(frozen=True, slots=True)
class YearlyHoliday:
    """From `first` to `last` of every year, both included; `last` before `first` goes over New Year."""

    first: MonthDay
    last: MonthDay

    def covers(self, day: date) -> bool:
        at, first, last = (day.month, day.day), (self.first.month, self.first.day), (self.last.month, self.last.day)
        return first <= at <= last if first <= last else at >= first or at <= last

    def edges(self, year: int) -> tuple[date, ...]:
        return (self.first.in_year(year), self.last.in_year(year))


@dataclass(frozen=True, slots=True)
class Schedule:
    """A week of periods in a time zone.

    Attributes:
        days: 7 rows, Monday first; each at most 6 periods.
        zone: the site's.
        holiday: the row used on holidays instead of the weekday's; None: the weekday's stays.
        holidays: when holidays are.
    """

    days: tuple[tuple[Period, ...], ...]
    zone: ZoneInfo
    holiday: tuple[Period, ...] | None = None
    holidays: tuple[OnceHoliday | YearlyHoliday, ...] = ()

    def __post_init__(self) -> None:
        if len(self.days) != 7:
            raise ValueError(f"a schedule has 7 days, not {len(self.days)}")
        if any(len(row) > MAX_PERIODS for row in (*self.days, self.holiday or ())):
            raise ValueError(f"a day has at most {MAX_PERIODS} periods")

    def row(self, day: date) -> tuple[Period, ...]:
        """The periods of a date."""
        if self.holiday is not None and any(holiday.covers(day) for holiday in self.holidays):
            return self.holiday
        return self.days[day.weekday()]


def active(schedule: Schedule, time_ns: int) -> bool:
    """Whether `time_ns` (UTC nanoseconds) is inside a period."""
    return _active_at(schedule, time_ns // NS_PER_S)


def next_change(schedule: Schedule, time_ns: int) -> int | None:
    """The first moment after `time_ns` (both UTC nanoseconds) at which the schedule becomes active or inactive; None: it never does."""
    if _constant(schedule):
        return None
    now_s = time_ns // NS_PER_S
    now = _active_at(schedule, now_s)
    for start in _starts(schedule, datetime.fromtimestamp(now_s, schedule.zone).date()):
        for at_s in _edges(schedule, start):
            if at_s > now_s and _active_at(schedule, at_s) != now:
                return at_s * NS_PER_S
    return None


def _active_at(schedule: Schedule, at_s: int) -> bool:
    wall = datetime.fromtimestamp(at_s, schedule.zone)
    minute = wall.hour * 60 + wall.minute
    return any(period.start_min <= minute < period.end_min for period in schedule.row(wall.date()))


def _constant(schedule: Schedule) -> bool:
    """Whether every row is all day, or every row is empty."""
    rows = (*schedule.days, *(() if schedule.holiday is None else (schedule.holiday,)))
    return not any(rows) or all(row == (Period(0, MINUTES_PER_DAY),) for row in rows)


def _starts(schedule: Schedule, today: date) -> list[date]:
    """Today and each edge of a holiday after it, in order: all changes come within `_LOOK_AHEAD_DAYS` of one of them."""
    starts = {today}
    if schedule.holiday is not None:
        years = range(today.year, today.year + _LOOK_AHEAD_YEARS + 1)
        starts |= {edge for holiday in schedule.holidays for year in years for edge in holiday.edges(year) if edge > today}
    return sorted(starts)


def _edges(schedule: Schedule, start: date) -> list[int]:
    """Every second (UTC) around and after `start` at which the answer may change, in order. More than needed does no harm."""
    edges = set()
    for offset in range(-1, _LOOK_AHEAD_DAYS + 1):
        midnight = datetime.combine(start + timedelta(days=offset), time())
        row = schedule.row(midnight.date())
        for minute in {0, *(minute for period in row for minute in (period.start_min, period.end_min))}:
            wall = midnight + timedelta(minutes=minute)
            # A wall time that comes twice is two moments; one that does not exist gives moments nearby, which the caller's test discards.
            edges |= {int(wall.replace(tzinfo=schedule.zone, fold=fold).timestamp()) for fold in (0, 1)}
    return sorted(edges | _offset_changes(schedule.zone, min(edges), max(edges)))


def _offset_changes(zone: ZoneInfo, from_s: int, to_s: int) -> set[int]:
    """The seconds (UTC) at which the zone's offset changes: what the wall shows jumps there."""

    def offset(at_s: int) -> timedelta | None:
        return datetime.fromtimestamp(at_s, zone).utcoffset()

    changes = set()
    step_s = 6 * 3600  # no zone ever changed twice within so short a time
    for begin in range(from_s, to_s, step_s):
        low, high = begin, begin + step_s
        before = offset(low)
        if offset(high) == before:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == before else (low, middle)
        changes.add(high)
    return changes
