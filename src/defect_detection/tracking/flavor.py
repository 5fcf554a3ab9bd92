"""Log a bundle as an MLflow model with the flavours ``keras`` and ``python_function``.

    mlflow.keras.load_model(uri)     the Keras graph, from the bundle's own file
    mlflow.pyfunc.load_model(uri)    the same `Inspector` that everything else uses, without Keras

The model contains this package's source as one zip file, from which Python imports, and loads by module name: no pickle. It is
logged with the calls of `MlflowClient` instead of ``Model.log``, which depends on the process-wide tracking URI.
"""

import base64
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import yaml
from PIL import Image

from defect_detection.data.framing import Framing
from defect_detection.files.unfinished import working_folder
from defect_detection.model.bundle import KERAS_FILE, read_card
from defect_detection.model.type_rule import types_json
from defect_detection.tracking.store import Store

if TYPE_CHECKING:
    from defect_detection.inference.inspect import Inspector

BUNDLE = "bundle"  # folder of the bundle inside the logged model
REQUIRED_PACKAGES = ("filelock", "mlflow", "numpy", "openvino", "pandas", "pillow", "pydantic", "pyyaml")

_PACKAGE = Path(__file__).parents[1]
_CODE = f"code/{_PACKAGE.name}.zip"
_ABOVE = (
    "cli",
    "scaling",
    "serving",
    "retraining",
    "use_cases",
    "records",
    "training",
)  # folders that inference never imports
COLUMN = "image"  # of the input
_OWN = (
    "score",
    "verdict",
    "threshold",
    "reason",
    "error",
)  # columns with the names of an inspection's fields
_COLUMNS = (*_OWN, *types_json(()), "boxes")


def log_bundle(store: Store, bundle: Path, name: str, run_id: str, params: Mapping[str, str]) -> str:
    """Log a bundle as a model of the run.

    Returns:
        its URI, ``models:/m-…``.

    Raises:
        BundleError: the folder isn't a whole bundle.
    """
    from mlflow.entities import LoggedModelOutput

    read_card(bundle)
    model = store.client.create_logged_model(
        store.experiment_id, name=name, source_run_id=run_id, params=dict(params)
    )
    try:
        _upload(store, bundle, model)
    except BaseException:
        store.client.finalize_logged_model(model.model_id, "FAILED")
        raise
    store.client.finalize_logged_model(model.model_id, "READY")
    store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return f"models:/{model.model_id}"


def _upload(store: Store, bundle: Path, model: Any) -> None:
    """Upload the bundle first. ``MLmodel``, which makes it a model for MLflow, is uploaded last."""
    with working_folder() as folder:
        _write_description(folder, bundle, model)
        store.client.log_model_artifacts(model.model_id, str(bundle), BUNDLE)
        store.client.log_model_artifacts(model.model_id, str(folder))


def _write_description(folder: Path, bundle: Path, model: Any) -> None:
    (folder / _CODE).parent.mkdir()
    (folder / _CODE).write_bytes(_own_code())
    requirements = [f"{package}=={version(package)}" for package in REQUIRED_PACKAGES]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment), encoding="utf-8")
    _description(bundle, model, _write_example(folder, read_card(bundle).frame)).save(str(folder / "MLmodel"))


@cache
def _own_code() -> bytes:
    """Pack this package's modules into one file, except those that inference never imports: MLflow uploads each file by itself."""
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED, strict_timestamps=False) as file:
        for module in sorted(_PACKAGE.rglob("*.py")):
            name = module.relative_to(_PACKAGE)
            if name.parts[0] not in _ABOVE:
                file.write(module, _PACKAGE.name / name)
    return packed.getvalue()


def _description(bundle: Path, model: Any, example: Mapping[str, str]) -> Any:
    from mlflow.models import Model

    description = Model(
        artifact_path=model.artifact_location,
        run_id=model.source_run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
        signature=_signature(),
        saved_input_example_info=dict(example),
        model_size_bytes=sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()),
    )
    keras_file = f"{BUNDLE}/{KERAS_FILE.removesuffix('.keras')}"  # MLflow adds the suffix
    description.add_flavor(
        "keras", data=keras_file, keras_version=version("keras"), save_exported_model=False
    )
    description.add_flavor(  # by hand: importing mlflow.pyfunc is slow and prints a warning
        "python_function",
        loader_module=__name__,
        python_version=platform.python_version(),
        data=BUNDLE,
        code=_CODE,
        env={"virtualenv": "python_env.yaml"},
    )
    return description


