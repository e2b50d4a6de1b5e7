"""The capacity page says what the code plans."""

from __future__ import annotations

from pathlib import Path

from services.cli.plan_page import page

PAGE = Path(__file__).parents[2] / "docs" / "capacity.md"


def test_the_page_is_what_the_code_plans() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m services.cli.plan_page docs/capacity.md"
