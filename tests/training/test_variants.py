"""Variants are shown the same way each time, cached once, and learned from."""

import numpy as np
import pytest

from defect_detection.data.split import load_splits
from defect_detection.model.inspector import build_features
from defect_detection.model.trunks import build_trunk
from defect_detection.training import features, trial
from defect_detection.training.features import activations
from defect_detection.training.trial import Fits
from defect_detection.training.variants import AS_IT_IS, Variant, variants

KEYS = [f"{number:x}" * 64 for number in range(1, 7)]
RAMP = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), (len(KEYS), 16, 16, 3))


def test_what_is_learned_from_beside_the_images_as_they_are():
    assert variants(1, 0) == []
    assert variants(3, 2) == [Variant(turn=1), Variant(turn=2), Variant(light=1), Variant(light=2)]


def test_each_variant_is_cached_by_a_key_of_its_own():
    all_of_them = [AS_IT_IS, *variants(8, 8), Variant(turn=1, light=1)]
    assert AS_IT_IS.key("a") == "a"
    assert len({variant.key("a") for variant in all_of_them}) == len(all_of_them)


def test_eight_turns_are_eight_different_pictures():
    pictures = {Variant(turn=turn).shown(RAMP, KEYS).tobytes() for turn in range(8)}
    assert len(pictures) == 8 and RAMP.tobytes() in pictures


def test_another_light_depends_on_the_image_alone():
    light = Variant(light=1)
    lit = light.shown(RAMP, KEYS)
    assert len({image.tobytes() for image in lit}) == len(KEYS), "every image has a light of its own"
    np.testing.assert_array_equal(light.shown(RAMP[3:4], KEYS[3:4])[0], lit[3])
    assert not np.array_equal(Variant(light=2).shown(RAMP, KEYS), lit)


@pytest.mark.parametrize("number", range(1, 9))
def test_another_light_is_a_mild_one_that_keeps_what_is_brighter_brighter(number):
    levels = Variant(light=number).shown(RAMP, KEYS).reshape(len(KEYS), 256, 3)[..., 0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert 10 < np.abs(levels - np.arange(256)).max() < 70
    assert len(set(levels[0])) > 180, "little is clipped"


def test_variants_are_computed_once_and_only_for_new_images(trained_once, tmp_path, monkeypatch):
    config, computed = trained_once.config(), []
    splits = load_splits(config)
    model = build_features(build_trunk("compact", "procedural", config.data.image_size))
    keys = [sample.sha256 for sample in splits.samples][:5]
    run = features._run
    monkeypatch.setattr(
        features, "_run", lambda runtime, images, names: computed.append(len(images)) or run(runtime, images, names)
    )  # fmt: skip
    for wanted in (keys[:4], keys[:4], keys):
        for variant in (Variant(turn=1), Variant(light=1)):
            rows = activations(model, wanted, splits.pixels, tmp_path, only=["pooled"], variant=variant)
    assert computed == [4, 4, 1, 1]
    plain = activations(model, keys, splits.pixels, tmp_path, only=["pooled"])
    difference = np.abs(rows["pooled"][:] - plain["pooled"][:]).max(1)
    assert (difference > 0).all()


def test_a_set_with_other_lights_learns_from_them(plant):
    config = plant.config()
    splits = load_splits(config)
    base = config.training.resolved(config.training.hyperparameter_sets[0])

    fits = Fits()

    def learned(lights: int) -> np.ndarray:
        settings = base.model_copy(update={"branches": ("pooled",), "turns": 1, "lights": lights})
        return trial.run_trial(settings, splits, config, lambda *_: None, fits=fits).head.pooled.weights

    plain, lit, again = learned(0), learned(1), learned(0)
    assert not np.array_equal(plain, lit)
    np.testing.assert_array_equal(again, plain)
