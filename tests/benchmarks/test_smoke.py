"""Each benchmark runs on a tiny input without peers and writes its table. Speed is not checked."""

import io
import json
import runpy
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from done_once import compiled_once, drawn_once, newest_tables_found_once  # noqa: F401  fixtures
from plant import Plant

from benchmarks import endurance, inference, monitoring, novelty, project, quality, records, scaling
from benchmarks.__main__ import main
from benchmarks.alternate import alternate
from benchmarks.datasets import DataSet
from benchmarks.endurance import _slope
from benchmarks.environments import Environments
from benchmarks.load import Body, Target
from benchmarks.processes import ROOT, Finished, Unavailable, run
from benchmarks.project import Project
from benchmarks.serving import BARE, OURS
from benchmarks.tables import put_into
from defect_detection.config import load_config
from defect_detection.config.yaml_file import read_document
from defect_detection.data.samples import Sample, scan
from defect_detection.use_cases import export

# Each kind of layer of the trunk: with fewer of them, 8 bits differ too much.
LEVELS = "[level1, level2_wide_relu, level2]"
QUICK = (
    "data.image_size=32",
    "evaluation.bootstrap_repetitions=20",
    "evaluation.gate.guards=[escapes]",
    "training.cv_below=0",
    "serving.refresh_s=0.1",  # a swap is waited for under load
    f"training.hyperparameter_sets=[{{name: only, levels: {LEVELS}, branches: [pooled], turns: 1}}]",
)


@pytest.fixture
def measure(tmp_path):
    """A function that runs one benchmark and returns the rows of its table: lists of cells."""

    def run_one(name: str, *arguments: str | Path) -> list[list[str]]:
        readme = tmp_path / "README.md"
        settings = [part for text in QUICK for part in ("--set", text)]
        places = ("--cache", tmp_path / "cache", "--readme", readme, "--no-peers", "--repetitions", "1")
        readme.unlink(missing_ok=True)
        assert main([str(part) for part in (name, *places, *settings, *arguments)]) == 0
        lines = [line for line in readme.read_text().splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]

    return run_one


@pytest.fixture
def parts(tmp_path) -> Path:
    """A data set of images with defects that nobody can miss."""
    (tmp_path / "parts").mkdir()
    return Plant.build(tmp_path / "parts").root / "data"


@pytest.fixture
def trained_alike_once(monkeypatch):
    """Let projects with the same settings share one training, whatever its images and sets, and one evaluation."""
    train, evaluate = Project.train, Project.evaluate
    trained: dict[str, tuple[Path, Finished]] = {}
    evaluated: dict[str, dict[str, Any]] = {}

    def settings(one: Project) -> str:
        document = read_document(one.folder / "config.yaml")
        return str(document | {"data": {"image_size": document["data"]["image_size"]}})

    def train_once(one: Project, *overrides: str) -> Finished:
        key = settings(one)
        load_config(one.folder / "config.yaml", overrides)  # refuses what a training would refuse
        if key not in trained:
            trained[key] = one.folder, train(one, *overrides)
        folder, finished = trained[key]
        if folder != one.folder:
            own = shutil.ignore_patterns("config.yaml")
            shutil.copytree(folder, one.folder, dirs_exist_ok=True, ignore=own)
        return finished

    def evaluate_once(one: Project) -> dict[str, Any]:
        if settings(one) not in evaluated:
            evaluated[settings(one)] = evaluate(one)
        return evaluated[settings(one)]

    monkeypatch.setattr(Project, "train", train_once)
    monkeypatch.setattr(Project, "evaluate", evaluate_once)
    return trained


@pytest.fixture
def run_here(monkeypatch):
    """A function that runs a script as `run` does, but in this process."""

    def run_one(command: list[str | Path], folder: Path, expected: Sequence[int] = (0,)) -> Finished:
        started, said, code = time.perf_counter(), io.StringIO(), 0
        with monkeypatch.context() as patch, redirect_stdout(said):
            patch.chdir(folder)
            patch.setattr(sys, "argv", [str(part) for part in command[1:]])
            patch.setattr(sys, "path", [str(Path(command[1]).parent), *sys.path])
            patch.setenv("PYTHONPATH", str(ROOT / "src"))
            try:
                runpy.run_path(str(command[1]), run_name="__main__")
            except SystemExit as ended:
                code = ended.code or 0
        assert code in expected
        return Finished(time.perf_counter() - started, 0.0, None, said.getvalue())

    return run_one


