"""What tests fetch once, from networks that break off: it is there whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cache import ATTEMPTS, kept


def broken_off(folder: Path) -> None:
    """As much as a download has written until then."""
    (folder / "tool").write_text("half", encoding="utf-8")
    subprocess.run([sys.executable, "-c", "raise SystemExit(1)"], check=True)


def test_it_is_made_again_after_a_failure_and_once(tmp_path: Path) -> None:
    tried: list[Path] = []

    def make(folder: Path) -> None:
        assert not list(folder.iterdir())
        tried.append(folder)
        if len(tried) < ATTEMPTS:
            broken_off(folder)
        (folder / "tool").write_text("whole", encoding="utf-8")

    with ThreadPoolExecutor(2) as two:
        for place in two.map(lambda _: kept("tool-1", make, folder=tmp_path, pause_s=0), range(2)):
            assert (place / "tool").read_text(encoding="utf-8") == "whole"
    assert len(tried) == ATTEMPTS


def test_what_cannot_be_made_leaves_nothing_that_would_be_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        kept("tool-1", broken_off, folder=tmp_path, pause_s=0)
    assert not list(tmp_path.rglob("tool"))
    assert not (tmp_path / "tool-1").exists()
