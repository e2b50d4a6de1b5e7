"""Weekly schedules and holidays, as configured. `shared/domain/schedule.py` evaluates them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from shared.config.base import Section
from shared.domain import schedule as domain

_PERIOD = re.compile(r"^([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$")
_DATE = re.compile(r"^(?:\d{4}-)?\d{2}-\d{2}$")


def _check_period(text: str) -> str:
    match = _PERIOD.match(text)
    if not match:
        raise ValueError(f"{text!r} is not HH:MM-HH:MM")
    start, end = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4]))
    if end > 24 * 60 or start >= end:
        raise ValueError(f"{text!r} must end after it begins, at 24:00 at the latest")
    return text


#: "08:00-18:30"; the end is exclusive, "24:00" is the end of the day.
Period = Annotated[str, AfterValidator(_check_period)]
Day = Annotated[tuple[Period, ...], Field(max_length=6, description="up to 6 periods")]

ALWAYS: tuple[Period, ...] = ("00:00-24:00",)


class WeeklySchedule(Section):
    """Up to 6 periods a day, in the site's time zone. `holiday` replaces the weekday's row on holidays, when given."""

    monday: Day = ALWAYS
    """Up to 6 periods HH:MM-HH:MM; empty: never. A day that is not named: all day."""
    tuesday: Day = ALWAYS
    wednesday: Day = ALWAYS
    thursday: Day = ALWAYS
    friday: Day = ALWAYS
    saturday: Day = ALWAYS
    sunday: Day = ALWAYS
    holiday: Day | None = None
    """On holidays, instead of the weekday's; null: the weekday's."""

    def evaluable(self, holidays: Sequence[Holiday], zone: ZoneInfo) -> domain.Schedule:
        """As `shared.domain.schedule` evaluates it."""
        week = (self.monday, self.tuesday, self.wednesday, self.thursday, self.friday, self.saturday, self.sunday)
        return domain.Schedule(
            days=tuple(_periods(day) for day in week),
            zone=zone,
            holiday=None if self.holiday is None else _periods(self.holiday),
            holidays=tuple(holiday.evaluable() for holiday in holidays),
        )


def _periods(day: tuple[Period, ...]) -> tuple[domain.Period, ...]:
    return tuple(domain.Period(_minutes(text[:5]), _minutes(text[6:])) for text in day)


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _check_date(text: str) -> str:
    if not _DATE.match(text):
        raise ValueError(f"{text!r} is not YYYY-MM-DD (once) or MM-DD (every year)")
    try:
        date.fromisoformat(text if len(text) == 10 else f"2000-{text}")  # a leap year: 02-29 is a day
    except ValueError as error:
        raise ValueError(f"{text!r} is no day of the calendar") from error
    return text


HolidayDate = Annotated[str, AfterValidator(_check_date)]


class Holiday(Section):
    """A named date or range of dates, both ends included; `YYYY-MM-DD` once, `MM-DD` every year."""

    name: str
    """What people call it."""
    first: HolidayDate
    """YYYY-MM-DD (once) or MM-DD (every year)."""
    last: HolidayDate | None = None
    """Likewise, included; null: one day."""

    @model_validator(mode="after")
    def _same_form(self) -> Self:
        if self.last is not None and len(self.last) != len(self.first):
            raise ValueError("first and last must both be YYYY-MM-DD or both MM-DD")
        return self

    def evaluable(self) -> domain.OnceHoliday | domain.YearlyHoliday:
        """As `shared.domain.schedule` evaluates it."""
        last = self.last or self.first
        if len(self.first) == 10:
            return domain.OnceHoliday(date.fromisoformat(self.first), date.fromisoformat(last))
        return domain.YearlyHoliday(_month_day(self.first), _month_day(last))


def _month_day(text: str) -> domain.MonthDay:
    return domain.MonthDay(int(text[:2]), int(text[3:]))
