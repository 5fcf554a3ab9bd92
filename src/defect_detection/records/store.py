"""All that is recorded at one place: the database, the folder of images and the writer."""

from dataclasses import dataclass
from functools import cached_property

from defect_detection.config import Config
from defect_detection.records.database import Database
from defect_detection.records.images import ImageFolder
from defect_detection.records.writer import Recorder


@dataclass(frozen=True)
class Records:
    """Where one configuration keeps its records. Opens nothing before it is used."""

    database: Database
    images: ImageFolder

    @classmethod
    def of(cls, config: Config) -> "Records":
        """Return the records of a configuration.

        Raises:
            RecordsError: ``DATABASE_URL`` is no address of a database.
        """
        return cls(Database(config.database_url), ImageFolder(config.records.images_dir))

    @cached_property
    def recorder(self) -> Recorder:
        return Recorder(self.database, self.images)

    def close(self) -> None:
        self.recorder.close()
        self.database.close()
