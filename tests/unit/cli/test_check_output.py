"""What `vedette check` tells of problems, and which of them make it fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.check import Problem, print_problems

WRONG = Problem("storage", "Gate, 2023-11-14 23:13:20 to 23:18:20: its file is missing (S1)")
CUT_OFF = Problem("storage", "Gate, 2023-11-14 23:18:20 to 23:19:00: the recorder was cut off (S8)", repairable=True)


@pytest.mark.parametrize(
    ("problems", "fails", "said", "not_said"),
    [
        ([], False, ["The store is in order."], ["vedette run"]),
        ([CUT_OFF], False, ["repaired at the next start", "Nothing is lost", "`vedette run site.yml` once"], ["1 problem", "in order."]),
        ([WRONG], True, ["1 problem", "its file is missing"], ["vedette run"]),
        ([WRONG, CUT_OFF], True, ["1 problem", "its file is missing", "`vedette run site.yml` once"], ["in order."]),
    ],
)
def test_what_the_next_start_repairs_is_told_apart(
    capsys: pytest.CaptureFixture[str], problems: list[Problem], fails: bool, said: list[str], not_said: list[str]
) -> None:
    assert print_problems(problems, Path("site.yml")) is fails
    out = capsys.readouterr().out
    assert all(part in out for part in said), out
    assert not any(part in out for part in not_said), out
