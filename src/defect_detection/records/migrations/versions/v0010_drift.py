"""Novelty and the figures of the camera, of each inspection."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

FIGURES = ("novelty", "brightness", "contrast", "sharpness", "colour_balance")


def upgrade() -> None:
    for name in FIGURES:
        op.add_column("inspections", sa.Column(name, sa.Float(53)))
    op.create_index("ix_inspections_novelty_id", "inspections", ["novelty", "id"])


def downgrade() -> None:
    op.drop_index("ix_inspections_novelty_id", "inspections")
    for name in FIGURES:
        op.drop_column("inspections", name)
