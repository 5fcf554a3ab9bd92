"""OpenVINO itself on this project's graph, as its own examples use it: a request for one image, a queue of requests for many."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino
from harness import Model, Task, decode, main


def load(task: Task) -> Model:
    path = Path(task["bundle"], "model.xml")
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, *list(model.input(0).partial_shape)[1:]])  # faster than a flexible batch
    quick = core.compile_model(
        model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    )
    request = quick.create_infer_request()

    def one(image: np.ndarray) -> float:
        return float(request.infer({0: image[None]}, share_inputs=True)["score"][0])

    def many(folder: Path) -> int:
        busy = core.compile_model(
            model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        )
        scores: list[float] = []
        queue = openvino.AsyncInferQueue(busy)
        queue.set_callback(lambda done, _: scores.append(float(done.get_tensor("score").data[0])))
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for image in threads.map(lambda file: decode(file, task["size"]), sorted(folder.iterdir())):
                queue.start_async({0: image[None]})
            queue.wait_all()
        return len(scores)

    return Model(one, lambda path: one(decode(path, task["size"])), many)


if __name__ == "__main__":
    main(load)
