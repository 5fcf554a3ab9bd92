"""Heartbeats of jobs; inspections by line and by group."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("heartbeat", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_inspections_line_at", "inspections", ["line", "at"])
    op.create_index("ix_inspections_in_group_at", "inspections", ["in_group", "at"])


def downgrade() -> None:
    op.drop_index("ix_inspections_in_group_at", "inspections")
    op.drop_index("ix_inspections_line_at", "inspections")
    op.drop_column("jobs", "heartbeat")
