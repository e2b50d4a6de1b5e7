"""Where the states of channels are kept, as configured."""

from __future__ import annotations

import os
import socket

from services.analytics.adapters.state_store import StateFiles
from services.analytics.state import StateStore
from shared.service import Runtime


def open_states(runtime: Runtime) -> StateStore:
    """In the database where one is configured: then workers can take channels over from each other. Else files of this process.

    Raises:
        ConfigError: the database's URL is none.
    """
    if runtime.site.database.url is None:
        return StateFiles(runtime.data_dir / "analytics")
    from services.analytics.adapters.state_table import StateTable
    from shared.db.engine import database_url

    url = database_url(runtime.site.database, runtime.data_dir, "analytics")
    return StateTable(url, runtime.clock, owner=f"{socket.gethostname()}/{os.getpid()}")
