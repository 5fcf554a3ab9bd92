"""Why an inspected image is unlike the training images."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("inspections", sa.Column("reason", sa.Text))


def downgrade() -> None:
    op.drop_column("inspections", "reason")
