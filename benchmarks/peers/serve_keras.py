"""A plain Flask application that calls ``model.predict``, on the server that comes with Flask."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import flask
import keras
from serving_task import decode, task

told = task()
model = keras.models.load_model(f"{told['bundle']}/best_cnn_model.keras")
app = flask.Flask(__name__)


@app.post("/predict")
def predict() -> flask.Response:
    image = decode(flask.request.files["image"].read(), told["size"])
    score = float(model.predict(image[None], verbose=0)["score"][0])
    return flask.jsonify({"verdict": "defective" if score >= 0.5 else "ok", "score": score})


app.run(host="127.0.0.1", port=told["port"], threaded=True)
