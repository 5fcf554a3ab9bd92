"""The last label there was when a job was asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("last_label", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE jobs SET last_label = coalesce((SELECT max(f.id) FROM feedback AS f WHERE f.at <= jobs.created_at), 0)"
    )


def downgrade() -> None:
    op.drop_column("jobs", "last_label")
