"""Alembic's entry: the schema of the channels' states, on the connection that `shared.db.migrate` holds."""

from services.analytics.adapters.state_table import metadata
from shared.db.migrate import run_in_env

run_in_env(metadata)
