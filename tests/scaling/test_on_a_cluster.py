"""Inspection and training on a cluster of two nodes, of which one dies in each test."""

import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest
from forked import python
from nodes import ended, wait_for
from waiting import LIMIT_S

from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card
from defect_detection.use_cases.search import storage_url

N_IMAGES = 800
LOOK = """
import sys
from defect_detection.scaling import cluster

def look_later(go, real):
    def look(paths):
        import os, time
        while not os.path.exists(go):
            time.sleep(0.02)
        return real(paths)
    return look

address, go, real = sys.argv[1], sys.argv[2], cluster._look()
cluster._look = lambda: look_later(go, real)
alive = cluster._alive
cluster._alive = lambda: print(len(alive()), flush=True) or alive()
with cluster.connected(address) as found:
    print("nodes", len(found.nodes))
"""


@pytest.fixture(scope="module")
def parts(trained_once, tmp_path_factory) -> Path:
    """Many links to few images, and two that cannot be read."""
    folder = tmp_path_factory.mktemp("parts")
    images = sorted((trained_once.root / "data/test").rglob("*.png"))
    for number in range(N_IMAGES - 2):
        os.link(images[number % len(images)], folder / f"{number:04}.png")
    (folder / "cut off.png").write_bytes(images[0].read_bytes()[:200])
    (folder / "empty.png").touch()
    return folder


def verdicts(output: Path) -> list[dict]:
    return [row for file in output.glob("*.parquet") for row in pq.read_table(file).to_pylist()]


def test_each_image_gets_one_row_though_the_command_and_a_node_are_killed(
    nodes, trained_once, parts, tmp_path
):
    nodes.ask("add 1")
    model, output = trained_once.config().bundle_dir, tmp_path / "out"
    command = ["inspect", str(parts), "--model", str(model), "--engine", "ray", "--output", str(output)]
    first = nodes.start(tmp_path, *command)
    wait_for(lambda: list(output.glob("*.parquet")), first)
    first.kill()
    ended(first)
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    assert 0 < len(verdicts(output)) < N_IMAGES
    second = nodes.start(tmp_path, *command)
    wait_for(lambda: len(list(output.glob("*.parquet"))) > len(before), second)
    nodes.ask("kill")
    code, said = ended(second)
    assert code == 0, said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    rows = verdicts(output)
    assert Counter(row["path"] for row in rows) == Counter(str(path) for path in parts.iterdir())
    assert sorted(Path(row["path"]).name for row in rows if row["error"]) == ["cut off.png", "empty.png"]
    assert "2 unreadable" in said and "more had their row already" in said
    by_path = {row["path"]: row for row in rows}
    some = sorted(parts.glob("*.png"))[:20]
    for local in Inspector.load(model).inspect(some):
        there = by_path[local.path]
        assert (there["verdict"], there["threshold"]) == (local.verdict, local.threshold)
        assert there["score"] == pytest.approx(local.score, abs=1e-6)


def test_training_gives_what_one_process_gives_though_a_node_is_killed(nodes, trained_once, tmp_path):
    plant = type(trained_once).build(tmp_path)
    assert (
        plant.registry.version("Defect_CNN", 1) is None
    )  # and there is a store, which takes a second to make
    nodes.ask("add 1")
    training = nodes.start(
        tmp_path,
        *("train", "--engine", "ray", "-s", "scaling.trial_cpus=1", "-s", "scaling.trial_gb=0.5"),
        *("-s", "training.search={base: both, trials: 2, space: {hidden_units: [16, 17]}}"),
    )
    wait_for(lambda: list(tmp_path.glob("cache/trials/*/fits")), training)
    nodes.kill_relay()  # early: a trial that ends without it gives its processor away, and another process starts
    wait_for(lambda: list(tmp_path.glob("cache/trials/*/*.result")), training)
    nodes.ask("kill")
    code, said = ended(training)
    assert code == 0, said
    here, there = (read_card(one.config().bundle_dir) for one in (trained_once, plant))
    assert there.name == here.name
    assert there.validation == pytest.approx(here.validation, abs=1e-6)
    assert there.operating_point.threshold == pytest.approx(here.operating_point.threshold, abs=1e-6)
    np.testing.assert_allclose(plant.scores(), trained_once.scores(), atol=1e-6)
    for one in (plant, trained_once):
        versions = [one.registry.version("Defect_CNN", number) for number in (1, 2)]
        assert [version is not None for version in versions] == [True, False]
    assert not list(tmp_path.glob("cache/trials/*"))
    (study,) = optuna.get_all_study_summaries(storage_url(tmp_path))
    trials = optuna.load_study(study_name=study.study_name, storage=storage_url(tmp_path)).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2


def test_a_node_with_another_version_of_the_package_stops_it_unless_it_dies_while_nodes_are_looked_at(
    nodes, trained_once, parts, tmp_path
):
    other = tmp_path / "other/defect_detection"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.9.0"\n')
    nodes.ask(f"add 1 {other.parent}")
    model = str(trained_once.config().bundle_dir)
    code, said = nodes.run(
        tmp_path, "inspect", str(parts), "--model", model, "--engine", "ray", "--output", "out"
    )
    assert code == 3
    assert "has defect-detection 0.9.0 in" in said and "Install the same version on every node" in said
    assert not list(tmp_path.glob("out/*.parquet"))

    go = tmp_path / "go"
    looking = subprocess.Popen(
        [python(), "-c", LOOK, nodes.address, str(go)], text=True, stdout=subprocess.PIPE
    )
    before = int(looking.stdout.readline())
    nodes.ask("kill")
    go.touch()
    said, _ = looking.communicate(timeout=LIMIT_S)
    assert (looking.returncode, said.splitlines()[-1]) == (0, f"nodes {before - 1}")
