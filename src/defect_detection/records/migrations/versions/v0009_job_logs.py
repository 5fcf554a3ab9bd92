"""Logs of jobs, so that any server can show them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "job_logs",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "place", name="pk_job_logs"),
    )


def downgrade() -> None:
    op.drop_table("job_logs")
