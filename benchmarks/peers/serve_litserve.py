"""LitServe with this project's graph in OpenVINO: a worker for each core."""

import os

import litserve
from serving_task import Scorer, task


class Inspection(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.scorer = Scorer()

    def decode_request(self, request):  # with a type, LitServe would look for JSON, or a field "request"
        return request["image"].file.read()

    def predict(self, x: bytes) -> float:
        return self.scorer(x)

    def encode_response(self, output: float) -> dict:
        return {"verdict": "defective" if output >= 0.5 else "ok", "score": output}


if __name__ == "__main__":
    server = litserve.LitServer(Inspection(), accelerator="cpu", workers_per_device=os.cpu_count() or 1)
    server.run(host="127.0.0.1", port=task()["port"], generate_client_file=False, log_level="warning")
