"""Novelty: AUROC from OK images alone; with a few defective images, of novelty, of the classifier and of both; and what it costs.

Beside it, what anomalib's PatchCore takes for the same OK images. Each training is a process of its own, without a cache. Those with a
few defective images are not: there are many of them, and nothing but their quality is measured.
"""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks import datasets
from benchmarks.alternate import alternate
from benchmarks.datasets import OK_CLASSES, DataSet
from benchmarks.environments import PEERS
from benchmarks.options import Options
from benchmarks.processes import Finished, run
from benchmarks.project import Project, pretrained, sets_override
from benchmarks.tables import auroc, mebibytes, spread, table
from defect_detection.config import load_config
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import OK, Sample, labels_of, scan
from defect_detection.inference.inspect import Inspector
from defect_detection.inference.runtime import Runtime
from defect_detection.model.bundle import KERAS_FILE, OPENVINO_FILE, read_golden
from defect_detection.model.card import Card
from defect_detection.use_cases.train import train

ONE_CLASS = "training.mode=one_class"
FEW = (5, 10, 20, 50)  # defective images of the training set; the others are left out
FITTED = 1000  # OK images that are fitted from nothing,
IMAGE_PX = 256  # of this size
BESIDE = (60, FITTED)  # OK images that a peer fits too; its time grows with the square of their number,
LIMIT = 20  # so it is stopped when it has taken so many times as long as this project
CALLS = 200  # of one image, with and without novelty
JUDGES = ("novelty", "classifier", "both")
COLUMNS_ALONE = ("data set", "trunk", "AUROC (95 % interval)")
COLUMNS_FEW = ("data set", "defective images", *(f"AUROC of {name}" for name in JUDGES), "novelty counts")
COLUMNS_FIT = ("fitted", "seconds", "peak memory, MiB")
COLUMNS_COST = ("one image, ms (median)", "figure")


def measure(options: Options) -> dict[str, Any]:
    """Measure quality on every data set, then time and memory on drawn parts."""
    alone = [row for data in options.data_sets() for row in _alone(data, options)]
    few = [row for data in options.data_sets() for row in _few(data, options)]
    return {
        "draws": options.seeds,
        "alone": alone,
        "few": few,
        "fit": _fit(options),
        "one_image_ms": _one_image(_last_bundle(few, options), options.work) if few else {},
    }


def _alone(data: DataSet, options: Options) -> list[dict[str, Any]]:
    """Train from OK images alone, with each trunk."""
    trunks = {"own": ()} | ({"MobileNetV2": (pretrained(options.weights),)} if options.weights else {})
    rows = []
    for name, overrides in trunks.items():
        folder = options.work / "novelty" / "alone"
        project = Project.new(folder, data, (*options.overrides, *overrides, ONE_CLASS))
        project.train()
        rows.append({"data": data.name, "trunk": name, "metrics": project.evaluate()})
    return rows


def _few(data: DataSet, options: Options) -> list[dict[str, Any]]:
    """Train with a few defective images, several draws of each number. All draws share the features in one cache."""
    samples = scan(data.train, OK_CLASSES)[0]
    datasets.empty(options.work / "novelty" / "cache")
    return [
        {"data": data.name, "defective": count, "draw": draw}
        | _judge(data, chosen, _folder(options, data.name, count, draw), options)
        for count in FEW
        for draw in range(options.seeds)
        if (chosen := _drawn(samples, count, draw))
    ]


def _last_bundle(few: Sequence[dict[str, Any]], options: Options) -> Path:
    last = few[-1]
    return _folder(options, last["data"], last["defective"], last["draw"]) / "temp_best_model"


def _folder(options: Options, data: str, count: int, draw: int) -> Path:
    """Return the project of a draw."""
    return options.work / "novelty" / "few" / data / f"{count}-{draw}"