@pytest.fixture
def scripts_in_this_process(monkeypatch, run_here):
    """Run scripts here: the benchmarks of training and serving show that each is a process of its own."""
    monkeypatch.setattr(inference, "run", run_here)


@pytest.fixture
def only_training_apart(monkeypatch, run_here):
    """Run the scripts of evaluation and retraining here; a training is a process of its own, whose memory is measured."""

    def here(verb: Callable[[Project], Any]) -> Callable[[Project], Any]:
        def run_verb(one: Project) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(project, "run", run_here)
                return verb(one)

        return run_verb

    for name in ("evaluate", "retrain"):
        monkeypatch.setattr(Project, name, here(getattr(Project, name)))


@pytest.mark.usefixtures("forked_children", "only_training_apart", "scripts_in_this_process")
def test_training_quality_image_size_scaling_and_inference_have_their_rows(
    measure, parts, trained_alike_once, monkeypatch
):
    """One model is trained, and retrained once, after the new images of the scaling. Inference is measured with the first."""
    monkeypatch.setattr(inference, "LATENCY_IMAGES", 5)
    monkeypatch.setattr(export, "_CALIBRATION_IMAGES", 24)
    ((name, seconds, auroc, accuracy, memory),) = measure("training", "--data", parts)
    assert name == "this project, default"
    assert float(seconds) > 0
    assert auroc.startswith("1.000 (")
    assert accuracy.endswith("/20)")
    assert sys.platform != "linux" or int(memory) > 0

    ((data, configuration, accuracy, *_, pointing, seconds),) = measure("quality", "--data", parts)
    assert (data, configuration) == ("data", "default")
    assert accuracy.endswith("/20)")
    assert pointing == "" and float(seconds) > 0, "these images have no masks"

    ((size, latency, seconds, memory, cache),) = measure("image_size", "--data", parts, "--image-sizes", "32")
    assert size == "32"
    assert float(latency) > 0 and float(seconds) > 0 and float(cache) > 0
    assert sys.platform != "linux" or int(memory) > 0
    monkeypatch.setattr(scaling, "IMAGE_PX", 64)
    rows = measure("scaling", "--sizes", "40")
    assert [row[:2] for row in rows] == [
        ["40", "1 set, nothing cached"],
        ["40", "1 set, all cached"],
        ["40", "2 sets, all cached"],
        ["40", "1 set, after 5 % new images"],
        ["40", "re_train/re_train.py, from the registry"],
    ]
    assert all(float(row[2]) > 0 for row in rows)
    assert len(trained_alike_once) == 1

    (trained,) = trained_alike_once.values()
    measures_inference(measure, parts, trained[0] / "temp_best_model")


def measures_inference(measure, parts: Path, bundle: Path) -> None:
    """Latency, a folder and limits."""
    rows = measure("inference", "--data", parts, "--model", bundle, "--images", "12")
    by_name = {row[0]: row[1:] for row in rows}
    first, latency, _, folder, share, _ = by_name["this project, f32"]
    assert all(float(cell) > 0 for cell in (first, latency, folder))
    assert share.endswith("%")
    assert float(by_name["this project, int8"][3]) > 0  # its 8-bit copy was made and inspects
    limits = {name: cells[3] for name, cells in by_name.items() if name.startswith("limit")}
    assert len(limits) == 2
    assert all(float(cell) > 0 for cell in limits.values())
    assert "100 %" in [cells[4] for cells in by_name.values()]


def test_quality_says_how_often_the_evidence_peaks_on_the_defect():
    seeds = [{"pointing": {"all": {"count": n, "total": 20}, "by_chance": 0.25}} for n in (16, 18)]
    assert quality._pointing(seeds) == "85.0 % (16 to 18 of 20); chance 25%"


