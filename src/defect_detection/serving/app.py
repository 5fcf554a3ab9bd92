"""Create the application and serve it.

``create_app`` gives any WSGI server the application; ``serve`` is what ``python api.py`` runs.
"""

import logging
import signal
from threading import Event, Thread

from flask import jsonify, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from defect_detection import __version__
from defect_detection.config import Config
from defect_detection.errors import ConfigError
from defect_detection.serving.access import Access
from defect_detection.serving.addresses import BelowRoot, relative
from defect_detection.serving.callers import register_access
from defect_detection.serving.champion import FindChampion, LoadChampion
from defect_detection.serving.document import openapi_document
from defect_detection.serving.limits import RateLimit, limit_body, secure
from defect_detection.serving.local_key import make_local_key
from defect_detection.serving.noting import note_start, register_trail
from defect_detection.serving.of_product import register_products
from defect_detection.serving.origins import check_origin
from defect_detection.serving.peers import Proxies
from defect_detection.serving.problems import problem_of_values, register_problems
from defect_detection.serving.recording import Recorder
from defect_detection.serving.server import Server, make_server, return_memory, take_turns
from defect_detection.serving.services import KEY, Services, services_of
from defect_detection.serving.strict import register_strictness
from defect_detection.serving.unknown import register_unknown
from defect_detection.serving.uploads import UploadRequest
from defect_detection.serving.views.advice import advice_api
from defect_detection.serving.views.api_docs import reference
from defect_detection.serving.views.evidence import evidence_api
from defect_detection.serving.views.health import health_api
from defect_detection.serving.views.images_of_product import images_of_product_api
from defect_detection.serving.views.inspections import inspections_api
from defect_detection.serving.views.jobs import register_jobs
from defect_detection.serving.views.models import models_api
from defect_detection.serving.views.monitoring import monitoring_api
from defect_detection.serving.views.more_of_images import more_of_images_api
from defect_detection.serving.views.pages import pages
from defect_detection.serving.views.predict import predict_api
from defect_detection.serving.views.production import register_production
from defect_detection.serving.views.products import products_api
from defect_detection.serving.views.records import register_records
from defect_detection.serving.views.retrain import retrain_api
from defect_detection.serving.views.settings import settings_api
from defect_detection.serving.views.split_of_product import split_of_product_api
from defect_detection.serving.views.statistics import statistics_api
from defect_detection.serving.views.thumbnails import thumbnails_api
from defect_detection.serving.views.training import training_api
from defect_detection.serving.views.type_statistics import type_statistics_api
from defect_detection.serving.views.v2 import v2_api

FLUSH_S = 10.0  # that inspections which wait to be written get when the server is stopped

log = logging.getLogger(__name__)


def create_app(
    config: Config,
    find_champion: FindChampion | None = None,
    load_champion: LoadChampion | None = None,
    recorder: Recorder | None = None,
) -> OpenAPI:
    """Make the Flask application. It loads the promoted model on the first request that needs it, or when it is served.

    Args:
        config: the settings; `config.root` holds ``re_train/re_train.py``.
        find_champion: returns the promoted model or None; the default queries the registry.
        load_champion: loads it; the default fetches its bundle from the registry.
        recorder: gets every inspection; the default writes to the database.
    """
    app = _bare_app(config)
    parts = app.extensions[KEY] = Services.of(config, find_champion, load_champion, recorder)
    parts.metrics.follow_models(parts.products.served)
    parts.metrics.follow_drift(parts.products.line_watches)
    parts.metrics.follow(
        "defect_pruning_held_back",
        "1: the last pruning kept inspections beyond the retention limit",
        lambda: float(bool(parts.maintenance.held_back)),
    )
    _register_checks(app, parts)
    _register_views(app, config)
    return app


def _bare_app(config: Config) -> OpenAPI:
    app = OpenAPI(
        __name__,
        info=Info(title="Defect Detection", version=__version__),
        security_schemes={
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
        validation_error_status=422,
        validation_error_callback=problem_of_values,
        doc_ui=False,
    )
    app.request_class = UploadRequest
    app.wsgi_app = BelowRoot(app.wsgi_app, config)  # type: ignore[method-assign]
    app.jinja_env.globals["address"] = relative
    app.jinja_env.autoescape = True  # Flask's own choice goes by the ending, and ours is .j2
    app.teardown_request(lambda _error: request.close_files())  # type: ignore[attr-defined]
    return app


def _register_checks(app: OpenAPI, parts: Services) -> None:
    """Have every request checked, in this order, before its view sees it."""
    settings = parts.config.serving
    register_problems(app)
    register_unknown(app)
    parts.metrics.watch(app)
    limit = RateLimit(settings.rate_limit, Proxies(settings.behind_proxy), parts.products.has_records)
    app.before_request(limit.check)
    app.before_request(check_origin)
    app.before_request(lambda: limit_body(request, parts.config))
    register_access(app)
    register_products(app)
    register_strictness(app)
    app.after_request(secure)
    register_trail(app, parts)


def _register_views(app: OpenAPI, config: Config) -> None:
    register_records(app)
    register_jobs(app, config)
    register_production(app)
    for view in (
        health_api,
        retrain_api,
        training_api,
        settings_api,
        advice_api,
        predict_api,
        models_api,
        v2_api,
        statistics_api,
        type_statistics_api,
        monitoring_api,
        evidence_api,
        inspections_api,
        products_api,
        images_of_product_api,
        thumbnails_api,
        split_of_product_api,
        more_of_images_api,
    ):
        app.register_api(view)
    app.register_blueprint(pages)
    app.register_blueprint(reference)
    app.add_url_rule("/openapi.json", "openapi", lambda: jsonify(openapi_document(app)))


def serve(config: Config) -> None:
    """Serve until Ctrl-C or SIGTERM; a retraining that still runs is ended then.

    Raises:
        ConfigError: the address can't be listened on.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("waitress.queue").setLevel(
        logging.ERROR
    )  # a line for each request that waits; /metrics counts them
    return_memory()
    take_turns()
    run(create_app(config), config)


def run(app: OpenAPI, config: Config) -> None:
    """Serve an application until Ctrl-C or SIGTERM. Open requests are then answered and their records written.

    Raises:
        ConfigError: the address can't be listened on.
    """
    parts, asked = services_of(app), Event()
    server: Server | None = None
    ending = Thread(
        target=parts.worker.stop, name="end jobs"
    )  # beside the requests: one may wait for a retraining

    def stop(_signal: int, _frame: object) -> None:
        asked.set()
        if server is not None and not server.is_stopping:
            parts.readiness.stop()
            server.stop()
            ending.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)  # before it listens: who can connect is answered
    server = make_server(app, config)
    if asked.is_set():
        stop(signal.SIGTERM, None)
    parts.products.start()
    _announce(config, parts.access)
    parts.worker.start(takes_jobs=config.jobs.run_in_server)
    parts.maintenance.start()
    server.run()
    parts.records.recorder.flush(FLUSH_S)
    ending.join()
    parts.refusals.close()
    parts.maintenance.stop()
    parts.products.stop_watching()
    parts.records.close()


def _announce(config: Config, access: Access) -> None:
    log.info(
        "serving the page on http://localhost:%d, and POST /predict, POST /retrain, GET /health/ready, /openapi.json; Ctrl-C ends it",
        config.serving.port,
    )
    try:
        make_local_key(config.root)
    except (ConfigError, OSError) as error:
        log.warning("the local key cannot be used: %s", error)
    log.info(access.describe())
    note_start(config)
