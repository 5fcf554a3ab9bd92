"""Ray Serve with this project's graph in OpenVINO: a replica for each core."""

import os
import time

import ray
from ray import serve
from serving_task import Scorer, task
from starlette.requests import Request


@serve.deployment(num_replicas=os.cpu_count() or 1, ray_actor_options={"num_cpus": 0.5})
class Inspection:
    def __init__(self) -> None:
        self.scorer = Scorer()

    async def __call__(self, request: Request) -> dict:
        score = self.scorer(await request.body())
        return {"verdict": "defective" if score >= 0.5 else "ok", "score": score}


if __name__ == "__main__":
    ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": task()["port"]})
    serve.run(Inspection.bind(), route_prefix="/predict")
    while True:
        time.sleep(1)
