"""Make the application, and serve it.

``create_app`` gives any WSGI server the application; ``serve`` is what ``python api.py`` runs.
"""

import logging
import signal
from typing import NoReturn

from flask import jsonify, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from werkzeug.exceptions import RequestEntityTooLarge

from defect_detection import __version__
from defect_detection.config import Config
from defect_detection.serving.access import KEY_VARIABLE, configured_key
from defect_detection.serving.api import api
from defect_detection.serving.jobs import Retraining
from defect_detection.serving.jobs_api import register_jobs
from defect_detection.serving.problems import described, register_problems
from defect_detection.serving.readiness import FindChampion, Readiness, champion_of
from defect_detection.serving.records_api import register_records
from defect_detection.serving.server import make_server

MAX_BODY_BYTES = 16 * 1024  # no request of this API needs a body

log = logging.getLogger(__name__)


def create_app(config: Config, find_champion: FindChampion | None = None) -> OpenAPI:
    """Make the Flask application.

    Args:
        config: the settings; `config.root` holds ``re_train/re_train.py``.
        find_champion: says which model is promoted, None when none is; the default asks the registry.
    """
    app = OpenAPI(
        __name__,
        info=Info(title="Defect Detection", version=__version__),
        security_schemes={
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
        validation_error_status=400,
        responses={400: described(400)},
        doc_ui=False,
    )
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    wanted = f"{config.inference_model_name}@{config.inference_model_alias}"
    app.extensions["api_key"] = configured_key(config)
    app.extensions["readiness"] = Readiness(find_champion or champion_of(config), wanted)
    app.extensions["retraining"] = Retraining(config.root, config.serving.retrain_timeout_s)
    register_problems(app)
    app.before_request(_refuse_long_bodies)
    register_records(app, config)
    register_jobs(app, config)
    app.register_api(api)
    app.add_url_rule("/openapi.json", "openapi", lambda: jsonify(app.api_doc))
    return app


def serve(config: Config) -> None:
    """Serve until Ctrl-C or SIGTERM; a retraining that still runs is ended then.

    Raises:
        ConfigError: the address can't be listened on.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = create_app(config)
    server = make_server(app, config.serving.host, config.serving.port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: _stop(app))
    _announce(config, app.extensions["api_key"] is not None)
    if config.jobs.run_in_server:
        app.extensions["worker"].start()
    server.run()


def _refuse_long_bodies() -> None:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge(
            f"The body has {request.content_length} bytes; at most {MAX_BODY_BYTES} are taken."
        )


def _stop(app: OpenAPI) -> NoReturn:
    app.extensions["worker"].stop()
    app.extensions["records"].close()
    raise SystemExit


def _announce(config: Config, has_key: bool) -> None:
    log.info(
        "serving on http://localhost:%d: POST /retrain, GET /health/ready, /openapi.json; Ctrl-C ends it",
        config.serving.port,
    )
    if not has_key:
        log.info("only this machine may start a retraining: set %s to allow others who send it", KEY_VARIABLE)
