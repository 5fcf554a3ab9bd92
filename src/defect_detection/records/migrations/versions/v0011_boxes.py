"""Where the defects of an inspected image are."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("inspections", sa.Column("boxes", sa.Text))


def downgrade() -> None:
    op.drop_column("inspections", "boxes")
