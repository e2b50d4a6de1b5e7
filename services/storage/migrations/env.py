"""Alembic's entry: the schema of the catalogue, on the connection that `shared.db.migrate` holds."""

from services.storage.adapters.tables import metadata
from shared.db.migrate import run_in_env

run_in_env(metadata)
