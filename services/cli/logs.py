"""Where the log of a running site goes: all of it into a file in the data folder, warnings to the terminal too."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

from shared.domain.errors import ConfigError
from shared.obs.logging import configure

#: Ten files of this size at most.
FILE_BYTES = 10 * 2**20
FILES = 10


def start_logging(data_dir: Path | None, *, verbose: bool = False, json: bool = False) -> Path | None:
    """Set logging up for a command.

    Args:
        data_dir: the log file is `log/vedette.log` in it; None: no file.
        verbose: everything to the terminal too, not only warnings.
        json: one JSON object a line on standard error, everything (containers).

    Raises:
        ConfigError: the file cannot be written.
    """
    configure(level="INFO", json=json)
    (terminal,) = logging.getLogger().handlers
    if not verbose and not json:
        terminal.setLevel(logging.WARNING)
    if data_dir is None:
        return None
    path = data_dir / "log" / "vedette.log"
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
