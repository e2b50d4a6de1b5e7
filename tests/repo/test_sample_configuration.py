"""The commented sample shows every key, and says nothing but the defaults where it says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from shared.config.base import Section
from shared.config.load import load_site, parse_site
from shared.config.sample import EXAMPLES, sample
from shared.config.shape import is_section, plain
from shared.config.site import SiteConfig

FILE = Path(__file__).parents[2] / "deploy" / "site.sample.yml"


def alternatives(text: str) -> dict[str, str]:
    """The commented blocks of other forms, without the comment signs, by their top-level key."""
    blocks: dict[str, list[str]] = {}
    key = ""
    for line in text.splitlines():
        if started := re.match(r"^# ([a-z]+):", line):
            key = started[1]
            blocks[key] = []
        if key and line.startswith("# "):
            blocks[key].append(line[2:])
        else:
            key = ""
    return {key: "\n".join(lines) for key, lines in blocks.items()}


def keys(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from keys(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, path)


def models(annotation: Any, found: set[type[Section]]) -> set[type[Section]]:
    """Every model that a configuration can hold."""
    inner = plain(annotation)
    if is_section(inner):
        if inner not in found:
            found.add(inner)
            for info in inner.model_fields.values():
                models(info.annotation, found)
    else:
        for argument in get_args(inner):
            models(argument, found)
    return found


def test_the_file_is_what_the_command_prints() -> None:
    assert FILE.read_text(encoding="utf-8") == sample(), "write it anew: vedette config sample > deploy/site.sample.yml"


def test_it_is_valid() -> None:
    site = load_site(FILE)
    assert [channel.id for channel in site.channels] == ["front-door"]
    assert {rule.kind for rule in site.channels[0].rules} == {"tripwire", "intrusion", "smd", "people_counting"}


def test_everything_but_the_examples_is_the_default() -> None:
    values = YAML(typ="safe").load(sample())
    for example in EXAMPLES:
        del values[example]
    given = SiteConfig.model_validate(values)
    assert given == SiteConfig()
    written = set(keys(values))
    expected = {path for path in keys(SiteConfig().model_dump(mode="json")) if path[0] not in EXAMPLES}
    assert expected <= written, f"the sample lacks {expected - written}"


def test_optional_keys_of_the_examples_have_their_defaults() -> None:
    given = EXAMPLES["channels"][0]
    channel = load_site(FILE).channels[0]
    for name, info in type(channel).model_fields.items():
        if name not in given:
            assert getattr(channel, name) == info.get_default(call_default_factory=True), name
    for rule, example in zip(channel.rules, given["rules"], strict=True):
        for name, info in type(rule).model_fields.items():
            if name not in example:
                assert getattr(rule, name) == info.get_default(call_default_factory=True), f"{rule.id}.{name}"


def test_no_model_and_no_field_is_missing() -> None:
    text = sample()
    for model in models(SiteConfig, set()):
        for name in model.model_fields:
            assert re.search(rf"(^|[ -]){name}:", text, re.MULTILINE), f"{model.__name__}.{name} is not in the sample"


def test_every_field_says_what_it_means() -> None:
    for model in models(SiteConfig, set()):
        for name, info in model.model_fields.items():
            if name != "kind" and not is_section(plain(info.annotation)):
                described = info.description or name in SiteConfig.model_fields or model.__name__ == "WeeklySchedule"
                assert described, f"{model.__name__}.{name} has no docstring"


@pytest.mark.parametrize("key", ["centres", "bus", "objects", "internal", "storage"])
def test_the_commented_forms_are_valid(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_ACCESS", "S3_SECRET"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("MONITORING_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    monkeypatch.setenv("INTERNAL_TOKEN", "0123456789abcdef")
    site = parse_site(alternatives(sample())[key])
    assert getattr(site, key) != getattr(SiteConfig(), key)
