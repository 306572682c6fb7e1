"""A study's tables in the terminal."""

from evomerge.cli.output import print_table
from evomerge.study.tables import Tables
from evomerge.study.words import tables_of


def print_study(tables: Tables) -> None:
    """All of them, one below the other."""
    for table in tables_of(tables):
        right = table.columns[table.names :]
        print_table(table.columns, table.rows, title=table.title, right=right)
