"""The services shared by the parts of a server, created with the application."""

from dataclasses import dataclass, field
from threading import BoundedSemaphore

from flask import Flask, current_app

from defect_detection.config import Config
from defect_detection.files.trail import Refusals
from defect_detection.records.maintenance import Maintenance
from defect_detection.records.record_store import Records
from defect_detection.serving.access import Access
from defect_detection.serving.champion import FindChampion, LoadChampion, Served
from defect_detection.serving.changes import ProductionChanges
from defect_detection.serving.job_process import Retraining
from defect_detection.serving.line_watch import LineWatch
from defect_detection.serving.products import Products
from defect_detection.serving.prometheus import RequestMetrics
from defect_detection.serving.readiness import Readiness
from defect_detection.serving.reads import Reads
from defect_detection.serving.recording import Recorder
from defect_detection.serving.worker import Worker

KEY = "defect_detection"  # in Flask's `extensions`
MAX_STREAMS = 3  # that follow a log at the same time: each takes one of the server's threads


@dataclass(slots=True, kw_only=True)
class Services:
    """The parts that views and checks use. `streams`: places for readers that follow a log."""

    config: Config
    records: Records
    maintenance: Maintenance
    access: Access
    reads: Reads
    refusals: Refusals
    products: Products
    metrics: RequestMetrics
    readiness: Readiness
    retraining: Retraining
    worker: Worker
    changes: ProductionChanges
    streams: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_STREAMS))

    @classmethod
    def of(
        cls,
        config: Config,
        find_champion: FindChampion | None = None,
        load_champion: LoadChampion | None = None,
        recorder: Recorder | None = None,
    ) -> "Services":
        """Create the services of a server; arguments as for `create_app`. Nothing is started."""
        records, metrics = Records.of(config), RequestMetrics()
        recorder = recorder or records.recorder
        products = Products(config, records.database, recorder, metrics, find_champion, load_champion)
        retraining = Retraining.of(config)
        return cls(
            config=config,
            records=records,
            maintenance=Maintenance(config, records),
            access=Access(config, records.database),
            reads=Reads(config.serving.threads),
            refusals=Refusals(config.root),
            products=products,
            metrics=metrics,
            readiness=Readiness(products, recorder),
            retraining=retraining,
            worker=Worker(config, records, retraining),
            changes=ProductionChanges(config),
        )

    @property
    def served(self) -> Served:
        """The model of the default product."""
        return self.products.default.served

    @property
    def line_watch(self) -> LineWatch:
        """The comparison of the line of the default product with its model."""
        return self.products.default.line_watch


def services_of(app: Flask) -> Services:
    """Return the services of an application."""
    found: Services = app.extensions[KEY]
    return found


def services() -> Services:
    """Return the services of the current application."""
    return services_of(current_app)
