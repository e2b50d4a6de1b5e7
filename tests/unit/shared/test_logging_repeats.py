"""What a library says again and again is told now and then, with how often it was not; what we say is told each time."""

from __future__ import annotations

import logging

from hypothesis import given
from hypothesis import strategies as st

from shared.obs.logging import REPEAT_WINDOW_S, REPEATS, SORTS, Repeats


def line(
    at_s: float, *, name: str = "aiokafka.client", text: str = "Unable connect to node with id %s: %s", number: int = 1
) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, text, (number, "refused"), None)
    record.created = at_s
    return record


def test_a_library_in_trouble_is_heard_three_times_a_minute() -> None:
    repeats = Repeats()
    lines = [line(second / 100, number=second) for second in range(100 * 150)]
    passed = [record for record in lines if repeats.filter(record)]
    assert [round(record.created) for record in passed] == [0, 0, 0, 60, 60, 60, 120, 120, 120]
    assert [getattr(record, "left_out", None) for record in passed] == [None, None, None, 5997, None, None, 5997, None, None]


def test_lines_of_other_sorts_and_ours_are_not_held_up() -> None:
    repeats = Repeats()
    assert sum(repeats.filter(line(0.0)) for _ in range(100)) == REPEATS
    assert repeats.filter(line(0.0, text="Unable to update metadata from %s %s"))
    assert repeats.filter(line(0.0, name="faust"))
    assert all(repeats.filter(line(0.0, name=name)) for name in ("services.ingest.app", "shared.bus.kafka") for _ in range(100))


@given(st.lists(st.tuples(st.floats(0, 600), st.integers(0, 2 * SORTS)), max_size=300))
def test_nothing_new_is_left_out_and_what_is_remembered_is_bounded(said: list[tuple[float, int]]) -> None:
    repeats, known = Repeats(), set()
    for at_s, sort in said:  # also with a clock that is set back
        passed = repeats.filter(line(at_s, text=f"sort {sort}: %s %s"))
        assert passed or sort in known
        known.add(sort)
    assert len(repeats._sorts) <= SORTS


def test_after_the_window_it_is_heard_again() -> None:
    repeats = Repeats()
    assert [repeats.filter(line(0.0)) for _ in range(REPEATS + 1)][-1] is False
    assert repeats.filter(line(REPEAT_WINDOW_S))
