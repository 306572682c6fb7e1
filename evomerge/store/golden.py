"""`python -m evomerge.store.golden` writes `db/schema.sql`, the schema as SQLite sees it.

The file is for people to read and for a test to compare: migrations, models and file agree.
"""

import tempfile
from pathlib import Path

from sqlalchemy import Connection, text

from evomerge.resources import resource_folder
from evomerge.store.connection import make_engine, resolve_url
from evomerge.store.migrate import upgrade
from evomerge.store.schema import REVISIONS, VERSION_TABLE, Base
from evomerge.store.transactions import transact

_HEADER = f"""\
-- The schema of the store at revision {REVISIONS[-1]}, on SQLite. Written by
-- `python -m evomerge.store.golden` from db/migrations; do not edit. What tables and columns mean is
-- said in evomerge/store/schema.py.
"""


def golden_file() -> Path:
    """Where the golden schema lies."""
    return resource_folder("db") / "schema.sql"


def schema_of_migrations() -> str:
    """The schema that the migrations make in an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        url = str(Path(folder) / "store.db")
        upgrade(url)
        return _dump(url)


def schema_of_models() -> str:
    """The schema that the models alone would make."""
    with tempfile.TemporaryDirectory() as folder:
        url = str(Path(folder) / "store.db")
        engine = make_engine(resolve_url(url), 30.0)
        transact(engine, Base.metadata.create_all, writes=True, patience=30.0)
        engine.dispose()
        return _dump(url)


def _dump(url: str) -> str:
    engine = make_engine(resolve_url(url), 30.0)
    try:
        return transact(engine, _statements, writes=False, patience=30.0)
    finally:
        engine.dispose()


def _statements(db: Connection) -> str:
    query = text(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> :version "
        "ORDER BY tbl_name, type DESC, name"
    )
    statements = db.scalars(query, {"version": VERSION_TABLE})
    return _HEADER + "".join(f"\n{_tidy(statement)};\n" for statement in statements)


def _tidy(statement: str) -> str:
    return "\n".join(line.rstrip() for line in statement.replace("\t", "    ").splitlines())


if __name__ == "__main__":
    golden_file().write_text(schema_of_migrations(), encoding="utf-8")