def test_monitoring_counts_false_alarms_and_delays(measure, trained_once, monkeypatch):
    for name, few in {"QUIET_SHIFTS": 3, "CHANGES": 2, "LONGEST": 5}.items():
        monkeypatch.setattr(monitoring, name, few)
    rows = measure(
        "monitoring", "--data", trained_once.root / "data", "--model", trained_once.config().bundle_dir
    )
    counts = {row[0]: row[1:] for row in rows}
    assert all(int(cell) >= 0 for cell in counts["false alarms in 3 quiet shifts, independent images"])
    assert len([name for name in counts if name.endswith(": noticed after")]) == len(monitoring.CHANGED)


@pytest.mark.usefixtures("forked_children")
def test_serving_measures_this_project_beside_a_bare_application(measure, parts, trained_once, monkeypatch):
    monkeypatch.setattr(endurance, "LOOK_S", 0.05)
    bundle = trained_once.root / "temp_best_model"
    beside = ("--soak", "0.01", "--swaps", "1")
    rows = measure("serving", "--data", parts, "--model", bundle, "--seconds", "0.1", *beside)
    names = {row[0]: row[1:] for row in rows}
    assert set(names) == {*OURS.values(), *BARE.values()}
    for name, cells in names.items():
        *rates, _, _, _, once, _, _, _, errors, _, ready_s = cells
        assert all(float(rate) > 0 for rate in rates)
        assert name not in OURS.values() or once == "1.00"
        assert errors == "0"
        assert float(ready_s) > 0


def test_a_load_counts_what_is_not_answered_with_200_as_errors():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = Target(listening.getsockname()[1], "/predict", [Body("image/jpeg", (b"a", b"b"))])
    load = target.run(clients=2, seconds=0.05)  # nobody listens any more
    assert load.latencies_ms == []
    assert load.errors > 0
    assert "ConnectionRefusedError" in load.summary()["error"]


def test_each_request_carries_a_file_of_its_own_where_the_body_leaves_room_for_a_number():
    assert Body("image/jpeg", (b"a", b"b")).numbered(7) == b"a000000000007b"
    assert Body("application/json", (b"[1]",)).numbered(7) == b"[1]"


def test_the_slope_of_memory_leaves_the_warm_up_out():
    looks = [(minute, 100 + 2 * minute if minute >= 2 else 0) for minute in range(11)]
    assert _slope(looks, from_minute=2)["slope_mb_per_min"] == pytest.approx(2)


def test_novelty_has_its_rows(trained_once, tmp_path, monkeypatch):
    monkeypatch.setattr(novelty, "CALLS", 2)
    bundle = trained_once.config().bundle_dir
    judged = novelty._aurocs(bundle, trained_once.samples())
    figures = {"auroc": {"value": 0.98, "low": 0.95, "high": 1.0}}
    draws = [{"data": "parts", "defective": 5, "draw": draw} | judged for draw in range(2)]
    result = {
        "draws": 2,
        "alone": [{"data": "parts", "trunk": "own", "metrics": figures}],
        "few": draws,
        "fit": [
            {"name": novelty._named("this project", 1000), "runs": [{"seconds": 40.0, "peak_bytes": 2**30}]},
            {"name": "a peer", "skipped": "cannot be installed"},
        ],
        "one_image_ms": novelty._one_image(bundle, tmp_path),
    }
    lines = novelty.render(result).splitlines()
    assert "| parts | own | 0.980 (0.950 to 1.000) |" in lines
    (few,) = [line for line in lines if line.startswith("| parts | 5 |")]
    assert few.count("1.000 (1.000 to 1.000)") == 3, "novelty, the classifier and both see these defects"
    assert sum("1,000 OK images of 256 px | 40.0 |" in line for line in lines) == 1
    assert sum(line.startswith("| a peer | cannot be installed |") for line in lines) == 1
    assert sum("the novelty branch" in line or "| with it |" in line for line in lines) == 2


def test_a_peer_is_measured_where_this_project_could_not_be(tmp_path, monkeypatch, write_images):
    monkeypatch.setattr(novelty, "PEERS", tmp_path)
    (tmp_path / "anomalib_patchcore.py").write_text("")
    for name in ("ok", "hole"):
        write_images(tmp_path / "test" / name, 1)
    drawn = DataSet(tmp_path)
    options = SimpleNamespace(
        work=tmp_path / "work", environments=SimpleNamespace(python=lambda _name: sys.executable)
    )
    assert novelty._fit_patchcore(scan(drawn.test, ["ok"])[0][:1], drawn, options, {})["seconds"] > 0


