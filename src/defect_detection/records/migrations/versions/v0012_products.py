"""Products of inspections, labels, jobs and keys; stations; sums by line and station. Old rows belong to the default product."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

from defect_detection.records.tallies import BEGINNING, count_next_day

revision = "0012"
down_revision = "0011"
INDEXES = {  # by the ending of the name, the columns behind product
    "at": ["at", "id"],
    "verdict": ["verdict", "at", "id", "model_version"],
    "model_version": ["model_version", "at", "id", "verdict"],
    "line": ["line", "at", "id", "station", "verdict", "model_version"],
    "station": ["station", "at", "id", "line", "verdict", "model_version"],
    "margin": ["margin", "id", "line", "station", "verdict", "model_version", "at"],
    "in_group": ["in_group", "at", "id"],
    "part": ["part", "at", "id"],
    "novelty": ["novelty", "id"],
}
BEFORE = {
    "ix_inspections_verdict_at": ["verdict", "at", "id"],
    "ix_inspections_model_version_at": ["model_version", "at", "id"],
    "ix_inspections_margin_id": ["margin", "id"],
    "ix_inspections_line_at": ["line", "at"],
    "ix_inspections_in_group_at": ["in_group", "at"],
    "ix_inspections_part_at": ["part", "at"],
    "ix_inspections_novelty_id": ["novelty", "id"],
}


def upgrade() -> None:
    for table in ("inspections", "feedback", "jobs"):
        op.add_column(table, sa.Column("product", sa.String(64), nullable=False, server_default="default"))
    op.add_column("inspections", sa.Column("station", sa.String(256), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("products", sa.Text, nullable=False, server_default=""))
    for name in BEFORE:
        op.drop_index(name, "inspections")
    for ending, columns in INDEXES.items():
        op.create_index(f"ix_inspections_product_{ending}", "inspections", ["product", *columns])
    for column in ("sha256", "defect_type"):
        op.create_index(f"ix_feedback_product_{column}", "feedback", ["product", column])
    op.drop_table("tallies")
    _make_tallies("product", "line", "station")
    for column in ("line", "station"):
        op.create_index(f"ix_tallies_product_{column}", "tallies", ["product", column, "span_s", "begin_s"])
    op.create_index("ix_tallies_span_begin", "tallies", ["span_s", "begin_s"])
    with Session(op.get_bind()) as session:
        since = BEGINNING
        while (after := count_next_day(session, since)) is not None:
            since = after


def _make_tallies(*places: str) -> None:
    """Make the table of sums anew: of the whole plant, or of each place."""
    lengths = {"product": 64, "line": 256, "station": 256}
    op.create_table(
        "tallies",
        *(sa.Column(place, sa.String(lengths[place]), nullable=False) for place in places),
        sa.Column("span_s", sa.Integer, nullable=False),
        sa.Column("begin_s", sa.BigInteger, nullable=False),
        sa.Column("model_name", sa.String(256), nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("threshold", sa.Float(53), nullable=False),
        sa.Column("counts", sa.LargeBinary, nullable=False),
        sa.Column("first_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint(
            *places, "span_s", "begin_s", "model_name", "model_version", "threshold", name="pk_tallies"
        ),
    )


def downgrade() -> None:
    op.drop_table("tallies")
    _make_tallies()
    for column in ("defect_type", "sha256"):
        op.drop_index(f"ix_feedback_product_{column}", "feedback")
    for ending in INDEXES:
        op.drop_index(f"ix_inspections_product_{ending}", "inspections")
    for name, columns in BEFORE.items():
        op.create_index(name, "inspections", columns)
    op.drop_column("api_keys", "products")
    op.drop_column("inspections", "station")
    for table in ("inspections", "feedback", "jobs"):
        op.drop_column(table, "product")