def _signature() -> Any:
    """One column of any type, since a binary one decodes some inputs only. Given by hand: MLflow would run the model to infer it."""
    from mlflow.models import ModelSignature
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType, Array, ColSpec, Object, Property, Schema

    def rows(names: str, **more: Any) -> Any:
        own = dict.fromkeys(names.split(), "double") | more
        return Array(Object([Property(name, kind, required=False) for name, kind in own.items()]))

    kinds: dict[str, Any] = dict.fromkeys(_COLUMNS, "string")
    kinds |= dict.fromkeys(("score", "threshold", "defect_type_probability"), "double")
    kinds["defect_types"] = rows("probability", type="string")
    kinds["boxes"] = rows(
        "share area_mm2", area_px="long", box=Array(DataType.long), box_mm=Array(DataType.double)
    )
    outputs = [ColSpec(kind, name) for name, kind in kinds.items()]
    return ModelSignature(Schema([ColSpec(AnyType(), COLUMN)]), Schema(outputs))


def _write_example(folder: Path, framing: Framing) -> dict[str, str]:
    """Write an input example for MLflow's page and its server. Return its entries for ``MLmodel``."""
    Image.new("RGB", framing.made_for or framing.size[::-1], "grey").save(buffer := BytesIO(), "PNG")
    example = {"columns": [COLUMN], "data": [[base64.b64encode(buffer.getvalue()).decode()]]}
    names = {"artifact_path": "input_example.json", "serving_input_path": "serving_input_example.json"}
    for name, content in zip(names.values(), (example, {"dataframe_split": example}), strict=True):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return names | {"type": "dataframe", "pandas_orient": "split"}


def _load_pyfunc(path: str) -> "PyfuncModel":
    """What MLflow calls to load the ``python_function`` flavour."""
    from defect_detection.inference.inspect import Inspector

    return PyfuncModel(Inspector.load(Path(path)))


class PyfuncModel:
    """Answer MLflow's ``predict`` with an `Inspector`."""

    def __init__(self, inspector: "Inspector") -> None:
        self._inspector = inspector
        self._one_at_a_time = Lock()  # MLflow's server calls from several threads

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Inspect encoded images.

        Args:
            model_input: DataFrame with a column ``image`` (or only one column), or a list. Each item is the
                bytes of an image file, the same as a base64 text, a `pathlib.Path`, or an array as the model gets it. A text is
                never taken
                for a path, so a caller of ``mlflow models serve`` can't make it open the server's files.
            params: not used; part of MLflow's interface.

        Returns:
            DataFrame with one row per image: score (None on error), verdict, threshold, reason
            (how the image is unlike the training images) and error; these two are None if there is none. Then
            defect_type, its probability, all types, and boxes, as in ``defect inspect --json``; null or empty if there are none.
        """
        import pandas as pd  # type: ignore[import-untyped]

        sources = [_source(item) for item in _items(model_input)]
        with self._one_at_a_time:
            inspections = list(self._inspector.inspect(sources))
        rows = [
            [*(getattr(one, name) for name in _OWN), *types_json(one.types).values(), one.boxes.to_json()]
            for one in inspections
        ]
        index = model_input.index if hasattr(model_input, "columns") else None
        return pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object, index=index)


def _items(model_input: Any) -> list[Any]:
    if not hasattr(model_input, "columns"):
        return list(model_input)
    columns = list(model_input.columns)
    if COLUMN not in columns and len(columns) != 1:
        raise ValueError(f"expected a column '{COLUMN}', received {columns}")
    return list(model_input[COLUMN if COLUMN in columns else columns[0]])


def _source(item: Any) -> Path | bytes | np.ndarray:
    """Return the input of `Inspector`. Values that are neither bytes nor base64 stay and are rejected as images later."""
    if isinstance(item, (Path, bytes, np.ndarray)):
        return item
    text = "".join(str(item).split())
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return text.encode()
