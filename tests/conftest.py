"""Fixtures that tests of several services share: servers that are started once."""

from __future__ import annotations

import signal
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, settings

from tests.support.kafka import broker, composed_broker, own_broker
from tests.support.postgres import postgres

__all__ = ["broker", "composed_broker", "own_broker", "postgres"]


settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # machines are shared: time says nothing of what is tested


def pytest_configure() -> None:
    """Where tests run in the background of a script, or under nohup, signals are ignored, and what they start would inherit that."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Whatever asks for a server belongs to `make test-integration`."""
    for item in items:
        if {"broker", "composed_broker", "own_broker", "postgres"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
