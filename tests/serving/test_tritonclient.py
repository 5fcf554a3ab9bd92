"""NVIDIA's tritonclient over a real connection: the Open Inference Protocol as its own client speaks it, binary and as JSON.

The client has an environment of its own (``make tritonclient``), because it refuses versions that this package uses. Without that
the test is skipped with the reason, or fails when ``REQUIRE_TRITONCLIENT=1``, as ``.ci/run`` sets it.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tiny import BRIGHT, DARK, encoded

PYTHON = Path(__file__).parents[2] / "build/tritonclient/bin/python"
CLIENT = """
import json, sys
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

url, *paths = sys.argv[1:]
client = triton.InferenceServerClient(url)
model = "Production_Reg"
described = client.get_model_metadata(model)
(image,) = described["inputs"]
pixels = np.stack([np.zeros(image["shape"][1:], np.uint8), np.full(image["shape"][1:], 255, np.uint8)])

def answers(values, shape, datatype, binary, *names):
    given = triton.InferInput("image", shape, datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    found = client.infer(model, [given], outputs=outputs or None)
    return [found.as_numpy(name).astype(str).tolist() for name in names or ("score", "verdict")]

files = np.array([open(path, "rb").read() for path in paths], object)
asked = {}
for binary in (True, False):
    asked[f"pixels {binary}"] = answers(pixels, [*pixels.shape], "UINT8", binary, "score", "verdict")
    asked[f"all {binary}"] = answers(pixels, [*pixels.shape], "UINT8", binary)
asked["files"] = answers(files, [len(files)], "BYTES", True, "score", "verdict")
try:
    client.get_model_metadata("Other")
except InferenceServerException as error:
    refused = str(error)
ready = [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)]
print(json.dumps({"ready": ready, "asked": asked, "refused": refused, "platform": described["platform"]}))
"""


def test_tritonclient_gets_verdicts_in_binary_form_and_as_json(predicting, serving, project, tmp_path):
    if not PYTHON.exists():
        say = pytest.fail if os.environ.get("REQUIRE_TRITONCLIENT") == "1" else pytest.skip
        say("tritonclient is not installed: make tritonclient")
    send = serving(project.config(), predicting())
    files = [tmp_path / "dark.png", tmp_path / "bright.png"]
    for file, pixels in zip(files, (DARK, BRIGHT), strict=True):
        file.write_bytes(encoded(pixels))
    command = [PYTHON, "-c", CLIENT, f"127.0.0.1:{send.port}", *files]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["ready"], told["platform"]) == ([True] * 3, "openvino")
    assert set(map(str, told["asked"].values())) == {"[['1.0', '0.0'], ['defective', 'ok']]"}
    assert "Production_Reg version 3" in told["refused"]
