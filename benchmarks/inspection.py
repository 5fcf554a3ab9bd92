"""How near inspection comes to what decoding and the bare runtime allow, each measured in turns with the others.

    python benchmarks/inspection.py temp_best_model data/test

Decoding and model share the cores. So the time of a folder is bounded from below by the longer of the two, each with all
cores to itself, and by the processor time of both together.
"""

import argparse
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from defect_detection.data.images import MAX_PIXELS, read_image
from defect_detection.inference.inspect import Inspector, _decoded, find_images
from defect_detection.inference.runtime import Runtime
from defect_detection.model.bundle import OPENVINO_FILE
from defect_detection.model.openvino import load_openvino


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("images", help="a folder of images")
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    inspector = Inspector.load(arguments.model)
    size = inspector.card.image_size
    paths = find_images([arguments.images])
    pixels = [read_image(path, (size, size)) for path in paths[:32]]
    folder(inspector, Runtime(arguments.model / OPENVINO_FILE), paths, pixels, arguments.repetitions)
    single(inspector, arguments.model / OPENVINO_FILE, pixels[0], 40 * arguments.repetitions)


def folder(inspector: Inspector, model: Runtime, paths: list[Path], pixels: list[np.ndarray], n: int) -> None:
    """Print images per second (wall clock) and processor time per image of decoding, model and both."""
    size, threads = inspector.card.image_size, os.cpu_count() or 1
    decoded = list(itertools.islice(itertools.cycle(pixels), len(paths)))
    found = in_turns(
        n,
        {
            "decoding": lambda: sum(1 for _ in _decoded(paths, size, MAX_PIXELS, threads)),
            "model": lambda: sum(1 for _ in model.each((None, image) for image in decoded)),
            "inspection": lambda: sum(1 for _ in inspector.inspect(paths)),
        },
    )
    wall = {name: min(times) / len(paths) for name, (times, _) in found.items()}
    cpu = {name: min(times) / len(paths) for name, (_, times) in found.items()}
    for name in found:
        print(
            f"{name:<11} {1 / wall[name]:6.0f} images/s, {cpu[name] * 1000:5.2f} ms of processor time an image"
        )
    lower = max(wall["decoding"], wall["model"])
    together = (cpu["decoding"] + cpu["model"]) / threads
    print(f"inspection reaches {lower / wall['inspection']:.0%} of the slower of the two alone,")
    print(f"and {together / wall['inspection']:.0%} of what {threads} cores can do of both")


def single(inspector: Inspector, path: Path, image: np.ndarray, n: int) -> None:
    """Print the median time of one decoded image with its evidence map: inspector, and OpenVINO called directly."""
    core = load_openvino().Core()
    graph = core.read_model(str(path))
    graph.reshape([1, *image.shape])
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(graph, "CPU", options)
    request = compiled.create_infer_request()

    def bare() -> None:
        results = request.infer({0: image[np.newaxis]}, share_inputs=True)
        _ = [results[compiled.output(name)].copy() for name in ("score", "evidence")]

    found = in_turns(n, {"bare runtime": bare, "inspector": lambda: list(inspector.inspect([image]))})
    for name, (times, _) in found.items():
        low, middle = np.quantile(times, [0.1, 0.5]) * 1000
        print(f"{name:<12} median {middle:.2f} ms, fastest tenth {low:.2f} ms")


def in_turns(n: int, tasks: dict[str, Callable[[], object]]) -> dict[str, tuple[list[float], list[float]]]:
    """Run each task once to warm up and then n times, in turns: wall-clock and processor times in seconds."""
    found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for repetition in range(n + 1):
        for name, task in tasks.items():
            started, cpu = time.perf_counter(), time.process_time()
            task()
            if repetition:
                found[name][0].append(time.perf_counter() - started)
                found[name][1].append(time.process_time() - cpu)
    return found


if __name__ == "__main__":
    main()
