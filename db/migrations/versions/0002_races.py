"""Asynchronous searches, races, and limits that change while a search runs: three more tables.

Revision: 0002. Nothing that was there is altered: SQLite cannot change a table that others refer to.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _asks()
    _limits()
    _races()


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
        sa.Column("rival_id", KEY, nullable=False),
        sa.Column("dropped", sa.Boolean),
        sa.Column("fitness", sa.Double),
        sa.Column("fitness_stderr", sa.Double),
        sa.Column("violation", sa.Double),
        sa.PrimaryKeyConstraint("evaluation_id", name="pk_races"),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], name="fk_races_evaluations"),
        sa.ForeignKeyConstraint(["rival_id"], ["evaluations.id"], name="fk_races_rivals"),
        sa.CheckConstraint("evaluation_id <> rival_id", name="ck_races_rival"),
        sa.CheckConstraint("fitness IS NULL OR COALESCE(dropped, FALSE)", name="ck_races_estimate"),
    )
