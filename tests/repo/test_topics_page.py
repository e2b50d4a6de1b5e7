"""The page of topics is what `shared/topics.py` says."""

from __future__ import annotations

from pathlib import Path

from services.cli.topics_page import page
from shared.topics import ALL

PAGE = Path(__file__).parents[2] / "docs" / "topics.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m services.cli.topics_page docs/topics.md"


def test_every_topic_and_every_field_is_on_it() -> None:
    for topic in ALL:
        section = page().split(f"\n## {topic.name}\n")[1].split("\n## ")[0]
        for name in topic.message.model_fields:
            assert f"| `{name}` |" in section


def test_topics_are_named_once_and_have_partitions_that_keep_channels_together() -> None:
    assert len({topic.name for topic in ALL}) == len(ALL)
    assert len({topic.partitions for topic in ALL if topic.partitions > 1}) == 1
