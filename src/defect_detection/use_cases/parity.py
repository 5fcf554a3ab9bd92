"""Compare all runtimes on the golden images: the trained and the deployed model must give the same verdicts.

A bundle holds a few validation images with the scores that Keras gave them. They have the model's size already, so PNG, which loses
nothing, carries them through HTTP and MLflow unchanged.
"""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np

from defect_detection.config import Config
from defect_detection.errors import BundleError, ConfigError
from defect_detection.files.unfinished import working_folder
from defect_detection.inference.inspect import Inspector
from defect_detection.inference.runtime import Runtime
from defect_detection.model.bundle import KERAS_FILE, OPENVINO_FILE, read_card, verify
from defect_detection.model.card import TileRule
from defect_detection.model.parity import OUTPUTS, FormParity, Scorer, allowed_difference, golden_parity

_TIMEOUT_S = 30  # for one image by HTTP


@dataclass(frozen=True)
class Form:
    """A form of a bundle's model.

    scorer: loads or creates it from the bundle's folder, and returns its scoring function.
    of: returns that of the loaded bundle instead, where both are the same model in OpenVINO: compiling it again takes long.
    """

    name: str
    scorer: Callable[[Path], Scorer]
    precision: str = "f32"
    of: Callable[[Inspector], Scorer] | None = None


def check_parity(
    bundle: Path, forms: Iterable[str], inspector: Inspector | None = None
) -> tuple[FormParity, ...]:
    """Compare forms of a bundle's model, each one of `FORMS`, with the scores that Keras gave when it was trained.

    `onnx` and `litert` are converted from the Keras model now, which takes seconds.

    Args:
        inspector: of this bundle, in f32, if it is loaded already.

    Raises:
        BundleError: the folder is incomplete or damaged, or a runtime refuses the model.
        ModuleNotFoundError: a form's library isn't installed.
    """
    verify(bundle, read_card(bundle))
    return tuple(_check(bundle, FORMS[form], inspector) for form in forms)


def _check(bundle: Path, form: Form, inspector: Inspector | None) -> FormParity:
    scorer = form.of(inspector) if form.of and inspector else form.scorer(bundle)
    return golden_parity(bundle, scorer, form.name, form.precision)


def parity_lines(
    bundle: Path, forms: Sequence[str] | None = None, url: str | None = None
) -> Iterator[tuple[str, bool]]:
    """Yield the result of each form (by default all of `FORMS`), and whether its differences are allowed.

    A form whose library isn't installed is skipped.

    Raises:
        ConfigError: there is no such form. BundleError: as `check_parity`, or `url` gives no scores.
    """
    if unknown := set(forms or ()) - FORMS.keys():
        raise ConfigError(f"--form: expected {', '.join(FORMS)}, received {', '.join(sorted(unknown))}")
    for form in forms or FORMS:
        try:
            yield from map(_line, check_parity(bundle, [form]))
        except ModuleNotFoundError as error:
            yield f"{form}: skipped, {error.name} is missing; `pip install 'defect-detection[export]'`", True
    if url:
        if read_card(bundle).framing:
            raise ConfigError(
                "--url: expected a model that sees the whole image, stretched: if a model has a region, a mask or "
                "padding, its golden images are already cropped and cannot be sent as files; leave --url out"
            )
        send = http_sender(url)
        yield _line(golden_parity(bundle, lambda images: {"score": http_scores(send, images)}, "HTTP"))


def _line(found: FormParity) -> tuple[str, bool]:
    allowed = "" if found.allowed else f" - not allowed ({allowed_difference(found.precision)})"
    return f"{found}{allowed}", found.allowed


def deployed_forms(config: Config) -> tuple[str, ...]:
    """Return the forms that a registered model is used in: OpenVINO's in the configured precision too, and MLflow's."""
    return tuple(dict.fromkeys(("openvino", _openvino_in(config.inference.precision), "pyfunc")))


def _openvino_in(precision: str) -> str:
    return "openvino" if precision == "f32" else f"openvino-{precision}"


def most_flips(found: Sequence[FormParity]) -> int:
    """Return how many golden verdicts differ in the worst form; a form that only moves scores too far counts as one."""
    return max(max(form.flips, 0 if form.allowed else 1) for form in found)


