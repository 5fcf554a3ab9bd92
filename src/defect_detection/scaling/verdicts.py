"""The output of a batch inspection: a folder of Parquet files, one for each shard, and a note of what made them."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detection.errors import ConfigError, DataError
from defect_detection.inference.inspect import Inspection
from defect_detection.model.type_rule import types_json
from defect_detection.scaling import storage
from defect_detection.text import encodable, printable

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT, MODEL = "_inspection.json", "_model.zip"  # readers of Parquet pass over such names
_START, _END = "verdicts-", ".parquet"


class Verdicts:
    """The output folder, or a URL. What lies in it under its name is whole."""

    def __init__(self, address: str) -> None:
        self.address = storage.absolute(address).rstrip("/")

    def done(self, about: Mapping[str, Any]) -> set[str]:
        """Return the names of the images that have their row already.

        Args:
            about: what must not change within one output.

        Raises:
            ConfigError: the folder holds verdicts of another model, or other files. DataError: a file is not whole.
        """
        names = storage.names_in(self.address)
        if ABOUT in names:
            self._require_same(json.loads(self._read(ABOUT)), dict(about))
        elif others := [name for name in names if not name.startswith((".", "_"))]:
            raise ConfigError(
                f"{printable(self.address)}: expected an empty folder or the output of an earlier inspection, found "
                f"{printable(others[0])}; choose another --output"
            )
        files = [name for name in names if name.startswith(_START) and name.endswith(_END)]
        return {path for file in files for path in self._paths(file)}

    def begin(self, about: Mapping[str, Any], bundle: Path) -> None:
        """Keep what is inspected with: the model's folder, which each node then reads here. An output that has begun stays."""
        if ABOUT not in storage.names_in(self.address):
            storage.write(self._at(MODEL), _zipped(bundle))
            storage.write(self._at(ABOUT), json.dumps(dict(about), indent=2).encode())

    def unpack_model(self, folder: Path) -> None:
        """Write the files of the model into an empty folder."""
        with zipfile.ZipFile(io.BytesIO(self._read(MODEL))) as packed:
            packed.extractall(folder)

    def write(self, key: str, inspections: Sequence[Inspection]) -> None:
        """Write the rows of one shard, whole or not at all; written again, they take the place of those before."""
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(_table(inspections), buffer, compression="zstd")
        storage.write(self._at(f"{_START}{key}{_END}"), buffer.getvalue())

    def _require_same(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        if other := [name for name in now if before.get(name) != now[name]]:
            name = other[0]
            raise ConfigError(
                f"{printable(self.address)}: holds verdicts with {name} {printable(before.get(name))}, and {name} is "
                f"{printable(now[name])} now; choose another --output, or use the earlier one again"
            )

    def _paths(self, file: str) -> list[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with storage.opened(self._at(file)) as opened:
                return list(pq.read_table(opened, columns=["path"]).column(0).to_pylist())
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(
                f"{printable(self._at(file))}: is not a complete Parquet file; remove it, and run the command again: the images of "
                "that file are inspected again, all others keep their rows"
            ) from error

    def _read(self, name: str) -> bytes:
        with storage.opened(self._at(name)) as file:
            return file.read()

    def _at(self, name: str) -> str:
        return f"{self.address}/{name}"


def _zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                packed.write(path, path.name)
    return buffer.getvalue()


def _table(inspections: Sequence[Inspection]) -> "pa.Table":
    """Return one row an image; `defect_type` is empty of an OK image and of a model that names none."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    columns = {
        "path": ([encodable(one.path) for one in inspections], text),
        "verdict": ([one.verdict for one in inspections], text),
        "score": ([one.score for one in inspections], number),
        "threshold": ([one.threshold for one in inspections], number),
        "defect_type": ([one.defect_type for one in inspections], text),
        "model_version": ([encodable(one.model) for one in inspections], text),
        "latency_ms": ([round(one.latency_ms, 2) for one in inspections], number),
        "error": ([one.error and encodable(one.error) for one in inspections], text),
        "reason": ([one.reason for one in inspections], text),
        "defect_types": ([types_json(one.types)["defect_types"] for one in inspections], _types()),
        "boxes": ([[*one.boxes.to_json()] for one in inspections], _boxes()),
        "ignored_boxes": ([one.boxes.ignored for one in inspections], pa.int32()),
    }
    return pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()})


def _types() -> "pa.DataType":
    import pyarrow as pa

    return pa.list_(pa.struct([("type", pa.string()), ("probability", pa.float64())]))


def _boxes() -> "pa.DataType":
    import pyarrow as pa

    number = pa.float64()
    # Lists of any length: Parquet cannot give back a list of fixed length that is null, as `box_mm` is without `data.mm_per_px`.
    fields = {"box": pa.list_(pa.int64()), "area_px": pa.int64(), "share": number}
    fields |= {"box_mm": pa.list_(number), "area_mm2": number}
    return pa.list_(pa.struct(list(fields.items())))
