"""Where the log of a running site goes: all of it into a file in the data folder, warnings to the terminal too."""

from __future__ import annotations

import errno
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import TextIO

from shared.domain.errors import ConfigError
from shared.obs.logging import configure

#: Ten files of this size at most.
FILE_BYTES = 10 * 2**20
FILES = 10


#: Loggers whose lines people are told in another way: exceptions as alarms; cameras that come and go, services that do not start, and a
#: bus that is away by `vedette run` itself.
_TOLD_OTHERWISE = frozenset({
    "shared.report", "services.cli.wiring", "services.ingest.channel", "services.ingest.handover", "shared.bus.kafka",
})  # fmt: skip
_LIBRARIES_TOLD_OTHERWISE = frozenset({"aiokafka"})


def _untold(record: logging.LogRecord) -> bool:
    return record.name not in _TOLD_OTHERWISE and record.name.partition(".")[0] not in _LIBRARIES_TOLD_OTHERWISE


class _Terminal(logging.StreamHandler[TextIO]):
    """Warnings as single lines; tracebacks are in the file."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__(sys.stderr)
        self.setLevel(logging.WARNING)
        self.setFormatter(formatter)
        self.addFilter(_untold)

    def format(self, record: logging.LogRecord) -> str:
        line = logging.makeLogRecord(record.__dict__)
        line.exc_info = line.exc_text = None
        if isinstance(line.msg, dict):  # structlog's event
            line.msg = {key: value for key, value in line.msg.items() if key not in ("exc_info", "exception")}
        return super().format(line)


def _make_data_dir(data_dir: Path) -> None:
    """The log is the first thing that is written; where nothing can be, the setting to change is `data_dir`."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data_dir, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        hint = "choose another `data_dir`, or give this user write access to it"
        what = f"the data folder {data_dir} cannot be made or written: {error.strerror}"
        raise ConfigError(what, where="data_dir", hint=hint) from error


def start_logging(data_dir: Path | None, *, verbose: bool = False, json: bool = False) -> Path | None:
    """Set logging up for a command.

    Args:
        data_dir: the log file is `log/vedette.log` in it; None: no file.
        verbose: everything to the terminal too, not only warnings.
        json: one JSON object a line on standard error, everything (containers).

    Raises:
        ConfigError: the data folder or the file cannot be written.
    """
    configure(level="INFO", json=json)
    (terminal,) = logging.getLogger().handlers
    if not verbose and not json:
        terminal = _Terminal(terminal.formatter)
        logging.getLogger().handlers[:] = [terminal]
    if data_dir is None:
        return None
    path = data_dir / "log" / "vedette.log"
    _make_data_dir(data_dir)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = logging.handlers.RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
    except OSError as error:
        hint = "choose another `data_dir`, or give this user write access to it"
        raise ConfigError(f"the log cannot be written: {error.strerror}", where=str(path), hint=hint) from error
    configure(level="INFO", json=True)  # the file's lines are for machines; people read the terminal
    (as_json,) = logging.getLogger().handlers
    file.setFormatter(as_json.formatter)
    logging.getLogger().handlers[:] = [terminal, file]
    return path
