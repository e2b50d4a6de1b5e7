"""`shared/topics.py` names as readers and writers of a topic the services that do read and write it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shared.topics
from shared.topics import ALL, CONFIG, DEAD_LETTERS, EVENTS, Topic

SERVICES = Path(__file__).parents[2] / "services"
CONSTANTS = {name: value.name for name, value in vars(shared.topics).items() if isinstance(value, Topic)}
#: Calls that subscribe, and calls whose first argument is the topic that is written to.
#: Read by people; followed for whatever service runs in a process (`shared/config_feed`).
NOT_BY_SERVICES = (DEAD_LETTERS, CONFIG)
SUBSCRIBES, WRITES = {"handle", "consumer"}, {"publish", "enqueue", "Outgoing"}


def called(node: ast.AST) -> str:
    """The name of the function that a node calls, or empty."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""


def topics_of(node: ast.AST) -> Iterator[tuple[ast.Name, str]]:
    for name in ast.walk(node):
        if isinstance(name, ast.Name) and name.id in CONSTANTS:
            yield name, CONSTANTS[name.id]


def uses() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Topic -> services: those that subscribe, those that write by name.

    A module that subscribes reads every topic that it names other than to write to it.
    """
    readers: dict[str, set[str]] = defaultdict(set)
    writers: dict[str, set[str]] = defaultdict(set)
    for path in SERVICES.rglob("*.py"):
        service, tree = path.relative_to(SERVICES).parts[0], ast.parse(path.read_text(encoding="utf-8"))
        written = {name: topic for call in ast.walk(tree) if called(call) in WRITES for name, topic in topics_of(call)}
        for topic in written.values():
            writers[topic].add(service)
        if any(called(call) in SUBSCRIBES for call in ast.walk(tree)):
            for name, topic in topics_of(tree):
                if name not in written:
                    readers[topic].add(service)
    return readers, writers


@pytest.mark.parametrize("topic", [topic for topic in ALL if topic not in NOT_BY_SERVICES], ids=lambda topic: topic.name)
def test_readers_are_those_that_subscribe(topic: Topic[Any]) -> None:
    assert sorted(topic.readers) == sorted(uses()[0][topic.name])


@pytest.mark.parametrize("topic", [topic for topic in ALL if topic is not DEAD_LETTERS], ids=lambda topic: topic.name)
def test_who_writes_is_named(topic: Topic[Any]) -> None:
    assert uses()[1][topic.name] <= set(topic.writers)


def test_whoever_reports_exceptions_writes_events() -> None:
    reports = {"raise_", "clear", "tell"}
    found = {
        path.relative_to(SERVICES).parts[0]
        for path in SERVICES.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if called(call) in reports and "reporter" in ast.unparse(call.func).lower()  # type: ignore[attr-defined]  # a Call
    }
    assert found <= set(EVENTS.writers)
