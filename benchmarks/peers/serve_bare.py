"""The Inspector of this project in a bare Flask application on Waitress: no store, no metrics, no access, no checks."""

from pathlib import Path

import flask
import waitress
from serving_task import task

from defect_detection.inference.inspect import Inspector

told = task()
inspector = Inspector.load(Path(told["bundle"]))
inspector.prepare()
app = flask.Flask(__name__)


@app.post("/predict")
def predict() -> flask.Response:
    sent = flask.request.files.get("image")
    inspection = inspector.inspect_one(sent.read() if sent else flask.request.get_data())
    return flask.jsonify({"verdict": inspection.verdict, "score": inspection.score})


waitress.serve(app, host="127.0.0.1", port=told["port"], threads=told["threads"])
