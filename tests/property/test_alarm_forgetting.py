"""The time by which the alarm book forgets, over clocks that are set, restarts and time off."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from services.alarms.core.forgetting import CATCH_UP, reached_ns
from shared.domain.clock import NS_PER_S

HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
BASE_NS = 1_700_000_000 * NS_PER_S
NEVER_SET = st.just(-54 * 365 * DAY_NS)  # 1970


@dataclass(frozen=True)
class Stretch:
    """Off for a while, then running with a clock that is wrong by `wrong_ns`: something is looked for at the start, and each hour."""

    off_ns: int
    wrong_ns: int
    hours: int


def stretches(wrong_ns: st.SearchStrategy[int]) -> st.SearchStrategy[list[Stretch]]:
    return st.lists(st.builds(Stretch, st.integers(0, 90 * DAY_NS), wrong_ns, st.integers(0, 100)), min_size=1, max_size=8)


def by_times(course: list[Stretch], mark_ns: int | None = None) -> list[tuple[int, int, int]]:
    """(true time, by which time something is forgotten, the mark) each time that it is looked."""
    true_ns, looked = BASE_NS, []
    for stretch in course:
        true_ns += stretch.off_ns
        for hour in range(stretch.hours + 1):
            true_ns += HOUR_NS if hour else 0
            mark_ns = reached_ns(true_ns + stretch.wrong_ns, mark_ns, HOUR_NS if hour else 0)
            looked.append((true_ns, min(true_ns + stretch.wrong_ns, mark_ns), mark_ns))
    return looked


@given(course=stretches(st.just(0) | NEVER_SET))
def test_nothing_is_forgotten_early_by_a_clock_that_is_right_or_was_never_set(course: list[Stretch]) -> None:
    assert all(by_ns <= true_ns for true_ns, by_ns, _ in by_times(course))


@given(course=stretches(st.just(0) | NEVER_SET), ahead_ns=st.integers(2 * DAY_NS, 10_000 * DAY_NS), hours=st.integers(0, 100))
def test_a_clock_that_is_ahead_costs_a_day_for_each_hour_that_it_is(course: list[Stretch], ahead_ns: int, hours: int) -> None:
    looked = by_times([Stretch(0, 0, 0), *course, Stretch(0, ahead_ns, hours)])
    latest_ns = looked[-2 - hours][0]  # the last look with a right clock
    assert all(by_ns <= latest_ns + (CATCH_UP * HOUR_NS + HOUR_NS) * hours + DAY_NS for _, by_ns, _ in looked)


@given(course=stretches(st.integers(-10_000 * DAY_NS, 10_000 * DAY_NS)))
def test_the_mark_never_goes_back(course: list[Stretch]) -> None:
    marks = [mark_ns for *_, mark_ns in by_times(course)]
    assert marks == sorted(marks)


@given(course=stretches(st.just(0)))
def test_what_has_become_old_while_it_was_off_is_forgotten_at_a_rate(course: list[Stretch]) -> None:
    off_ns = sum(stretch.off_ns for stretch in course)
    looked = by_times([Stretch(0, 0, 0), *course, Stretch(0, 0, off_ns // ((CATCH_UP - 1) * HOUR_NS) + 1)])
    true_ns, by_ns, _ = looked[-1]
    assert by_ns == true_ns


@given(offs_ns=st.lists(st.integers(0, DAY_NS), min_size=1, max_size=20))
def test_one_that_never_runs_for_an_hour_forgets_all_the_same(offs_ns: list[int]) -> None:
    looked = by_times([Stretch(0, 0, 0), *(Stretch(off_ns, 0, 0) for off_ns in offs_ns)])
    assert all(by_ns == true_ns for true_ns, by_ns, _ in looked)
