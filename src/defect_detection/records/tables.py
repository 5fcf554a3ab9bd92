"""The tables of the database. A change needs a migration in ``migrations/versions``; a test compares both."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from defect_detection.config.products import DEFAULT

NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
}


_TYPED = text("defect_type IS NOT NULL")


class UtcTime(TypeDecorator[datetime]):
    """A moment, aware of UTC in Python and without a zone in both databases."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class BaseTable(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class ImageRow(BaseTable):
    """One image in the folder of images, by its content.

    sent_by, line, doubtful: of its first inspection (IPv6: the network); they decide which images are deleted first.
    """

    __tablename__ = "images"
    __table_args__ = (Index("ix_images_sent_by", "sent_by", "line", "doubtful", "at"),)

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    suffix: Mapped[str] = mapped_column(String(8))
    n_bytes: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(UtcTime)
    sent_by: Mapped[str] = mapped_column(String(64), default="")
    line: Mapped[str] = mapped_column(String(256), default="")
    doubtful: Mapped[bool] = mapped_column(Boolean, default=False)


class InspectionRow(BaseTable):
    """One verdict on one image. `sha256` identifies the content even if the image is not stored."""

    __tablename__ = "inspections"
    __table_args__ = (
        Index("ix_inspections_at_id", "at", "id"),
        Index("ix_inspections_sha256_product", "sha256", "product"),  # both: SQLite prefers more columns
        # The columns behind id answer the other filters without a look at the rows: few may match
        Index("ix_inspections_product_at", "product", "at", "id"),
        Index("ix_inspections_product_verdict", "product", "verdict", "at", "id", "model_version"),
        Index("ix_inspections_product_model_version", "product", "model_version", "at", "id", "verdict"),
        Index(
            "ix_inspections_product_line",
            "product",
            "line",
            "at",
            "id",
            "station",
            "verdict",
            "model_version",
        ),
        Index(
            "ix_inspections_product_station",
            "product",
            "station",
            "at",
            "id",
            "line",
            "verdict",
            "model_version",
        ),
        Index(
            "ix_inspections_product_margin",
            *("product", "margin", "id", "line", "station", "verdict", "model_version", "at"),
        ),
        Index("ix_inspections_product_in_group", "product", "in_group", "at", "id"),
        Index("ix_inspections_product_part", "product", "part", "at", "id"),
        Index(
            "ix_inspections_product_novelty",
            *("product", "novelty", "id", "line", "station", "verdict", "model_version", "at"),
        ),
        Index(
            "ix_inspections_typed_at",
            *("product", "at", "defect_type", "line", "station", "model_version"),
            sqlite_where=_TYPED,
            postgresql_where=_TYPED,
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    sha256: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(Text)
    verdict: Mapped[str] = mapped_column(String(16))
    score: Mapped[float] = mapped_column(Float(53))
    threshold: Mapped[float] = mapped_column(Float(53))
    margin: Mapped[float] = mapped_column(
        Float(53)
    )  # |score - threshold|, 0 with a reason: the least is the least certain
    model_name: Mapped[str] = mapped_column(String(256))
    model_version: Mapped[int] = mapped_column(Integer)
    latency_ms: Mapped[float] = mapped_column(Float(53))
    group: Mapped[str] = mapped_column("in_group", String(256))  # "group" is a word of SQL
    line: Mapped[str] = mapped_column(String(256))
    part: Mapped[str] = mapped_column(String(256))
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    sent_by: Mapped[str] = mapped_column(String(64), default="")
    novelty: Mapped[float | None] = mapped_column(Float(53), default=None)
    brightness: Mapped[float | None] = mapped_column(Float(53), default=None)
    contrast: Mapped[float | None] = mapped_column(Float(53), default=None)
    sharpness: Mapped[float | None] = mapped_column(Float(53), default=None)
    colour_balance: Mapped[float | None] = mapped_column(Float(53), default=None)
    boxes: Mapped[str | None] = mapped_column(Text, default=None)  # as JSON
    product: Mapped[str] = mapped_column(String(64), default=DEFAULT)
    station: Mapped[str] = mapped_column(String(256), default="")
    defect_type: Mapped[str | None] = mapped_column(String(256), default=None)  # the strongest, by the model
    defect_types: Mapped[str | None] = mapped_column(
        Text, default=None
    )  # all with their probabilities, as JSON


class TallyRow(BaseTable):
    """Sums of inspections over a quarter hour or a day, of one model at one place: see `tallies.py`.

    line, station: both empty for the sum of all places of the product.
    """

    __tablename__ = "tallies"
    __table_args__ = (
        Index("ix_tallies_product_line", "product", "line", "span_s", "begin_s"),
        Index("ix_tallies_product_station", "product", "station", "span_s", "begin_s"),
        Index("ix_tallies_span_begin", "span_s", "begin_s"),
    )

    product: Mapped[str] = mapped_column(String(64), primary_key=True)
    line: Mapped[str] = mapped_column(String(256), primary_key=True)
    station: Mapped[str] = mapped_column(String(256), primary_key=True)
    span_s: Mapped[int] = mapped_column(Integer, primary_key=True)
    begin_s: Mapped[int] = mapped_column(BigInteger, primary_key=True)  # since 1970, UTC
    model_name: Mapped[str] = mapped_column(String(256), primary_key=True)
    model_version: Mapped[int] = mapped_column(Integer, primary_key=True)
    threshold: Mapped[float] = mapped_column(Float(53), primary_key=True)
    counts: Mapped[bytes] = mapped_column(LargeBinary)
    first_at: Mapped[datetime] = mapped_column(UtcTime)


class FeedbackRow(BaseTable):
    """A person's label for one image. Rows are added, never changed; the one with the highest id counts."""

    __tablename__ = "feedback"
    __table_args__ = (
        Index("ix_feedback_product_sha256", "product", "sha256"),
        Index("ix_feedback_product_defect_type", "product", "defect_type"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspections.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    label: Mapped[str] = mapped_column(String(16))
    defect_type: Mapped[str] = mapped_column(String(64), default="")
    comment: Mapped[str] = mapped_column(Text, default="")
    by: Mapped[str] = mapped_column("said_by", String(64))
    product: Mapped[str] = mapped_column(String(64), default=DEFAULT)  # of the inspection


class KeyRow(BaseTable):
    """One API key, known by its hash alone."""

    __tablename__ = "api_keys"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    products: Mapped[str] = mapped_column(Text, default="")  # names with blanks between; "": all


class JobRow(BaseTable):
    """One retraining that was asked for.

    `owner_…`: the process that runs it; `owner_host`: where its id is valid. `heartbeat` grows while that process lives.
    `promotes`: a model that passes is promoted at once. `images`: that it read. `start_from`: as in `HowToRetrain`.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_created_at", "state", "created_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    by: Mapped[str] = mapped_column("asked_by", String(64))
    created_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    exit_code: Mapped[int | None] = mapped_column(Integer, default=None)
    outcome: Mapped[str | None] = mapped_column(String(32), default=None)
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    owner_host: Mapped[str | None] = mapped_column(String(255), default=None)
    owner_pid: Mapped[int | None] = mapped_column(Integer, default=None)
    owner_started: Mapped[str | None] = mapped_column(String(64), default=None)
    heartbeat: Mapped[int] = mapped_column(Integer, default=0)
    last_label: Mapped[int] = mapped_column(Integer, default=0)  # id of the last label when it was asked for
    product: Mapped[str] = mapped_column(String(64), default=DEFAULT)
    promotes: Mapped[bool] = mapped_column(Boolean, default=True)
    images: Mapped[int | None] = mapped_column(Integer, default=None)
    start_from: Mapped[str | None] = mapped_column(String(16), default=None)


class JobLogRow(BaseTable):
    """A piece of what a job wrote, by the place of its first byte in the whole."""

    __tablename__ = "job_logs"

    job_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    place: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class MaintenanceRow(BaseTable):
    """Regular work that one of the servers does for all, and when one last began to do it."""

    __tablename__ = "upkeep"

    work: Mapped[str] = mapped_column(String(32), primary_key=True)
    begun_at: Mapped[datetime] = mapped_column(UtcTime)
