"""Where a job starts: from a registered model, or from scratch."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("start_from", sa.String(16)))


def downgrade() -> None:
    op.drop_column("jobs", "start_from")
