"""The limit of the model: OpenVINO on images that are decoded already, as many requests at a time as it likes."""

from pathlib import Path

import openvino
from harness import Model, Task, decode, main


def load(task: Task) -> Model:
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    core = openvino.Core()
    graph = core.read_model(Path(task["bundle"], "model.xml"))
    graph.reshape([1, *list(graph.input(0).partial_shape)[1:]])  # faster than a flexible batch
    model = core.compile_model(graph, "CPU", options)
    images = [decode(path, task["size"])[None] for path in sorted(Path(task["folder"]).iterdir())]

    def many(folder: Path) -> int:
        queue = openvino.AsyncInferQueue(model)
        for image in images:
            queue.start_async({0: image}, share_inputs=True)
        queue.wait_all()
        return len(images)

    many(Path(task["folder"]))  # warm
    return Model(None, None, many)


if __name__ == "__main__":
    main(load)