def _drawn(samples: Sequence[Sample], count: int, draw: int) -> list[Sample]:
    """Return all OK images and so many defective ones, of as many parts as possible; nothing where there are no more than these."""
    defective = [sample for sample in samples if sample.label != OK]
    if len(defective) <= count:
        return []
    rng, parts = np.random.default_rng(1000 * draw + count), parts_of(defective)
    earlier: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for index in rng.permutation(len(defective)).tolist():
        earlier[parts[index]] = earlier.get(parts[index], 0) + 1
        ranked.append((earlier[parts[index]], len(ranked), index))
    chosen = sorted(index for _, _, index in sorted(ranked)[:count])
    return [sample for sample in samples if sample.label == OK] + [defective[index] for index in chosen]


def _judge(data: DataSet, samples: Sequence[Sample], folder: Path, options: Options) -> dict[str, float]:
    """Train on the samples; return the AUROC of each judge on the test images, and how much novelty counts."""
    shared = f"cache_dir={options.work / 'novelty' / 'cache'}"
    project = Project.new(folder, DataSet(folder / "data"), (*options.overrides, shared))
    datasets.add(samples, folder / "data" / "train")
    (folder / "data" / "test").symlink_to(data.test)
    train(load_config(folder / "config.yaml", [sets_override(project.hyperparameter_sets[:1])]))
    shutil.rmtree(folder / "data")  # 80 copies of the images would stay
    return _aurocs(project.bundle, scan(data.test, OK_CLASSES)[0])


def _aurocs(bundle: Path, test: Sequence[Sample]) -> dict[str, float]:
    """Return the AUROC of each judge in a model, and how much novelty counts in it."""
    inspector = Inspector.load(bundle)
    found = list(inspector.inspect([sample.path for sample in test]))
    scores, novelty = (
        np.array([getattr(one, name) for one in found], float) for name in ("score", "novelty")
    )
    judges = dict(
        zip(JUDGES, (novelty, _without_novelty(scores, novelty, inspector.card), scores), strict=True)
    )
    labels = labels_of(test)
    aurocs = {name: float(roc_auc_score(labels, values)) for name, values in judges.items()}
    return aurocs | {"share": inspector.card.novelty_share}


def _without_novelty(scores: np.ndarray, novelty: np.ndarray, card: Card) -> np.ndarray:
    """Return the part of the logits that is the classifier's."""
    likely = np.clip(scores, 1e-7, 1 - 1e-7)
    return np.log(likely / (1 - likely)) - float(card.calibration["novelty"]) * novelty  # type: ignore[arg-type]


def _fit(options: Options) -> list[dict[str, Any]]:
    """Train from drawn OK images alone, with nothing cached, and let PatchCore fit the same ones."""
    drawn = datasets.drawn(
        options.cache / "drawn" / f"novelty-{FITTED}", n_train=FITTED * 8 // 5, n_test=30, size=IMAGE_PX
    )
    ok = [sample for sample in scan(drawn.train, OK_CLASSES)[0] if sample.label == OK]
    fits: dict[str, Callable[[], dict[str, Any]]] = {}
    seconds: dict[int, float] = {}  # that this project took last
    for count in BESIDE if options.peers else (FITTED,):
        fits[_named("this project", count)] = partial(_fit_ours, ok[:count], drawn, options, seconds)
        if options.peers:
            fits[_named("anomalib PatchCore, ResNet-18", count)] = partial(
                _fit_patchcore, ok[:count], drawn, options, seconds
            )
    return alternate(fits, options.repetitions)


def _named(name: str, count: int) -> str:
    return f"{name}: {count:,} OK images of {IMAGE_PX} px"


def _fit_ours(
    ok: Sequence[Sample], drawn: DataSet, options: Options, seconds: dict[int, float]
) -> dict[str, Any]:
    folder = datasets.empty(options.work / "novelty" / "drawn")
    datasets.add(ok, folder / "train")
    (folder / "test").symlink_to(drawn.test)
    project = Project.new(options.work / "novelty" / "fit", DataSet(folder), (*options.overrides, ONE_CLASS))
    finished = project.train()
    seconds[len(ok)] = finished.seconds
    return _taken(finished)


