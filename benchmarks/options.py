"""The measured cases, data sets and repetitions."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks import datasets
from benchmarks.datasets import DataSet
from benchmarks.environments import Environments
from benchmarks.processes import Unavailable


@dataclass(frozen=True)
class Options:
    """The settings of a run, from the command line.

    cache: a folder for what can be made again: environments, drawn data, work in progress.
    data: a data set, or a folder of them; None draws one. on: the name of the one that training and inference are measured on.
    weights: of a MobileNetV2 without its top; None leaves the pretrained configuration out.
    model: a model folder to measure inference with; None trains one.
    repetitions: of training and inference, alternated. seeds: of quality; draws of novelty. sizes: numbers of images, of scaling.
    image_sizes: in px, of image_size. images: in the folder whose throughput is measured. yolo_epochs: of Ultralytics' training.
    seconds: of each point of serving. soak: minutes of load, 0 for none. swaps: of the served model under load, 0 for none.
    retraining: whether serving is measured beside one too.
    rows: numbers of inspections, of records. postgres: address of an empty PostgreSQL database, for records; None leaves it out.
    overrides: settings of this project that differ from config.yaml, as key=value.
    """

    cache: Path
    environments: Environments
    data: Path | None = None
    on: str | None = None
    weights: Path | None = None
    model: Path | None = None
    peers: bool = True
    repetitions: int = 3
    seeds: int = 1
    sizes: tuple[int, ...] = (1000,)
    image_sizes: tuple[int, ...] = (224, 448, 1024)
    images: int = 400
    yolo_epochs: int = 10
    seconds: float = 10.0
    soak: float = 0.0
    swaps: int = 0
    retraining: bool = False
    rows: tuple[int, ...] = (10_000,)
    postgres: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def work(self) -> Path:
        return self.cache / "work"

    def data_sets(self) -> list[DataSet]:
        """Return all data sets.

        Raises:
            Unavailable: `data` holds none.
        """
        return (
            datasets.find(self.data) if self.data else [datasets.drawn(self.cache / "drawn" / "sample_data")]
        )

    def data_set(self) -> DataSet:
        """Return the data set to train and to inspect: `on`, else the first.

        Raises:
            Unavailable: there is none of that name.
        """
        sets = self.data_sets()
        named = [one for one in sets if self.on in (None, one.name)]
        if not named:
            raise Unavailable(f"--on {self.on}: expected one of {', '.join(one.name for one in sets)}")
        return named[0]
