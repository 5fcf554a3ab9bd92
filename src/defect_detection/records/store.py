"""All that is recorded at one place: the database, the folder of images and the writer."""

from defect_detection.config import Config
from defect_detection.records.database import Database
from defect_detection.records.images import ImageFolder
from defect_detection.records.writer import Recorder


class Records:
    """Where inspections, feedback, keys and jobs are kept. Opens nothing before it is used."""

    def __init__(self, database: Database, images: ImageFolder) -> None:
        self.database = database
        self.images = images
        self.recorder = Recorder(database, images)

    @classmethod
    def of(cls, config: Config) -> "Records":
        """Return the records of a configuration.

        Raises:
            RecordsError: ``DATABASE_URL`` is no address of a database.
        """
        return cls(Database(config.database_url), ImageFolder(config.records.images_dir))

    def close(self) -> None:
        """Write what waits, in a few seconds, and close the database."""
        self.recorder.close()
        self.database.close()
