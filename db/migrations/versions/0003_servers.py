"""Servers that several people share: owners, tokens, the queue, logs and exports. Five more tables,
and two indexes for their pages: the course of a long search, and what went wrong.

Revision: 0003. Nothing that was there changes: searches of before belong to nobody and wait in no queue.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
CLAIM = "(claimed_by IS NULL) = (claimed_until IS NULL)"


def upgrade() -> None:
    _owners()
    _tokens()
    _queue()
    _events()
    _exports()
    _indexes()


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was made before the upgrade")


def _owners() -> None:
    op.create_table(
        "owners",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("max_running", sa.Integer),
        sa.Column("max_queued", sa.Integer),
        sa.Column("max_candidates", sa.Integer),
        sa.Column("max_workers", sa.Integer),
        sa.Column("max_hours", sa.Double),
        sa.Column("used", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_owners"),
        sa.CheckConstraint("weight > 0", name="ck_owners_weight"),
        sa.CheckConstraint("used >= 0", name="ck_owners_used"),
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("parent", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("used_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.CheckConstraint("scope IN ('read', 'submit', 'admin')", name="ck_tokens_scope"),
        sa.ForeignKeyConstraint(["owner"], ["owners.name"], name="fk_tokens_owners"),
        sa.ForeignKeyConstraint(["parent"], ["tokens.id"], name="fk_tokens_tokens"),
    )
    op.create_index("ix_tokens_owner", "tokens", ["owner"])
    op.create_index("ix_tokens_parent", "tokens", ["parent"])


def _queue() -> None:
    op.create_table(
        "queue",
        sa.Column("search_id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("wanted", sa.Boolean, nullable=False),
        sa.Column("submitted_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.Double),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.Double),
        sa.Column("workers", sa.Integer),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("fingerprint", sa.Text),
        sa.PrimaryKeyConstraint("search_id", name="pk_queue"),
        sa.UniqueConstraint("owner", "idempotency_key", name="uq_queue_owner_idempotency_key"),
        sa.CheckConstraint(CLAIM, name="ck_queue_claim"),
        sa.CheckConstraint(
            "(idempotency_key IS NULL) = (fingerprint IS NULL)", name="ck_queue_key"
        ),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_queue_searches"),
        sa.ForeignKeyConstraint(["owner"], ["owners.name"], name="fk_queue_owners"),
    )
    op.create_index("ix_queue_wanted", "queue", ["wanted"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("search_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_events_searches"),
    )
    op.create_index("ix_events_search_id_id", "events", ["search_id", "id"])


def _exports() -> None:
    op.create_table(
        "exports",
        sa.Column("id", KEY, nullable=False),
        sa.Column("candidate_id", KEY, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'done', 'failed')", name="ck_exports_status"
        ),
        sa.UniqueConstraint("folder", name="uq_exports_folder"),
        sa.CheckConstraint(CLAIM, name="ck_exports_claim"),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidates.id"], name="fk_exports_candidates"),
        sa.ForeignKeyConstraint(["owner"], ["owners.name"], name="fk_exports_owners"),
    )
    op.create_index("ix_exports_status", "exports", ["status"])


def _indexes() -> None:
    columns = ["search_id", "split", "candidate_id", "copied_from", "violation", "fitness"]
    op.create_index("ix_evaluations_course", "evaluations", columns)
    rare = sa.text("status IN ('failed', 'lost', 'late')")
    op.create_index(
        "ix_attempts_mishaps",
        "attempts",
        ["finished_at"],
        sqlite_where=rare,
        postgresql_where=rare,
    )
