"""Prometheus metrics, in a registry of the application."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from defect_detection.config.products import DEFAULT
from defect_detection.errors import DefectDetectionError
from defect_detection.inference.inspect import Inspection
from defect_detection.serving.champion import Served
from defect_detection.serving.line_watch import LineWatch
from defect_detection.use_cases.monitoring import PlaceState

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCIES_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SCORES = tuple(round(0.05 * step, 2) for step in range(1, 21))


class RequestMetrics:
    """Counts requests and responses by declared route, so paths cannot create new series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "defect_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "defect_request_seconds",
            "Time from the start of the view to its response",
            ["route"],
            buckets=LATENCIES_S,
            registry=self.registry,
        )
        self._default, self._others = _Inspections([]), _Inspections(["product"])
        self.registry.register(_InspectionsCollector(self._default, self._others))

    def watch(self, app: Flask) -> None:
        """Count and time every request of an application."""
        app.before_request(_start)
        app.after_request(self._answered)

    def inspected(self, inspection: Inspection, model_version: int, product: str = DEFAULT) -> None:
        """Count one verdict. Series of the default product have no label `product`, as before there were others."""
        if product == DEFAULT:
            self._default.add(inspection, model_version)
        else:
            self._others.add(inspection, model_version, product)

    def follow(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show what a function returns at the time of reading."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def follow_each(
        self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        """Export the values of a function at read time, by label; none while they are unknown."""
        self.registry.register(_EachCollector(name, text, label, values))

    def follow_models(self, served: Callable[[], Mapping[str, Served]]) -> None:
        """Export the served models by product, the number of replacements, and whether a replacement fails."""
        self.registry.register(_ServedCollector(served))

    def follow_drift(self, watches: Callable[[], Mapping[str, LineWatch]]) -> None:
        """Export by product and station how the line compares with the model's training images."""
        self.registry.register(_DriftCollector(watches))

    def _answered(self, response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        self._requests.labels(_method(request.method), route, response.status_code).inc()
        self._seconds.labels(route).observe(time.perf_counter() - g.get("started", time.perf_counter()))
        return response

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return bytes(generate_latest(self.registry))


class _Inspections:
    """The series of inspections, each with some labels in front of its own."""

    def __init__(self, labels: list[str]) -> None:
        none: Any = {"registry": None}
        self._verdicts = Counter(
            "defect_verdicts", "Images inspected", [*labels, "verdict", "model_version"], **none
        )
        self._unlike = Counter(
            "defect_unlike_training",
            "Images unlike the training images (never OK)",
            [*labels, "model_version"],
            **none,
        )
        self._seconds = Histogram(
            "defect_inspection_seconds",
            "Time for decoding and the model",
            labels,
            buckets=LATENCIES_S,
            **none,
        )
        self._scores = Histogram(
            "defect_score", "Score of an image, P(defective)", labels, buckets=SCORES, **none
        )

    @property
    def all(self) -> tuple[Collector, ...]:
        return self._verdicts, self._unlike, self._seconds, self._scores

    def add(self, inspection: Inspection, model_version: int, *labels: str) -> None:
        self._verdicts.labels(*labels, inspection.verdict, model_version).inc()
        self._unlike.labels(*labels, model_version).inc(inspection.reason is not None)
        seconds = self._seconds.labels(*labels) if labels else self._seconds
        seconds.observe(inspection.latency_ms / 1000)
        (self._scores.labels(*labels) if labels else self._scores).observe(inspection.score or 0.0)


class _InspectionsCollector(Collector):
    """Shows series of the same name together, with and without the label `product`."""

    def __init__(self, *parts: _Inspections) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        for same in zip(*(part.all for part in self._parts), strict=True):
            family, *others = (next(iter(one.collect())) for one in same)
            family.samples = [*family.samples, *(sample for other in others for sample in other.samples)]
            yield family


class _ServedCollector(Collector):
    def __init__(self, served: Callable[[], Mapping[str, Served]]) -> None:
        self._served = served

    def collect(self) -> Iterable[Metric]:
        model = GaugeMetricFamily("defect_model", "The model served", labels=["name", "version"])
        swaps = Metric("defect_model_swaps", "Models replaced since the start", "gauge")
        failing = Metric("defect_model_refresh_failing", "1: the promoted version is not served", "gauge")
        for product, served in self._served().items():
            labels = {} if product == DEFAULT else {"product": product}
            if (champion := served.loaded) is not None:
                model.add_metric([champion.reference.name, str(champion.reference.version)], 1)
            swaps.add_sample("defect_model_swaps", labels, served.swaps)
            failing.add_sample(failing.name, labels, float(served.problem is not None))
        yield from (model, swaps, failing)


class _DriftCollector(Collector):
    """The series of all of the default product have no further label, as before there were others."""

    def __init__(self, watches: Callable[[], Mapping[str, LineWatch]]) -> None:
        self._watches = watches

    def collect(self) -> Iterable[Metric]:
        alarm = "1: the line has drifted from the training images; cause camera: lens or light, cause parts: the parts"
        distance = "Share of parts by which the newest window differs from training, above the tolerance"
        alarms = Metric("defect_drift_alarm", alarm, "gauge")
        windows = Metric("defect_drift_windows", "Windows in a row that differ", "gauge")
        distances = Metric("defect_drift_distance", distance, "gauge")
        for labels, one in self._places():
            for cause in ("camera", "parts"):
                found = one is not None and one.cause == cause
                alarms.add_sample(alarms.name, labels | {"cause": cause}, float(found))
            for figure in one.figures if one else ():
                of_figure = labels | {"figure": figure.name}
                windows.add_sample(windows.name, of_figure, figure.in_a_row)
                distances.add_sample(distances.name, of_figure, figure.difference.distance)
        yield from (alarms, windows, distances)

    def _places(self) -> Iterable[tuple[dict[str, str], PlaceState | None]]:
        for product, watch in self._watches().items():
            labels = {} if product == DEFAULT else {"product": product}
            with suppress(DefectDetectionError):
                places = watch.places()
                if product == DEFAULT and not places:
                    yield labels, None
                for one in places:
                    is_whole = not (one.line or one.station)
                    yield labels if is_whole else labels | {"line": one.line, "station": one.station}, one


class _EachCollector(Collector):
    def __init__(self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        self._family = name, text, label
        self._values = values

    def collect(self) -> Iterable[Metric]:
        name, text, label = self._family
        family = GaugeMetricFamily(name, text, labels=[label])
        with suppress(DefectDetectionError):
            for value, number in self._values().items():
                family.add_metric([value], number)
        yield family


def _start() -> None:
    g.started = time.perf_counter()


def _method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
