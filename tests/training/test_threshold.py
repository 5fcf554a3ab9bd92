"""The limits of the settings, applied to validation scores and stored in the card."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from defect_detection.data.samples import Sample
from defect_detection.model.bundle import read_card
from defect_detection.model.card import Card
from defect_detection.training.threshold import decide, novelty_limit, odd_ok

RANDOM = np.random.default_rng(3)
LABELS = np.repeat([0, 1], [600, 400])
SCORES = 1 / (1 + np.exp(-RANDOM.normal(4 * LABELS - 2, 1.5)))


def samples(parts: int | None = None) -> list[Sample]:
    """One sample for each score; with `parts`, so many of each label."""
    return [
        Sample(Path(f"{i}.png"), int(label), "", f"{label}-{i % parts}" if parts else "", f"{i:064x}")
        for i, label in enumerate(LABELS)
    ]


def test_without_any_setting_the_threshold_is_balanced_and_nobody_is_asked(project):
    point, review = decide(SCORES, samples(), project().evaluation)
    assert (point.rule, point.claims, review.is_empty) == ("balanced", (), True)


def test_a_claim_takes_its_confidence_from_evaluation(project):
    rates = "evaluation.operating_point.max_escape_rate=0.05"
    for overrides, confidence in (
        ([rates], 0.95),
        ([rates, "evaluation.confidence=0.9"], 0.9),
    ):
        (claim,) = decide(SCORES, samples(), project(*overrides).evaluation)[0].claims
        assert (claim.confidence, claim.met) == (confidence, True)


def test_a_claim_counts_the_parts_that_the_samples_name(project):
    settings = project("evaluation.operating_point.max_escape_rate=0.05").evaluation
    (claim,) = decide(SCORES, samples(parts=100), settings, "these images")[0].claims
    assert (claim.total, claim.unit) == (100, "part")
    assert "Of 100 defective parts on these images, " in claim.text


@pytest.mark.parametrize("parts", ["", "part {}"])
def test_copies_of_one_image_show_nothing_however_many_and_however_named(project, parts):
    settings = project("evaluation.operating_point.max_escape_rate=0.01").evaluation
    ok = [Sample(Path(f"ok{i}"), 0, "", "", f"{i:064x}") for i in range(10)]
    copies = [Sample(Path(f"{i}"), 1, "", parts.format(i), "f" * 64) for i in range(299)]
    scores = np.repeat([0.1, 0.9], [10, 299])
    point, _ = decide(scores, [*ok, *copies], settings)
    (claim,) = point.claims
    assert (claim.met, claim.total, claim.unit) == (False, 1, "part")
    assert "Of 1 defective parts on validation, none passed, which shows only at most 95.0 %" in claim.text
    assert point.escape.high == pytest.approx(0.975)


def test_costs_are_weighed_with_the_lines_share_of_defective_parts(project):
    costs = "evaluation.operating_point.costs={escape: 10, overkill: 1}"
    rare, frequent = (
        decide(SCORES, samples(), project(costs, f"evaluation.defect_rate={rate}").evaluation)[0].threshold
        for rate in (0.01, 0.4)
    )
    assert rare > frequent


def test_bounds_on_both_rates_give_a_band_that_claims_them(project):
    bounds = "evaluation.review={max_escape_rate: 0.02, max_overkill_rate: 0.03}"
    _, review = decide(SCORES, samples(), project(bounds).evaluation)
    assert [(claim.kind, claim.met) for claim in review.claims] == [("escape", True), ("overkill", True)]
    assert not review.is_empty


@pytest.mark.parametrize("bounds", [(0.03, 0.4), (0.4, 0.03), (0.2, 0.2)])
def test_where_one_threshold_meets_both_bounds_it_is_taken_and_nobody_is_asked(project, bounds):
    setting = f"evaluation.review={{max_escape_rate: {bounds[0]}, max_overkill_rate: {bounds[1]}}}"
    point, review = decide(SCORES, samples(), project(setting).evaluation)
    assert review.is_empty
    assert all(claim.met for claim in review.claims)
    assert review.low == review.high == point.threshold


def test_the_card_holds_the_operating_point_whole(trained_once):
    card = read_card(trained_once.config().bundle_dir)
    point = card.operating_point
    assert (point.threshold, point.rule, point.split) == (card.threshold, "balanced", "validation")
    assert (point.escape.total, point.overkill.total) == (6, 6)
    assert point.escape.value == card.validation["escape_rate"]
    assert card.claims_met is None


def earlier(card: Card, **changes: object) -> str:
    """The card as versions before wrote it: threshold, rule and band side by side, the rates among the figures."""
    values, point = json.loads(card.model_dump_json()), card.operating_point
    del values["operating_point"], values["review"]
    flat = {
        "threshold_rule": point.rule,
        "threshold_split": point.split,
        "threshold_reason": point.reason,
        "claims": [],
    }
    return json.dumps(values | flat | changes)


def test_a_card_of_an_earlier_version_gives_the_same_operating_point(trained_once):
    card = read_card(trained_once.config().bundle_dir)
    assert Card.model_validate_json(earlier(card)) == card
    banded = Card.model_validate_json(earlier(card, review_low=0.2, review_high=0.7))
    assert [banded.verdict(score) for score in (0.1, 0.2, 0.69, 0.7)] == [
        "ok",
        "review",
        "review",
        "defective",
    ]
    bare = Card.model_validate_json(earlier(card, validation={}))
    assert (bare.threshold, bare.operating_point.escape) == (card.threshold, None)


def test_a_card_keeps_the_cuts_side_by_side_for_other_programs(trained_once):
    card = read_card(trained_once.config().bundle_dir)
    values = json.loads(card.model_dump_json())
    assert (values["threshold"], values["review_low"]) == (card.threshold, None)
    with pytest.raises(ValidationError, match="threshold: expected"):
        Card.model_validate_json(json.dumps(values | {"threshold": 0.123}))


def test_the_card_of_a_model_with_a_calibration_curve_is_read(trained_once):
    curved = {
        "pooled": 0.5,
        "local": 0.25,
        "bias": -1.0,
        "curve_knots": [-1.0, 2.0],
        "curve_bends": [0.5, -0.25],
    }
    card = read_card(trained_once.config().bundle_dir)
    assert card.calibration.keys() == {"pooled", "local", "bias", "novelty", "novelty_share"}
    old = card.model_copy(update={"calibration": curved}).model_dump_json()
    assert Card.model_validate_json(old).calibration == curved


def with_odd(n_odd: int) -> np.ndarray:
    """Return the novelty of 100 OK images, some of them far above the others."""
    return np.concatenate([RANDOM.normal(0, 1, 100 - n_odd).clip(-2, 2), np.linspace(8, 9, n_odd)])


def ok_images(parts: int = 100) -> list[Sample]:
    """100 OK images; the last ones are of as few parts as makes so many in all."""
    return [Sample(Path(f"{i}"), 0, "", f"part {min(i, parts - 1)}", f"{i:064x}") for i in range(100)]


@pytest.mark.parametrize(
    ("n_odd", "parts", "marked"), [(0, 100, 0), (1, 100, 1), (5, 100, 5), (20, 100, 10), (12, 89, 12)]
)
def test_a_tenth_of_the_ok_parts_at_most_is_taken_for_defective_with_all_their_images(n_odd, parts, marked):
    defective = Sample(Path("defective"), 1, "dent", "", "d" * 64)  # has no part in it
    odd = odd_ok(np.append(with_odd(n_odd), 20), [*ok_images(parts), defective])
    assert odd.sum() == marked
    assert not odd[-1]


@pytest.mark.parametrize("n_odd", [0, 1, 5])
def test_ok_images_that_may_be_defective_do_not_raise_the_threshold_and_count_in_its_figures(project, n_odd):
    novelty, ok = with_odd(n_odd), ok_images()
    point, _ = decide(1 / (1 + np.exp(4 - novelty)), ok, project().evaluation, novelty_share=1)
    limit = novelty_limit(novelty, ok, project().evaluation, novelty_share=1)
    highest = np.sort(novelty)[-1 - n_odd]  # of the others
    cut = np.log(point.threshold / (1 - point.threshold)) + 4
    assert highest < cut < highest + 4
    assert highest < limit < highest + 4
    assert (point.overkill.count, point.overkill.total) == (n_odd, 100)


def test_with_a_few_defects_the_threshold_is_at_most_where_ok_images_alone_put_it(project):
    """The balanced one lies below the lowest of five defects: how low others get, they do not say."""
    logits = np.append(RANDOM.normal(-5, 1, 100).clip(-7, -3), np.linspace(4, 6, 5))
    images = [*ok_images(), *(Sample(Path(f"d{i}"), 1, "dent", "", f"d{i:063x}") for i in range(5))]
    scores, settings = 1 / (1 + np.exp(-logits)), project().evaluation
    balanced, few = (decide(scores, images, settings, novelty_share=share)[0] for share in (0, 0.6))
    alone, _ = decide(scores[:100], images[:100], settings, novelty_share=1)
    assert (few.threshold, few.rule) == (alone.threshold, "balanced")
    assert (
        logits[:100].max()
        < np.log(few.threshold / (1 - few.threshold))
        < np.log(balanced.threshold / (1 - balanced.threshold))
    )
    assert few.escape.count == few.overkill.count == 0
    fixed = project("evaluation.operating_point.threshold=0.9").evaluation
    assert decide(scores, images, fixed, novelty_share=0.6)[0].threshold == pytest.approx(0.9)
