"""alembic's environment for the database of orders."""

from __future__ import annotations

from alembic import context

from producers.store.migrating import run_environment

run_environment(context)
