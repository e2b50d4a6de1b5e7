"""What a process that a test starts says on standard output, a line at a time; its log goes to standard error."""

from __future__ import annotations

import sys

import structlog


def only_what_is_said() -> None:
    """Keep the log out of standard output, where the test reads what the process says. For the main module of a process."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
