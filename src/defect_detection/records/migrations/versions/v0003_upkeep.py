"""Regular work."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "upkeep",
        sa.Column("work", sa.String(32), nullable=False),
        sa.Column("begun_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("work", name="pk_upkeep"),
    )


def downgrade() -> None:
    op.drop_table("upkeep")