def parity_fact(found: Sequence[FormParity]) -> tuple[str, str]:
    """Return name and text of a fact for the report: the difference of the deployed forms from Keras."""
    worst = max(found, key=lambda form: (form.flips, form.difference))
    names = ", ".join(f"{form.form} {form.precision}" for form in found)
    return "Deployed forms", f"Golden images through {names}; the largest difference: {worst}"


def http_scores(send: Callable[[bytes], float], images: np.ndarray) -> np.ndarray:
    """Send images, uint8 (n, H, W, 3), RGB, as PNG one by one; `send` gives the score of each. Returns float (n,)."""
    return np.array([send(png(image)) for image in images])


def http_sender(url: str) -> Callable[[bytes], float]:
    """Return a function that posts an image to `url`, such as http://localhost:5001/predict, and gives the score of the answer.

    It raises BundleError where no score comes back.
    """

    def send(body: bytes) -> float:
        request = Request(url, body, {"Content-Type": "image/png"})  # noqa: S310  checked below
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return float(json.load(answer)["score"])
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{url}: expected a JSON object with a `score` for an image posted there, received {error!r}"
            ) from error

    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url: expected an address like http://localhost:5001/predict, received {url}")
    return send


def png(image: np.ndarray) -> bytes:
    from PIL import Image

    Image.fromarray(image).save(buffer := io.BytesIO(), "png")
    return buffer.getvalue()


def openvino_scorer(path: Path, precision: str = "f32") -> Scorer:
    runtime = Runtime(path, precision=precision)
    return runtime


def onnx_scorer(path: Path) -> Scorer:
    os.environ.setdefault("ORT_TELEMETRY_DISABLED", "1")
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs() if output.name in OUTPUTS]
    return lambda images: dict(zip(names, session.run(names, {"image": images}), strict=True))


def litert_scorer(path: Path) -> Scorer:
    """Load a LiteRT file.

    Raises:
        BundleError: it has an operation that LiteRT itself doesn't know.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        run = Interpreter(model_path=str(path)).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise BundleError(
            f"{path.name}: LiteRT cannot run this model ({str(error).splitlines()[0]}); use another format"
        ) from error
    return lambda images: run(image=images)


def _keras(bundle: Path) -> Scorer:
    from defect_detection.model.forms import load_keras, outputs_of

    model = load_keras(bundle / KERAS_FILE)
    return lambda images: outputs_of(model, images)


def _openvino(bundle: Path, precision: str = "f32") -> Scorer:
    return openvino_scorer(bundle / OPENVINO_FILE, precision)


def _pyfunc(inspector: Inspector) -> Scorer:
    from defect_detection.tracking.flavor import PyfuncModel

    as_sent = (lambda image: image) if inspector.card.framing else png
    asked = copy(inspector)
    if inspector.card.tile_rule:  # each golden image is one tile: ask for the score of the tile
        asked.card = inspector.card.model_copy(update={"tile_rule": TileRule(slope=1, bias=0)})
    model = PyfuncModel(asked)

    def score(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"score": model.predict([as_sent(image) for image in images])["score"].to_numpy(np.float64)}

    return score


def _onnx(bundle: Path) -> Scorer:
    from defect_detection.model.forms import load_keras, to_onnx

    with working_folder() as folder:
        path = folder / "model.onnx"
        to_onnx(load_keras(bundle / KERAS_FILE), path)
        return onnx_scorer(path)


def _litert(bundle: Path) -> Scorer:
    from defect_detection.model.forms import load_keras, to_litert

    with working_folder() as folder:
        path = folder / "model.tflite"
        to_litert(load_keras(bundle / KERAS_FILE), path)
        return litert_scorer(path)


FORMS = {
    "openvino": Form("OpenVINO", _openvino, of=lambda inspector: inspector.score),
    "openvino-bf16": Form("OpenVINO", partial(_openvino, precision="bf16"), "bf16"),
    "pyfunc": Form("pyfunc", lambda bundle: _pyfunc(Inspector.load(bundle)), of=_pyfunc),
    "keras": Form("Keras", _keras),
    "onnx": Form("ONNX", _onnx),
    "litert": Form("LiteRT", _litert),
}
