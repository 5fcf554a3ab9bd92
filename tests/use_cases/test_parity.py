"""Every form of a model gives the same golden verdicts; a form that does not is detected."""

import json
import shutil
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from plant import with_threshold

from defect_detection.cli import main
from defect_detection.errors import BundleError, ConfigError
from defect_detection.evaluation.gate import Outcome
from defect_detection.evaluation.rates import Rate
from defect_detection.inference.inspect import Inspector
from defect_detection.inference.runtime import Runtime
from defect_detection.model.bundle import (
    CARD_FILE,
    read_card,
    read_golden,
    read_golden_types,
    write_card,
    write_golden,
)
from defect_detection.model.forms import to_openvino
from defect_detection.model.graph import build_inspector, read_trunk
from defect_detection.model.parity import FormParity, compare
from defect_detection.model.type_rule import TypeRule, types_json
from defect_detection.tracking.flavor import PyfuncModel
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.parity import (
    FORMS,
    check_parity,
    deployed_forms,
    http_scores,
    http_sender,
    most_flips,
    parity_fact,
    parity_lines,
    png,
)


def test_every_form_gives_the_scores_of_keras_for_a_head_with_all_its_parts(both_branches):
    _, scores = read_golden(both_branches)
    assert scores.max() - scores.min() > 0.2  # the images aren't all alike to it
    for found in check_parity(both_branches, FORMS):
        assert found.allowed, found
        assert found.precision == "bf16" or max(found.difference, found.types) < 1e-4, found


def test_a_loaded_bundle_is_compared_as_one_that_is_loaded_again(both_branches):
    loaded = check_parity(both_branches, ["openvino", "pyfunc"], Inspector.load(both_branches))
    assert loaded == check_parity(both_branches, ["openvino", "pyfunc"])
    assert loaded[0].types > 0


def test_another_probability_of_a_type_is_no_parity(both_branches, tmp_path):
    folder = shutil.copytree(both_branches, tmp_path / "bundle")
    images, scores = read_golden(folder)
    write_golden(folder, images, scores, read_golden_types(folder) + 0.01)
    card = read_card(folder)
    (folder / CARD_FILE).unlink()
    write_card(folder, card)
    (found,) = check_parity(folder, ["openvino"])
    assert (found.allowed, found.flips, round(found.types, 3)) == (False, 0, 0.01)
    assert "probabilities of types by up to 0.01" in str(found)


def test_types_do_not_change_a_score_by_a_bit(both_branches, random_head, hidden_corner, tmp_path):
    images, _ = read_golden(both_branches)
    trunk = read_trunk(both_branches, "")
    without_types = replace(random_head(trunk, images), types=None)
    to_openvino(build_inspector(trunk, without_types, hidden_corner), tmp_path / "model.xml")
    with_types, without = (Runtime(folder / "model.xml")(images) for folder in (both_branches, tmp_path))
    assert with_types.keys() - without.keys() == {"types"}
    np.testing.assert_array_equal(with_types["score"], without["score"])


def test_pyfunc_gives_types_and_boxes_as_the_json_lines_do(both_branches, tmp_path):
    folder, sure = shutil.copytree(both_branches, tmp_path / "bundle"), Rate.of(9, 10)
    rule = TypeRule(
        names=("a", "b", "c"), several=True, least=(0.02,) * 3, novelty_limit=None, right=sure, unknown=sure
    )
    card = read_card(folder).model_copy(update={"types": rule})
    (folder / CARD_FILE).unlink()
    write_card(folder, card)
    inspector, (images, _) = Inspector.load(folder), read_golden(folder)
    rows = PyfuncModel(inspector).predict([*images, b"no image"]).to_dict("records")
    lines = [one.to_json() for one in inspector.inspect([*images, b"no image"])]
    nothing = types_json(()) | {"boxes": []}
    for row, line in zip(rows, lines, strict=True):
        assert {name: row[name] for name in nothing} == {
            name: line.get(name, value) for name, value in nothing.items()
        }
    assert max(len(row["defect_types"]) for row in rows) > 1 and any(row["boxes"] for row in rows)


