"""Whether a job promotes what passes, and how many images it read."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("promotes", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("jobs", sa.Column("images", sa.Integer))


def downgrade() -> None:
    op.drop_column("jobs", "images")
    op.drop_column("jobs", "promotes")
