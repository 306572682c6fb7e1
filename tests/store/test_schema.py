"""Migrations, models and the golden file say the same."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, inspect

from evomerge.resources import resource_folder
from evomerge.store import open_store
from evomerge.store.golden import golden_file, schema_of_migrations, schema_of_models
from evomerge.store.schema import REVISIONS, VERSION_TABLE, Base


def test_migrations_models_and_golden_file_agree():
    golden = golden_file().read_text(encoding="utf-8")
    assert schema_of_migrations() == golden, "run `python -m evomerge.store.golden`"
    assert schema_of_models() == golden


def test_migrations_and_models_agree_on_every_database(any_url):
    store = open_store(any_url)
    with store._engine.connect() as db:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(db, opts=options), Base.metadata) == []
        for table in Base.metadata.sorted_tables:
            found = {check["name"] for check in inspect(db).get_check_constraints(table.name)}
            wanted = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
            assert found == wanted
    store.close()


def test_the_known_revisions_are_the_migrations_in_order():
    config = Config()
    config.set_main_option("script_location", str(resource_folder("db") / "migrations"))
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(walked)) == REVISIONS


def test_no_migration_depends_on_todays_models():
    for script in (resource_folder("db") / "migrations" / "versions").glob("*.py"):
        assert "evomerge" not in "".join(
            line for line in script.read_text(encoding="utf-8").splitlines() if "import" in line
        )
