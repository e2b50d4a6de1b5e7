"""Fetch and build now what tests would at their first run, so that no test waits for a network.

    python -m tests.support.fetch [detector] [objects] [broker] [compose]    (all when none is named)

What this machine cannot have (there is no Go, no Java, no way to the weights) is told; its tests are skipped.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from services.analytics.adapters.engines import prepare
from shared.config.services import AnalyticsConfig
from shared.domain.errors import ModelError
from tests.support import compose, kafka, minio

PARTS: dict[str, Callable[[], object]] = {
    "detector": lambda: prepare(AnalyticsConfig()),
    "objects": minio.binary,
    "broker": kafka.jars,
    "compose": compose.reference,
}


def main() -> None:
    failed = []
    for name in sys.argv[1:] or PARTS:
        sys.stdout.write(f"Fetching for the tests, where it is not here yet: {name}\n")
        sys.stdout.flush()
        try:
            PARTS[name]()
        except (pytest.skip.Exception, kafka.KafkaMissing, ModelError) as missing:
            sys.stdout.write(f"{name}: not here: {missing}\n")
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            failed.append(f"{name}: {error}")
    sys.exit("\n".join(failed) or None)


if __name__ == "__main__":
    main()
