"""The page of metrics says what is declared, and names follow one scheme."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.metrics_page import PARTS, page, part_of
from shared.obs.metrics import DECLARED, UNITS, Declared, exposition

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


def test_the_page_is_what_the_modules_declare() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m services.cli.metrics_page docs/observability.md"


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric.name)
def test_names_follow_one_scheme(metric: Declared) -> None:
    assert part_of(metric) in PARTS
    assert not metric.help[0].islower()
    assert len(metric.labels) <= 2
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert metric.kind != "histogram" or metric.unit in UNITS


def test_the_process_tells_its_cpu_and_memory() -> None:
    text = exposition().decode()
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "vedette_reader_lag_messages"):
        assert f"# HELP {name} " in text
