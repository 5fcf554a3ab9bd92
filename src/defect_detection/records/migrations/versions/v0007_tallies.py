"""Sums of inspections, which a later migration makes; inspections by verdict, model and part."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("span_s", sa.Integer, nullable=False),
        sa.Column("begin_s", sa.BigInteger, nullable=False),
        sa.Column("model_name", sa.String(256), nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("threshold", sa.Float(53), nullable=False),
        sa.Column("counts", sa.LargeBinary, nullable=False),
        sa.Column("first_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint(
            "span_s", "begin_s", "model_name", "model_version", "threshold", name="pk_tallies"
        ),
    )
    op.create_index("ix_inspections_verdict_at", "inspections", ["verdict", "at", "id"])
    op.create_index("ix_inspections_model_version_at", "inspections", ["model_version", "at", "id"])
    op.drop_index("ix_inspections_model_version", "inspections")
    op.create_index("ix_inspections_part_at", "inspections", ["part", "at"])


def downgrade() -> None:
    op.drop_index("ix_inspections_part_at", "inspections")
    op.create_index("ix_inspections_model_version", "inspections", ["model_version"])
    op.drop_index("ix_inspections_model_version_at", "inspections")
    op.drop_index("ix_inspections_verdict_at", "inspections")
    op.drop_table("tallies")
