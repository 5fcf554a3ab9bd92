"""Who sent an image; images by sender, line and whether their verdict is doubtful."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
FIRST_LINE_AND_DOUBT = """
UPDATE images SET
  line = coalesce((SELECT i.line FROM inspections AS i WHERE i.sha256 = images.sha256 ORDER BY i.at, i.id LIMIT 1), ''),
  doubtful = EXISTS
    (SELECT 1 FROM inspections AS i WHERE i.sha256 = images.sha256 AND (i.verdict = 'review' OR i.margin < 0.1))
"""


def upgrade() -> None:
    op.add_column("inspections", sa.Column("sent_by", sa.String(64), nullable=False, server_default=""))
    op.add_column("images", sa.Column("sent_by", sa.String(64), nullable=False, server_default=""))
    op.add_column("images", sa.Column("line", sa.String(256), nullable=False, server_default=""))
    op.add_column("images", sa.Column("doubtful", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute(FIRST_LINE_AND_DOUBT)
    op.drop_index("ix_images_at", "images")
    op.create_index("ix_images_sent_by", "images", ["sent_by", "line", "doubtful", "at"])


def downgrade() -> None:
    op.drop_index("ix_images_sent_by", "images")
    op.create_index("ix_images_at", "images", ["at"])
    for table, columns in (("images", ("doubtful", "line", "sent_by")), ("inspections", ("sent_by",))):
        for column in columns:
            op.drop_column(table, column)
