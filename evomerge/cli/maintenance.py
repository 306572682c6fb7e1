"""`schema` and `db`: for editors and administrators."""

import typer

from evomerge.cli.options import FormatOption, StoreOption
from evomerge.cli.output import Format, note, print_json

db = typer.Typer(help="The database: bring it to this version, or ask for its version.")


def schema() -> None:
    """Print the JSON schema of search files, with which editors complete and check them."""
    from evomerge.spec import SearchSpec

    content = SearchSpec.model_json_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **content})


@db.command("upgrade")
def upgrade(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """Bring a database to this version; makes it where there is none."""
    from evomerge.store import upgrade as upgrade_store

    upgrade_store(store)
    version(store, format)


@db.command("version")
def version(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """The version of a database's schema."""
    from evomerge.store import current_revision

    revision = current_revision(store)
    if format is Format.JSON:
        print_json({"revision": revision})
    else:
        note("there is no schema yet: evomerge db upgrade" if revision is None else revision)
