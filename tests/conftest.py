"""Fixtures that tests of several services share: servers that are started once."""

from tests.support.kafka import broker
from tests.support.postgres import postgres

__all__ = ["broker", "postgres"]
