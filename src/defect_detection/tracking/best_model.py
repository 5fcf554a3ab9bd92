"""``best_model_info.txt``: the model chosen by training, one ``key: value`` per line."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from defect_detection.errors import NoModelError, TrackingError
from defect_detection.files.permissions import regular
from defect_detection.files.unfinished import write_text
from defect_detection.text import from_root


@dataclass(frozen=True, slots=True)
class BestModelInfo:
    """The candidate.

    Attributes:
        run_id: its MLflow run.
        model_path: ``best_cnn_model.keras``; the rest of the bundle lies in the same folder. In the file it is relative to the
            folder of the file if it is inside it, so a moved project refers to its own model.
        model_uri: its logged model, ``models:/m-…``.
        metric: what it was chosen by, on the validation split.
        value: of that metric.
    """

    run_id: str
    model_path: Path
    model_uri: str
    metric: str
    value: float

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, self.text(path.parent))

    def text(self, folder: Path) -> str:
        """Return the content of the file, with paths relative to the folder."""
        values = asdict(self) | {"model_path": from_root(self.model_path, folder).as_posix()}
        return "".join(f"{key}: {value}\n" for key, value in values.items())

    @classmethod
    def read(cls, path: Path, option: str = "") -> "BestModelInfo":
        """Read the file.

        Args:
            option: what a command line needs to be about the product of the file, for messages (`Config.option`).

        Raises:
            NoModelError: it isn't there, because nothing has been trained yet.
            TrackingError: a line is missing or isn't what it should be.
        """
        try:
            text = regular(path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise NoModelError(
                f"{path}: not found. No model has been trained yet: run `defect train{option}`."
            ) from error
        return cls._parsed(text, path, option)

    @classmethod
    def _parsed(cls, text: str, path: Path, option: str) -> "BestModelInfo":
        values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        missing = [field.name for field in fields(cls) if field.name not in values]
        if missing:
            raise TrackingError(
                f"{path}: expected a line `{missing[0]}: …`, found none. Run `defect train{option}` again."
            )
        try:
            value = float(values["value"])
        except ValueError as error:
            raise TrackingError(
                f"{path}: value: expected a number, received '{values['value']}'. Run `defect train{option}` again."
            ) from error
        model_path = path.parent / values["model_path"]
        return cls(values["run_id"], model_path, values["model_uri"], values["metric"], value)
