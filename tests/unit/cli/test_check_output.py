"""What `vedette check` tells of problems, and which of them make it fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.check import Problem, check_site, dead_letters, print_dead_letters, print_problems
from shared.bus.embedded import EmbeddedBus
from shared.config.load import parse_site
from shared.domain.clock import ManualClock
from shared.messages import DeadLetter
from shared.topics import DEAD_LETTERS

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


def test_a_store_whose_first_start_was_cut_off_is_in_order(tmp_path: Path) -> None:
    """Databases without tables, no object store yet."""
    (tmp_path / "data" / "db").mkdir(parents=True)
    for name in ("catalogue", "alarms"):
        (tmp_path / "data" / "db" / f"{name}.sqlite").touch()
    assert check_site(parse_site("data_dir: data", base_dir=tmp_path), ManualClock(), deep=True) == []


async def test_dead_letters_are_named_and_do_not_make_it_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = parse_site("data_dir: data\nsite: {time_zone: Europe/Paris}", base_dir=tmp_path)
    assert dead_letters(site).lines == []
    bus = EmbeddedBus(ManualClock(), tmp_path / "data")
    await bus.start()
    letter = DeadLetter(origin="segments/3/17", reason="no key frame, from rtsp://u:geheim@cam/1", at_ns=1, raw=b"12345")
    await bus.publish(DEAD_LETTERS, letter)
    await bus.stop()
    print_dead_letters(dead_letters(site))
    out = capsys.readouterr().out
    assert "1 message that no service could handle" in out
    assert "2023-11-14 23:13:20: segments/3/17 (5 bytes): no key frame, from rtsp://u:***@cam/1" in out
    assert "data_dir/dead-letters" in out
