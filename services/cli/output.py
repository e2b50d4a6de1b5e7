"""What people see: the two consoles, errors as one clear line, progress bars."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_log_path
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from shared.domain.clock import Clock
from shared.domain.errors import ConfigInvalid, VedetteError
from shared.domain.redact import redact


class Terminal(Console):
    """A console that may go away (`vedette run | head`, a lost session): what nobody can read is dropped, and the recorder goes on."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process."""
        self.quiet = True
        with suppress(OSError):  # so that what the stream still holds makes no error at the end
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.file.fileno())
            os.close(null)

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()


OUT = Terminal(highlight=False, soft_wrap=True)
ERR = Terminal(stderr=True, highlight=False, soft_wrap=True)

#: Called with what is being done, units done, units in all (0: not known).
Report = Callable[[str, int, int], None]


def say(text: str, *, style: str = "") -> None:
    """A line on standard output, markup taken as it is."""
    OUT.print(Text(text, style=style))


def count(number: int, noun: str) -> str:
    """`1 channel`, `2 channels`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def tell_error(error: VedetteError) -> None:
    """What is wrong, where, and what to do, without a traceback."""
    if isinstance(error, ConfigInvalid):
        for problem in error.problems:
            ERR.print(Text(redact(problem)))
        ERR.print(Text(f"{count(len(error.problems), 'problem')} in {error.where}", style="bold red"))
        return
    ERR.print(Text.assemble(("error: ", "bold red"), redact(str(error))))


def write_crash(error: BaseException, clock: Clock) -> Path | None:
    """Keep the traceback of an unexpected error, without secrets; None when even that is not possible."""
    path = user_log_path("vedette", appauthor=False) / "crash.log"
    text = redact("".join(traceback.format_exception(error)))
    when = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).isoformat(timespec="seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"--- {when}\n{text}\n")
    except OSError:
        return None
    return path


@contextmanager
def step_bar() -> Iterator[Callable[[str, float | None], None]]:
    """One bar for work in steps: each step has a few words and a share 0..1, or None while that is not known. Thread-safe."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=ERR) as progress:
        task: list[tuple[str, TaskID]] = []

        def report(what: str, share: float | None) -> None:
            if not task or task[-1][0] != what:
                if task:
                    progress.update(task[-1][1], total=1.0, completed=1.0)
                task.append((what, progress.add_task(what, total=None)))
            progress.update(task[-1][1], total=None if share is None else 1.0, completed=share or 0.0)

        yield report
        if task:
            progress.update(task[-1][1], total=1.0, completed=1.0)


@contextmanager
def progress_bars() -> Iterator[Report]:
    """Bars that a long piece of work reports to; each thing that is named gets its own. Thread-safe."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=ERR) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total or None)
            progress.update(tasks[what], completed=done, total=total or None)

        yield report
        for task in progress.tasks:  # it ended well: what reported its last steps coarsely is complete too
            progress.update(task.id, total=task.total or 1, completed=task.total or 1)
