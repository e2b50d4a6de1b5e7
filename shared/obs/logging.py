"""The one logger: structlog, to standard error, without secrets. Modules do `log = structlog.get_logger(__name__)`."""

from __future__ import annotations

import logging
import os
import sys
from collections import OrderedDict
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.domain.errors import ConfigError
from shared.domain.redact import redact
from shared.obs.metrics import counter

#: The environment's say about the level, for who looks for a fault: `DEBUG` has a line for every frame.
LEVEL_VARIABLE = "VEDETTE_LOG_LEVEL"

LOST_LINES = counter("log_lines_lost_total", "Log lines that could not be written")


#: Libraries may say the same so often in so many seconds; of so many sorts of lines it is known how often.
REPEATS, REPEAT_WINDOW_S, SORTS = 3, 60.0, 256
_OURS = ("services", "shared")


class Repeats(logging.Filter):
    """What libraries say again and again while a server is away (aiokafka: 200 lines a second in each process) does not bury the rest.

    Lines of one sort, that is of one place in a library's code, pass three times a minute; the next that passes says in `left_out` how
    many did not. Ours pass all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sorts: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()  # since when (UTC seconds), and how many since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line passes."""
        if record.name.partition(".")[0] in _OURS:
            return True
        sort = (record.name, str(record.msg))
        since_s, said = self._sorts.pop(sort, (record.created, 0))
        if not 0 <= record.created - since_s < REPEAT_WINDOW_S:
            if said > REPEATS:
                record.left_out = said - REPEATS
            since_s, said = record.created, 0
        self._sorts[sort] = since_s, said + 1
        if len(self._sorts) > SORTS:
            self._sorts.popitem(last=False)
        return said < REPEATS


def _redact_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}


class LineHandler(logging.StreamHandler[TextIO]):
    """Lines to a stream that may go away (a pipe whose reader ended, a lost terminal, a full disk): they are dropped and counted in
    `vedette_log_lines_lost_total`; whoever logs never gets to know."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        """The standard way writes to the very stream that is broken, and raises when that is closed."""
        LOST_LINES.inc()
        if not self.stream.closed and not isinstance(sys.exc_info()[1], OSError):  # a line that could not be made is a fault of ours
            super().handleError(record)


def _wanted_level(level: str) -> str:
    wanted = os.environ.get(LEVEL_VARIABLE, "").strip().upper() or level
    if wanted not in logging.getLevelNamesMapping():
        raise ConfigError(f"{wanted!r} is no log level", where=LEVEL_VARIABLE, hint="DEBUG, INFO, WARNING or ERROR")
    return wanted


def configure(*, level: str = "INFO", json: bool = False) -> None:
    """Set logging up, once, from the command's start. Standard-library loggers (libraries) go the same way.

    Args:
        level: of ours, where `VEDETTE_LOG_LEVEL` does not say otherwise; libraries log from WARNING up.
        json: one JSON object a line (containers) instead of lines for people.

    Raises:
        ConfigError: `VEDETTE_LOG_LEVEL` is no level.
    """
    level = _wanted_level(level)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Exceptions become text before redaction, so that a traceback shows no password either.
    tail: list[Processor] = [structlog.processors.format_exc_info, _redact_values]
    renderer: Processor = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = LineHandler(sys.stderr)
    handler.addFilter(Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
