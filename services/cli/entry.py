"""Entry point of the `vedette` command: light, so that Ctrl-C is quiet also while the rest is still being imported."""

from __future__ import annotations

import os
import sys

from services.cli.interrupt import KILLED_BY_SIGINT, interrupt_quietly


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback."""
    interrupt_quietly()
    try:
        if len(sys.argv) == 3 and sys.argv[1] == "health" and not sys.argv[2].startswith("-"):
            from services.cli.health import main as health

            sys.exit(health(sys.argv[2]))  # asked every few seconds in every container: without the rest of the command
        from services.cli.main import main as command

        command()
    except KeyboardInterrupt:
        os._exit(KILLED_BY_SIGINT)  # before a command has begun: there is nothing to close


if __name__ == "__main__":
    main()
