"""Entry point of the `vedette` command: light, so that Ctrl-C is quiet also while the rest is still being imported."""

from __future__ import annotations

import os

#: What a shell expects of a process that SIGINT ended.
KILLED_BY_SIGINT = 130


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback."""
    try:
        from services.cli.main import main as command

        command()
    except KeyboardInterrupt:
        os._exit(KILLED_BY_SIGINT)  # before a command has begun: there is nothing to close


if __name__ == "__main__":
    main()
