"""The first tables.

Revision: 0001. Written out in full: a script must go on doing the same when the models have changed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _searches()
    _candidates()
    _evaluations()
    _attempts()
    _task_scores()
    _outcomes()


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was made before the upgrade")


def _searches() -> None:
    op.create_table(
        "searches",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("message", sa.Text),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("base_model", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("versions", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_searches"),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'pausing', 'paused', 'cancelling', 'cancelled', "
            "'finished', 'failed')",
            name="ck_searches_status",
        ),
        sa.CheckConstraint(
            "(lease_owner IS NULL) = (lease_until IS NULL)", name="ck_searches_lease"
        ),
    )
    op.create_index("ix_searches_name", "searches", ["name"])
    op.create_index("ix_searches_scope", "searches", ["scope"])


def _candidates() -> None:
    op.create_table(
        "candidates",
        sa.Column("id", KEY, nullable=False),
        sa.Column("search_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer),
        sa.Column("label", sa.Text),
        sa.Column("recipe_id", sa.Text, nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("genome", sa.Text),
        sa.Column("told", sa.Integer),
        sa.Column("loss", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_candidates"),
        sa.UniqueConstraint("search_id", "number", name="uq_candidates_search_id_number"),
        sa.UniqueConstraint("search_id", "told", name="uq_candidates_search_id_told"),
        sa.UniqueConstraint(
            "id", "search_id", "recipe_id", name="uq_candidates_id_search_id_recipe_id"
        ),
        sa.CheckConstraint("origin IN ('baseline', 'search')", name="ck_candidates_origin"),
        sa.CheckConstraint("number >= 0", name="ck_candidates_number"),
        sa.CheckConstraint("(told IS NULL) = (loss IS NULL)", name="ck_candidates_told"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_candidates_searches"),
    )
    op.create_index("ix_candidates_search_id_recipe_id", "candidates", ["search_id", "recipe_id"])


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        sa.Column("id", KEY, nullable=False),
        sa.Column("candidate_id", KEY, nullable=False),
        sa.Column("search_id", sa.Text, nullable=False),
        sa.Column("recipe_id", sa.Text, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("status", sa.Text),
        sa.Column("copied_from", KEY),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("fitness", sa.Double),
        sa.Column("fitness_stderr", sa.Double),
        sa.Column("violation", sa.Double),
        sa.Column("error_type", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("retryable", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
        sa.UniqueConstraint("candidate_id", "split", name="uq_evaluations_candidate_id_split"),
        sa.ForeignKeyConstraint(
            ["candidate_id", "search_id", "recipe_id"],
            ["candidates.id", "candidates.search_id", "candidates.recipe_id"],
            name="fk_evaluations_candidates",
        ),
        sa.ForeignKeyConstraint(
            ["copied_from"], ["evaluations.id"], name="fk_evaluations_evaluations"
        ),
        sa.CheckConstraint(
            "split IN ('search', 'validation', 'test')", name="ck_evaluations_split"
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'scored', 'failed')", name="ck_evaluations_status"
        ),
        sa.CheckConstraint(
            "(copied_from IS NULL) = (status IS NOT NULL)", name="ck_evaluations_copied"
        ),
        sa.CheckConstraint(
            "copied_from IS NULL OR attempts = 0", name="ck_evaluations_copies_are_not_attempted"
        ),
    )
    op.create_index("ix_evaluations_copied_from", "evaluations", ["copied_from"])
    op.create_index("ix_evaluations_recipe_id_split", "evaluations", ["recipe_id", "split"])
    _partial_unique(
        "uq_evaluations_recipe_once",
        "evaluations",
        ["search_id", "recipe_id", "split"],
        "copied_from IS NULL",
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("evaluation_id", KEY, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("error_type", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("merge_seconds", sa.Double),
        sa.Column("load_seconds", sa.Double),
        sa.Column("forward_seconds", sa.Double),
        sa.Column("overhead_seconds", sa.Double),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("late_scores", sa.Text),
        sa.PrimaryKeyConstraint("evaluation_id", "number", name="pk_attempts"),
        sa.CheckConstraint(
            "status IN ('running', 'scored', 'failed', 'lost', 'late')", name="ck_attempts_status"
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name="fk_attempts_evaluations"
        ),
    )
    for status in ("running", "scored"):
        name = f"uq_attempts_one_{status}"
        _partial_unique(name, "attempts", ["evaluation_id"], f"status = '{status}'")


def _task_scores() -> None:
    op.create_table(
        "task_scores",
        sa.Column("evaluation_id", KEY, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("headline", sa.Boolean, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("stderr", sa.Double),
        sa.Column("n", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", "task", "metric", name="pk_task_scores"),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name="fk_task_scores_evaluations"
        ),
    )
    op.create_index("ix_task_scores_task_headline", "task_scores", ["task", "headline"])


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("evaluation_id", KEY, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("documents", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", "task", name="pk_outcomes"),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name="fk_outcomes_evaluations"
        ),
    )


def _partial_unique(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