def _fit_patchcore(
    ok: Sequence[Sample], drawn: DataSet, options: Options, seconds: Mapping[int, float]
) -> dict[str, Any]:
    python = options.environments.python("anomalib")
    work = datasets.empty(options.work / "novelty" / "patchcore")
    test = scan(drawn.test, OK_CLASSES)[0]
    datasets.add(ok, work / "data" / "train")
    few = [next(one for one in test if (one.label == OK) == is_ok) for is_ok in (True, False)]
    for sample, name in zip(few, ("ok", "defective"), strict=True):
        (work / "data" / "test" / name).mkdir(parents=True)
        shutil.copy(sample.path, work / "data" / "test" / name)
    command = [python, PEERS / "anomalib_patchcore.py", work / "data", work]
    return _taken(run(command, work, limit_s=LIMIT * seconds.get(len(ok), math.inf)))


def _taken(finished: Finished) -> dict[str, Any]:
    return {"seconds": finished.seconds, "peak_bytes": finished.peak_bytes}


def _one_image(bundle: Path, work: Path) -> dict[str, list[float]]:
    """Return milliseconds of one image at a time, in turn with the whole graph and with the branches of the classifier alone."""
    from defect_detection.model.backend import keras
    from defect_detection.model.forms import load_keras, to_openvino

    model = load_keras(bundle / KERAS_FILE)
    last = {"pooled", "pooled_evidence", "local_evidence", "local_mean"} & {one.name for one in model.layers}
    plain = keras.Model(model.inputs, {name: model.get_layer(name).output for name in sorted(last)})
    path = datasets.empty(work / "novelty" / "plain") / "model.xml"
    to_openvino(plain, path)
    runtimes = {"without": Runtime(path), "with": Runtime(bundle / OPENVINO_FILE)}
    image = read_golden(bundle)[0][:1]
    taken: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(CALLS):
        for name, runtime in runtimes.items():
            started = time.perf_counter()
            runtime(image)
            taken[name].append((time.perf_counter() - started) * 1000)
    return taken


def render(result: dict[str, Any]) -> str:
    """Return the four tables."""
    alone = [[row["data"], row["trunk"], auroc(row["metrics"])] for row in result["alone"]]
    few = [
        _means(list(rows))
        for _, rows in groupby(result["few"], key=lambda row: (row["data"], row["defective"]))
    ]
    return "\n\n".join(
        [
            "From OK images alone, on the test split:",
            table(COLUMNS_ALONE, alone, texts=2),
            f"With a few defective images, means of {result['draws']} draws with the lowest and the highest:",
            table(COLUMNS_FEW, few),
            "Training from OK images alone, with nothing cached:",
            table(COLUMNS_FIT, [_fit_row(row) for row in result["fit"]]),
            "Cost of novelty in an inspection:",
            table(COLUMNS_COST, _costs(result["one_image_ms"])),
        ]
    )


def _means(rows: Sequence[dict[str, Any]]) -> list[str]:
    def cell(name: str, digits: int) -> str:
        values = [row[name] for row in rows]
        several = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
        return f"{mean(values):.{digits}f}{several}"

    return [rows[0]["data"], str(rows[0]["defective"]), *(cell(name, 3) for name in JUDGES), cell("share", 2)]


def _fit_row(row: dict[str, Any]) -> list[str]:
    if "skipped" in row:
        return [row["name"], row["skipped"]]
    return [row["name"], spread([run["seconds"] for run in row["runs"]], 1), mebibytes(row["runs"])]


def _costs(taken: dict[str, list[float]]) -> list[list[str]]:
    if not taken:
        return []
    without, with_it = (float(np.median(taken[name])) for name in ("without", "with"))
    return [
        ["without the novelty branch", f"{without:.1f}"],
        ["with it", f"{with_it:.1f} ({with_it / without - 1:+.0%})"],
    ]