def test_a_draw_takes_defective_images_of_as_many_parts_as_there_are():
    ok = [Sample(Path(f"ok{i}"), 0, "", "", f"ok{i}") for i in range(3)]
    bad = [Sample(Path(f"{i}"), 1, "scratch", f"part {i % 4}", f"{i}") for i in range(12)]
    for draw in range(3):
        chosen = novelty._drawn([*ok, *bad], 5, draw)
        assert chosen[:3] == ok
        assert len(chosen) == 8
        assert {sample.group for sample in chosen[3:]} == {f"part {i}" for i in range(4)}
    assert novelty._drawn([*ok, *bad], 12, 0) == []


def test_a_contender_that_cannot_be_measured_says_why_and_the_others_go_on():
    def missing() -> dict[str, int]:
        raise Unavailable("not installed")

    rows = alternate({"a": missing, "b": lambda: {"seconds": 1}}, repetitions=2)
    assert rows == [
        {"name": "a", "skipped": "not installed"},
        {"name": "b", "runs": [{"seconds": 1}, {"seconds": 1}]},
    ]


def test_a_peer_that_cannot_be_installed_says_why(tmp_path):
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("./no-such-package\n")
    environments = Environments(tmp_path / "environments", {"peer": wanted})
    with pytest.raises(Unavailable, match=r"can't be installed: .*no-such-package"):
        environments.python("peer")


def test_memory_counts_the_child_processes(tmp_path):
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc, which only Linux has")
    hold = f"import subprocess, sys, time; held = b'x' * {200 * 2**20}; "
    child = f"{hold} time.sleep(1)"
    parent = f"{hold} subprocess.run([sys.executable, '-c', {child!r}])"
    peak = run([sys.executable, "-c", parent], tmp_path).peak_bytes
    assert peak is not None
    assert 400 < peak / 2**20 < 500


def test_a_command_that_fails_gives_its_error(tmp_path):
    with pytest.raises(Unavailable, match=r"ValueError: too hot \(exit code 1\)"):
        run([sys.executable, "-c", "raise ValueError('too hot')"], tmp_path)


def test_a_command_that_takes_too_long_is_stopped_and_says_so(tmp_path):
    code = (
        "import os, pathlib, subprocess; child = subprocess.Popen(['sleep', '60']); "
        "pathlib.Path('pids').write_text(f'{os.getpid()} {child.pid}'); child.wait()"
    )
    with pytest.raises(Unavailable, match="not finished after 2 s"):
        run([sys.executable, "-c", code], tmp_path, limit_s=2)
    parent, child = (Path(f"/proc/{pid}/cmdline") for pid in (tmp_path / "pids").read_text().split())
    assert not parent.exists()
    deadline = time.monotonic() + 10
    while is_there := child.exists() and child.read_bytes() != b"":  # nothing is left of an ended one
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not is_there


def test_only_what_stands_between_the_markers_is_replaced(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n")
    put_into(path, "quality", "old")
    path.write_text(path.read_text() + "after\n")
    put_into(path, "quality", "new")
    assert path.read_text() == (
        "before\n\n<!-- quality: written by the benchmark -->\n\nnew\n\n<!-- quality: end -->\nafter\n"
    )


def test_tables_are_written_again_from_the_results(tmp_path):
    result = {
        "machine": {"date": "today"},
        "side": 64,
        "rows": [{"images": 9, "step": "cold", "runs": [{"seconds": 2, "cpu_s": 0.9, "peak_bytes": None}]}],
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "scaling.json").write_text(json.dumps(result))
    readme = tmp_path / "README.md"
    assert main(["tables", "--cache", str(tmp_path), "--readme", str(readme)]) == 0
    assert "| 9 | cold | 2.0 | 100.0 | not measured |" in readme.read_text()


def test_records_has_a_row_for_each_view(measure, monkeypatch):
    monkeypatch.setattr(records, "REPETITIONS", 1)
    rows = measure("records", "--rows", "200")
    filters = {name: int(count) for name, count, _ in rows}
    assert filters["`/inspections`, newest"] > 1
    assert (filters["`/products`"], filters["insert 64 inspections"]) == (1, 1)
    assert all(float(milliseconds) > 0 for *_, milliseconds in rows)
