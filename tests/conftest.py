"""Fixtures that tests of several services share: servers that are started once."""

from tests.support.postgres import postgres

__all__ = ["postgres"]
