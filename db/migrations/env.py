"""Alembic's entry: runs the scripts in `versions/` on the connection that evomerge hands over.

Everything happens in the caller's transaction, also on SQLite, whose DDL is transactional once
Python's driver keeps out of it (evomerge/store/connection.py).
"""

from alembic import context

attributes = context.config.attributes
if "connection" not in attributes:
    raise SystemExit("run `evomerge db upgrade`; alembic's own command line is not used here")

context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
