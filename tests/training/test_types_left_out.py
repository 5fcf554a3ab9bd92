"""The escape rate on a defect type that was left out of training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defect_detection.config import load_config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.samples import Sample
from defect_detection.model.bundle import short_hashes
from defect_detection.model.heads import Novelty, Standardise
from defect_detection.training.features import Rows
from defect_detection.training.folds import Folds
from defect_detection.training.local_branch import score_left_out
from defect_detection.training.types_left_out import Fitted, leave_types_out

NONE_KNOWN = np.array([], np.uint64)
SETTINGS = HyperparameterSet(name="tried", pooled_regularization=0.1)
EMPTY = np.zeros((0, 0), np.float32)
UNFITTED = Novelty(
    Standardise(EMPTY, EMPTY), EMPTY, EMPTY, EMPTY, EMPTY, Standardise(EMPTY, EMPTY), EMPTY, {}
)


def samples_of(**types: int) -> list[Sample]:
    kinds = ["ok"] * 60 + [name for name, count in types.items() for _ in range(count)]
    return [
        Sample(
            Path(f"{i}.png"),
            int(kind != "ok"),
            "" if kind == "ok" else kind,
            "",
            f"{i + 1:016x}".ljust(64, "0"),
        )
        for i, kind in enumerate(kinds)
    ]


def fitted(samples: list[Sample]) -> Fitted:
    """Each type stands out in one feature of its own. Novelty sees all types, and the fits with all types know them."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (len(samples), 12)).astype(np.float32)
    types = sorted({sample.defect_type for sample in samples} - {""})
    for i, sample in enumerate(samples):
        if sample.label:
            features[i, types.index(sample.defect_type)] += 12
    labels, everything = np.array([sample.label for sample in samples]), np.arange(len(samples))
    return Fitted(
        samples,
        Folds(everything % 5, refit=True),
        Rows(features, everything),
        lambda: pytest.fail("no local branch, no cells"),
        {"pooled": np.where(labels == 1, 4.0, -4.0) + rng.normal(0, 0.1, len(samples))},
        UNFITTED,
        rng.normal(0, 0.1, (len(samples), 3)) + 5 * labels[:, np.newaxis],
        np.flatnonzero(labels == 0),
    )


def found(samples: list[Sample], known: np.ndarray = NONE_KNOWN):
    config = load_config(None, ["evaluation.max_unknown_rate=0.05"])
    return {one.name: one for one in leave_types_out(fitted(samples), known, SETTINGS, config)}


def test_a_type_that_was_left_out_passes_by_its_score_and_is_caught_by_its_novelty():
    scratch = found(samples_of(scratch=20, dent=15))["scratch"]
    assert scratch.without_novelty.total == scratch.with_novelty.total == 20
    assert scratch.without_novelty.count >= 18
    assert scratch.with_novelty.count == 0
    assert scratch.with_novelty.high == pytest.approx(0.168, abs=1e-3)  # Clopper–Pearson, none of 20


@pytest.mark.parametrize(
    ("types", "measured"),
    [
        ({"scratch": 20, "dent": 9}, {"scratch"}),
        ({"scratch": 20}, set()),  # nothing is left to learn from
        ({"scratch": 20, "dent": 1}, set()),
        ({f"type {i}": 10 for i in range(10)}, {f"type {i}" for i in range(8)}),
    ],
)
def test_a_type_needs_ten_parts_and_others_beside_it(types, measured):
    assert found(samples_of(**types)).keys() == measured


def test_a_type_that_the_trunk_has_learned_cannot_be_left_out():
    samples = samples_of(scratch=20, dent=15)
    known = short_hashes([samples[60].sha256])
    assert found(samples, known).keys() == {"dent"}


def test_where_one_split_judges_other_types_must_be_in_it():
    """The threshold comes from held-out images of other types: here all of them are learned."""
    samples = samples_of(scratch=20, dent=15)
    made = replace(
        fitted(samples), folds=Folds(np.where(np.arange(95) % 2 + (np.arange(95) >= 80), -1, 0), False)
    )
    measured = leave_types_out(made, NONE_KNOWN, SETTINGS, load_config(None))
    assert [one.name for one in measured] == ["dent"]


def test_a_part_with_two_types_is_left_out_of_both_fits():
    """All scratches lie on parts that have a dent too: nothing is left to learn a dent from, so its score says nothing."""
    samples = samples_of(scratch=20, dent=20, burr=10)
    for i in range(60, 80):
        samples[i] = replace(samples[i], group=f"part {i}")
        samples[i + 20] = replace(samples[i + 20], group=f"part {i}")
    types = found(samples)
    assert (types["scratch"].with_novelty.total, types["dent"].with_novelty.total) == (20, 20)


def test_a_type_on_every_ok_part_leaves_nothing_to_learn_from():
    samples = samples_of(scratch=60, dent=15)
    for i in range(60):
        samples[i], samples[60 + i] = (replace(samples[n], group=f"part {i}") for n in (i, 60 + i))
    assert found(samples).keys() == {"dent"}


def test_the_local_branch_judges_each_type_by_the_fit_without_it():
    """Each label is told by one channel, but that of the type left out: its images look OK to the fit without them."""
    rng = np.random.default_rng(0)
    fold = np.repeat([-1, 0, 1], [40, 20, 20])
    cells = rng.normal(0, 1, (80, 2, 2, 4)).astype(np.float32)
    for number in (0, 1):
        cells[fold == number, :, :, number] += 6
    settings = SETTINGS.model_copy(update={"batch_size": 8, "learning_rate": 0.01, "hidden_units": 8})
    rows = Rows(cells, np.arange(80))
    logits = score_left_out(rows, np.repeat([0, 1], [40, 40]), Folds(fold, refit=False), settings, 6, 0)
    assert np.isnan(logits[:40]).all()
    assert np.isfinite(logits[40:]).all()
    assert (logits[40:] < 0).mean() > 0.5
