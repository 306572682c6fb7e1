"""${message}

Revision: ${up_revision}, after ${down_revision | comma,n}. Written out in full: a script must go on
doing the same when the models have changed. Add the revision to evomerge/store/schema.py, and run
`python -m evomerge.store.golden`.
"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was made before the upgrade")
