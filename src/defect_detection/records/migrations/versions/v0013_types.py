"""The types of the defects of an inspected image, by the model."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("inspections", sa.Column("defect_type", sa.String(256)))
    op.add_column("inspections", sa.Column("defect_types", sa.Text))
    typed = sa.text("defect_type IS NOT NULL")
    op.create_index(
        "ix_inspections_typed_at",
        "inspections",
        ["product", "at", "defect_type", "line"],
        sqlite_where=typed,
        postgresql_where=typed,
    )


def downgrade() -> None:
    op.drop_index("ix_inspections_typed_at", "inspections")
    op.drop_column("inspections", "defect_types")
    op.drop_column("inspections", "defect_type")
