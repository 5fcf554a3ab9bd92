"""The store of records: the database, the image folder and the writer."""

from defect_detection.config import Config
from defect_detection.records.database import Database
from defect_detection.records.image_bucket import ImageBucket
from defect_detection.records.image_store import ImageFolder, ImageStore
from defect_detection.records.quota import Quota
from defect_detection.records.room import Room
from defect_detection.records.writer import RecordWriter


class Records:
    """The store of inspections, feedback, keys and jobs. Opens files on first use.

    Args:
        max_bytes, bytes_per_h: limits for all images, and for each caller without a key; None: no limit.
    """

    def __init__(
        self,
        database: Database,
        images: ImageStore,
        max_bytes: float | None = None,
        bytes_per_h: float | None = None,
    ) -> None:
        self.database = database
        self.images = images
        self.recorder = RecordWriter(
            database, images, room=Room(database, images, max_bytes), quota=Quota(bytes_per_h)
        )

    @classmethod
    def of(cls, config: Config) -> "Records":
        """Return the records of a configuration.

        Raises:
            RecordsError: ``DATABASE_URL`` is no address of a database.
        """
        keep = config.records
        limits = (gigabytes and gigabytes * 1e9 for gigabytes in (keep.keep_gb, keep.anonymous_gb_per_h))
        database = Database(config.database_url)
        images = (
            ImageBucket(keep.images, database.images_lock) if keep.images else ImageFolder(keep.images_dir)
        )
        return cls(database, images, *limits)

    def close(self) -> None:
        """Write what waits, in a few seconds, and close the database."""
        self.recorder.close()
        self.database.close()
