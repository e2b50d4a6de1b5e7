"""The process that fetches and exports for the service: `python -m services.analytics.adapters.prepare_process CONFIG`.

It is a process since nothing else can be stopped at any moment: a download, a package installer, torch. On its output it tells what it
does, a JSON object per line: {"what", "share"}, at the end {"file"} or {"error", "where", "hint"}. It ends, and removes what is not whole,
at SIGTERM and when its input closes: then whoever started it has gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import NoReturn

from services.analytics.adapters.engines import model_file
from shared.config.services import AnalyticsConfig
from shared.domain.errors import ModelError


def _say(**told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(1)


def _watch_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(config: AnalyticsConfig) -> None:
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_watch_input, name="input", daemon=True).start()
    try:
        _say(file=str(model_file(config, lambda what, share: _say(what=what, share=share))))
    except ModelError as error:
        _say(error=error.what, where=error.where, hint=error.hint)


if __name__ == "__main__":
    main(AnalyticsConfig.model_validate_json(sys.argv[1]))
