"""Indexes that answer the filters of the most novel images and of the counts of types alone, and that of an image within a product."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0013"
TYPED = sa.text("defect_type IS NOT NULL")
FILTERED = ["id", "line", "station", "verdict", "model_version", "at"]


def upgrade() -> None:
    _replace(
        ["product", "novelty", *FILTERED],
        ["product", "at", "defect_type", "line", "station", "model_version"],
    )
    op.drop_index("ix_inspections_sha256", "inspections")
    op.create_index("ix_inspections_sha256_product", "inspections", ["sha256", "product"])


def downgrade() -> None:
    _replace(["product", "novelty", "id"], ["product", "at", "defect_type", "line"])
    op.drop_index("ix_inspections_sha256_product", "inspections")
    op.create_index("ix_inspections_sha256", "inspections", ["sha256"])


def _replace(novelty: list[str], typed: list[str]) -> None:
    op.drop_index("ix_inspections_product_novelty", "inspections")
    op.create_index("ix_inspections_product_novelty", "inspections", novelty)
    op.drop_index("ix_inspections_typed_at", "inspections")
    op.create_index(
        "ix_inspections_typed_at", "inspections", typed, sqlite_where=TYPED, postgresql_where=TYPED
    )
