"""Archives of per-document outcomes, and an index for what ended since a moment.

Revision: 0004. Nothing that was there changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "archives",
        sa.Column("search_id", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("outcomes", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("deleted_at", sa.Double),
        sa.PrimaryKeyConstraint("search_id", name="pk_archives"),
        sa.CheckConstraint("outcomes >= 0", name="ck_archives_outcomes"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_archives_searches"),
    )
    op.create_index("ix_attempts_finished_at", "attempts", ["finished_at"])


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was made before the upgrade")