@pytest.fixture
def server(both_branches):
    """A server that answers an image posted to it with the score of the bundle; to /nothing with an empty object."""
    inspector = Inspector.load(both_branches)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            (inspection,) = inspector.inspect([self.rfile.read(int(self.headers["Content-Length"]))])
            answer = {} if self.path == "/nothing" else inspection.to_json()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as running:
        thread = Thread(target=running.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_golden_images_go_through_http_unchanged(both_branches, server):
    lines = list(parity_lines(both_branches, ["openvino"], f"{server}/predict"))
    assert [allowed for _, allowed in lines] == [True, True]
    assert lines[1][0].startswith("HTTP f32: 0 of 8 verdicts differ from Keras, scores by up to ")
    images, scores = read_golden(both_branches)
    np.testing.assert_allclose(http_scores(http_sender(f"{server}/predict"), images), scores, atol=1e-4)


def test_an_address_that_gives_no_score_is_an_error(server):
    with pytest.raises(BundleError, match="expected a JSON object with a `score`"):
        http_sender(f"{server}/nothing")(png(np.zeros((64, 64, 3), np.uint8)))
    with pytest.raises(ConfigError, match="--url: expected an address like"):
        http_sender("file:///etc/passwd")


def test_an_unknown_form_is_an_error(both_branches):
    with pytest.raises(ConfigError, match=r"--form: expected openvino, .*, received tflite"):
        list(parity_lines(both_branches, ["tflite"]))


def test_differences_are_counted_by_verdict_and_by_score(both_branches):
    card = with_threshold(read_card(both_branches), 0.5)
    found = compare(card, np.array([0.1, 0.49, 0.9]), np.array([0.1, 0.52, 0.89]), "ONNX")
    assert (found.images, found.flips) == (3, 1)
    assert found.difference == pytest.approx(0.03)
    assert str(found) == "ONNX f32: 1 of 3 verdicts differ from Keras, scores by up to 0.03"


def test_a_score_that_is_not_a_number_has_no_verdict(both_branches):
    card = with_threshold(read_card(both_branches), 0.5)
    assert not compare(card, np.array([0.1, 0.2]), np.array([0.1, np.nan]), "ONNX").same_verdicts


@pytest.mark.parametrize(
    ("flips", "difference", "precision", "allowed"),
    [
        (0, 0.0009, "f32", True),
        (0, 0.0011, "f32", False),
        (0, 0.049, "bf16", True),
        (0, 0.051, "bf16", False),
        (0, 0.149, "int8", True),
        (1, 0.0, "int8", False),
        (0, float("nan"), "int8", False),
    ],
)
def test_what_is_allowed_depends_on_the_precision(flips, difference, precision, allowed):
    assert FormParity("any", 8, flips, difference, precision).allowed is allowed


def change_weights(bundle):
    """Change the deployed weights, and make the checksums right again: a converter's error, not a damaged file."""
    weights = np.fromfile(bundle / "model.bin", np.float32)
    real = np.isfinite(weights) & (np.abs(weights) > 1e-6)  # the rest are shapes and the like, whole numbers
    weights[real] *= -1
    weights.tofile(bundle / "model.bin")
    write_card(bundle, read_card(bundle))


def test_a_deployed_form_with_other_weights_is_not_promoted(plant):
    change_weights(plant.config().bundle_dir)
    plant.make()
    done = evaluate(plant.config())
    assert done.decision.outcome is Outcome.HOLD
    assert any("golden" in reason for reason in done.decision.reasons)
    assert plant.in_production() is None


def test_the_report_names_the_largest_difference_over_the_deployed_forms(plant):
    done = evaluate(plant.config("inference.precision=bf16"))
    (text,) = [fact.text for fact in done.report.facts if fact.name == "Deployed forms"]
    assert "Golden images through OpenVINO f32, OpenVINO bf16, pyfunc f32; the largest difference: " in text
    assert "0 of 8 verdicts differ" in text
    assert text in done.files["html"].read_text()
    assert done.decision.outcome is Outcome.PROMOTE


def test_what_is_deployed_is_what_is_checked(project):
    assert deployed_forms(project()) == ("openvino", "pyfunc")
    assert deployed_forms(project("inference.precision=bf16")) == ("openvino", "openvino-bf16", "pyfunc")


def test_the_worst_form_is_the_one_that_flips_most():
    found = [FormParity("A", 8, 1, 0.01), FormParity("B", 8, 0, 0.2)]
    assert parity_fact(found)[1].endswith(
        "the largest difference: A f32: 1 of 8 verdicts differ from Keras, scores by up to 0.01"
    )


def test_a_form_that_flips_nothing_but_moves_scores_too_far_holds_a_model_back_too():
    fine, moved = FormParity("A", 8, 0, 1e-6), FormParity("B", 8, 0, 0.06, "bf16")
    assert [most_flips([fine]), most_flips([fine, moved])] == [0, 1]
    assert most_flips([fine, moved, FormParity("C", 8, 3, 0.5)]) == 3


def test_bf16_is_refused_where_it_flips_a_golden_verdict(plant):
    bundle = plant.config().bundle_dir
    assert Inspector.load(bundle, precision="bf16").card == read_card(bundle)
    images, scores = read_golden(bundle)
    write_golden(bundle, images, 1 - scores)
    write_card(bundle, read_card(bundle))
    with pytest.raises(
        ConfigError, match=r"inference\.precision: bf16 is not accurate enough for .*set it to f32: .*8 of 8"
    ):
        Inspector.load(bundle, precision="bf16")
    Inspector.load(bundle)  # f32 was checked when the model was made


def test_changed_golden_images_are_an_error(plant):
    bundle = plant.config().bundle_dir
    images, scores = read_golden(bundle)
    write_golden(bundle, images, 1 - scores)
    with pytest.raises(BundleError, match=r"golden\.npz: does not match its checksum"):
        check_parity(bundle, ["openvino"])


def test_the_verb_shows_each_form_and_fails_when_one_differs(plant, capsys):
    command = ["parity", "--form", "openvino", "--form", "pyfunc", "--model", str(plant.config().bundle_dir)]
    command += ["--config", str(plant.root / "config.yaml")]
    assert main(command) == 0
    assert "pyfunc f32: 0 of 8 verdicts differ from Keras" in capsys.readouterr().out
    change_weights(plant.config().bundle_dir)
    assert main(command) == 3
    assert "not allowed (allowed: the same verdicts, scores within 0.001)" in capsys.readouterr().out
