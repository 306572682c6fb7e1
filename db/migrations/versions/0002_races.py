"""Asynchronous searches, races, and limits that change while a search runs: three more tables.

Revision: 0002. No table that was there is altered: SQLite cannot change one that others refer to.
Searches of before go on as they began: generation by generation, every candidate on all documents.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _asks()
    _limits()
    _races()
    _indexes()
    _continue_as_before()


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was made before the upgrade")


def _asks() -> None:
    op.create_table(
        "asks",
        sa.Column("candidate_id", KEY, nullable=False),
        sa.Column("tells", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("candidate_id", name="pk_asks"),
        sa.CheckConstraint("tells >= 0", name="ck_asks_tells"),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidates.id"], name="fk_asks_candidates"),
    )


def _limits() -> None:
    op.create_table(
        "limits",
        sa.Column("search_id", sa.Text, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("search_id", name="pk_limits"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_limits_searches"),
    )


def _races() -> None:
    op.create_table(
        "races",
        sa.Column("evaluation_id", KEY, nullable=False),
        sa.Column("search_id", sa.Text, nullable=False),
        sa.Column("rival_id", KEY, nullable=False),
        sa.Column("dropped", sa.Boolean),
        sa.Column("fitness", sa.Double),
        sa.Column("fitness_stderr", sa.Double),
        sa.Column("violation", sa.Double),
        sa.PrimaryKeyConstraint("evaluation_id", name="pk_races"),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], name="fk_races_evaluations"),
        sa.ForeignKeyConstraint(["rival_id"], ["evaluations.id"], name="fk_races_rivals"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_races_searches"),
        sa.CheckConstraint("evaluation_id <> rival_id", name="ck_races_rival"),
        sa.CheckConstraint("fitness IS NULL OR COALESCE(dropped, FALSE)", name="ck_races_estimate"),
    )
    op.create_index("ix_races_search_id_dropped", "races", ["search_id", "dropped"])


def _indexes() -> None:
    columns = ["search_id", "split"]
    op.create_index("ix_evaluations_progress", "evaluations", [*columns, "status"])
    op.create_index("ix_evaluations_ranked", "evaluations", [*columns, "violation", "fitness"])


def _continue_as_before() -> None:
    """Write down what earlier versions did without saying so."""
    db = op.get_bind()
    db.execute(
        sa.text(
            "INSERT INTO asks (candidate_id, tells) "
            "SELECT c.id, (SELECT COUNT(*) FROM candidates o WHERE o.search_id = c.search_id "
            "AND o.origin = 'search' AND o.generation < c.generation) "
            "FROM candidates c WHERE c.generation IS NOT NULL"
        )
    )
    for search_id, text in db.execute(sa.text("SELECT id, spec FROM searches")).all():
        spec = json.loads(text)
        spec["racing"] = {"enabled": False}
        spec["strategy"]["asynchronous"] = False
        values = {"id": search_id, "spec": json.dumps(spec, separators=(",", ":"))}
        db.execute(sa.text("UPDATE searches SET spec = :spec WHERE id = :id"), values)
