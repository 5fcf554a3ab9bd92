"""One server for several products: each with its own model, records and jobs."""

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drifted import SIZE, add, give_baseline, window
from recorded import wait_for_records
from test_champion import Plant
from tiny import BRIGHT, DARK, SIDE, encoded
from waiting import wait_until

from defect_detection.config import load_config
from defect_detection.records.keys import create_key
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.use_cases.products import archive_product, create_product

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

GRAY = np.full((SIDE, SIDE, 3), 128, np.uint8)  # score 0.5
REMOTE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Plant:
    """The default product calls GRAY ok, bolt calls it defective; nut has no model."""
    plant = Plant(tmp_path_factory.mktemp("plant") / "store")
    (plant.root / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
    plant.promote(plant.version(threshold=0.75))
    plant.client.create_registered_model("Production_Reg.bolt")
    plant.promote(plant.version("Production_Reg.bolt", threshold=0.25), "Production_Reg.bolt")
    for name in ("bolt", "nut"):
        create_product(load_config(plant.root / "config.yaml"), name)
    return plant


@pytest.fixture
def plant(made, project) -> Plant:
    """A copy of it, as it was."""
    return made.copy(project.root)


@pytest.fixture
def serve(project, plant):
    apps = []

    def serve(*overrides: str):
        apps.append(create_app(project.config("serving.refresh_s=0.1", *overrides)))
        return apps[-1]

    yield serve
    for app in apps:
        services_of(app).products.stop()
        services_of(app).records.close()


@pytest.fixture
def app(serve):
    return serve()


def predict(app, path: str = "/predict", form: dict[str, str] | None = None, **options):
    if form is None:
        sent = {"data": encoded(GRAY), "content_type": "image/png"}
    else:
        sent = {"data": {"image": (io.BytesIO(encoded(GRAY)), "gray.png"), **form}}
    return app.test_client().post(path, **sent, **options)


def test_a_request_names_its_product_in_the_form_the_query_or_a_header(app):
    answers = [
        predict(app),
        predict(app, "/predict?product=default"),
        predict(app, "/predict?product=bolt"),
        predict(app, headers={"X-Product": "bolt"}),
        predict(app, form={"product": "bolt", "line": "L1", "station": "S1"}),
    ]
    assert [answer.json["verdict"] for answer in answers] == ["ok", "ok", *["defective"] * 3]
    assert {answer.json["model"]["name"] for answer in answers[2:]} == {"Production_Reg.bolt"}
    wait_for_records(app)
    client = app.test_client()
    found = {
        name: client.get(f"/inspections?product={name}").json["inspections"] for name in ("default", "bolt")
    }
    assert (found["bolt"][0]["product"], found["bolt"][0]["station"]) == ("bolt", "S1")
    assert {name: len(listed) for name, listed in found.items()} == {"default": 2, "bolt": 3}
    assert len(client.get("/inspections?product=bolt&line=L1&station=S1").json["inspections"]) == 1
    assert client.get("/statistics?product=bolt").json["defective"] == 3
    assert client.get("/statistics?product=bolt&line=L1").json["inspected"] == 1
    assert client.get("/inspections.csv?product=bolt").text.count("\n") == 4


def test_two_names_in_one_request_are_refused(app):
    answer = predict(app, "/predict?product=nut", headers={"X-Product": "bolt"})
    assert (answer.status_code, "expected one name, received bolt, nut" in answer.json["detail"]) == (
        422,
        True,
    )
    assert predict(app, headers={"X-Product": "nut"}, form={"product": "bolt"}).status_code == 422


@pytest.mark.parametrize("name", ["blot", "../bolt", "%2e%2e", "bolt%2f..", "Bolt", "x" * 400])
def test_an_unknown_product_is_not_found_and_the_known_ones_are_named_to_who_may_know(app, name):
    local, remote = (
        predict(app, f"/predict?product={name}"),
        predict(app, f"/predict?product={name}", environ_base=REMOTE),
    )
    assert (local.status_code, remote.status_code) == (404, 404)
    assert "known: default, bolt, nut" in local.json["detail"]
    assert "nut" not in remote.json["detail"]
    assert predict(app, form={"product": "blot"}).status_code == 404


def test_a_product_without_a_model_says_so_and_the_others_go_on(app):
    answer = predict(app, "/predict?product=nut")
    assert (answer.status_code, "Production_Reg.nut@prod" in answer.json["detail"]) == (503, True)
    client = app.test_client()
    assert client.get("/health/ready").json["name"] == "Production_Reg"
    assert client.get("/health/ready?product=bolt").json["name"] == "Production_Reg.bolt"
    assert client.get("/health/ready?product=nut").status_code == 503


def test_a_model_loads_once_for_requests_at_the_same_time_and_is_replaced_alone(app, plant, caplog):
    caplog.set_level(logging.INFO, "defect_detection.serving")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _n: predict(app, "/predict?product=bolt").status_code, range(8)))
    assert answers == [200] * 8
    loaded = [line for line in caplog.messages if line.startswith("serving Production_Reg.bolt")]
    assert loaded == ["serving Production_Reg.bolt version 1"]
    predict(app)
    plant.promote(plant.version("Production_Reg.bolt", threshold=0.75), "Production_Reg.bolt")
    wait_until(lambda: predict(app, "/predict?product=bolt").json["model"]["version"] == 2)
    assert predict(app).json["model"]["version"] == 1
    text = app.test_client().get("/metrics").text
    assert 'defect_verdicts_total{model_version="1",product="bolt",verdict="defective"}' in text
    assert 'defect_verdicts_total{model_version="1",verdict="ok"} 2.0' in text
    assert 'defect_model{name="Production_Reg.bolt",version="2"} 1.0' in text
    assert 'defect_model_swaps{product="bolt"} 1.0' in text


def test_models_that_were_not_used_for_longest_leave_memory(serve, plant, project):
    for name in ("pin", "cap"):
        create_product(project.config(), name)
        plant.client.create_registered_model(f"Production_Reg.{name}")
        plant.promote(plant.version(f"Production_Reg.{name}"), f"Production_Reg.{name}")
    app = serve("serving.max_models=3", "serving.preload=[bolt]")
    products = services_of(app).products
    products.start()
    wait_until(lambda: [one.name for one in products.loaded()] == ["default", "bolt"])
    for name in ("pin", "bolt", "cap"):
        assert predict(app, f"/predict?product={name}").status_code == 200
    assert [one.name for one in products.loaded()] == ["default", "bolt", "cap"]
    assert predict(app, "/predict?product=pin").status_code == 200


def test_an_archived_product_stops_and_its_inspections_stay(app, project):
    inspection = predict(app, "/predict?product=bolt").json["id"]
    wait_for_records(app)
    products, client = services_of(app).products, app.test_client()
    archive_product(project.config(), "bolt")
    wait_until(lambda: "bolt" not in [one.name for one in products.loaded()])
    answer = predict(app, "/predict?product=bolt")
    assert (answer.status_code, "is archived" in answer.json["detail"]) == (404, True)
    assert client.get("/inspections?product=bolt").json["inspections"][0]["id"] == inspection
    assert client.get(f"/inspections/{inspection}/image").status_code == 200
    assert client.get(f"/inspections/{inspection}/preview").status_code == 200
    assert client.get(f"/inspections/{inspection}/evidence").status_code == 404
    assert {one["name"]: one["state"] for one in client.get("/products").json["products"]}[
        "bolt"
    ] == "archived"
    archive_product(project.config(), "bolt", undo=True)
    assert predict(app, "/predict?product=bolt").status_code == 200


def test_all_products_are_listed_with_their_state_and_figures(app):
    for image in (DARK, BRIGHT):
        sent = {"data": encoded(image), "content_type": "image/png"}
        assert app.test_client().post("/predict?product=bolt", **sent).status_code == 200
    wait_for_records(app)
    shown = {one["name"]: one for one in app.test_client().get("/products").json["products"]}
    assert list(shown) == ["default", "bolt", "nut"]
    assert {name: one["state"] for name, one in shown.items()} == {
        "default": "ready",
        "bolt": "serving",
        "nut": "no model",
    }
    assert [shown["bolt"][key] for key in ("version", "inspected", "reject_rate", "waiting")] == [
        1,
        2,
        0.5,
        0,
    ]


def test_wrong_settings_of_one_product_stop_no_other(app, project):
    (project.root / "products/nut/config.yaml").write_text("sed: 1\n")
    assert predict(app, "/predict?product=bolt").status_code == 200
    answer = predict(app, "/predict?product=nut")
    assert (answer.status_code, "sed: unknown key" in answer.json["detail"]) == (503, True)
    (project.root / "products/bolt/config.yaml").write_text("sed: 1\n")
    assert predict(app, "/predict?product=bolt").status_code == 200, "it goes on with the settings of before"
    listed = app.test_client().get("/products").json["products"]
    assert "sed: unknown key" in next(one for one in listed if one["name"] == "nut")["problem"]


def test_a_bound_key_is_good_for_its_products_only(app):
    def key(name: str, role: str, *products: str) -> dict[str, str]:
        return {"X-API-Key": create_key(services_of(app).records.database, name, role, products)}

    bound, free = key("line 3", "admin", "bolt"), key("chief", "admin")
    theirs = predict(app, headers=free).json["id"]
    ours = predict(app, "/predict?product=bolt", headers=bound).json["id"]
    wait_for_records(app)
    client = app.test_client()
    about_others = [
        "GET /inspections", "GET /statistics?product=default", "GET /models", "GET /history", "GET /jobs", "GET /metrics",
        "POST /retrain?product=nut", f"GET /inspections/{theirs}", f"GET /inspections/{theirs}/image", "GET /inspections.csv",
        "GET /v2/models/Production_Reg", "POST /predict",
    ]  # fmt: skip
    for route in about_others:
        method, path = route.split(" ")
        assert client.open(path, method=method, headers=bound).status_code == 403, route
    promotion = {"reason": "why", "name": "Testing_Reg.nut"}
    assert client.post("/models/1/promote?product=bolt", json=promotion, headers=bound).status_code == 403
    label = {"inspection_id": theirs, "label": "ok"}
    assert client.post("/feedback", json=label, headers=bound).status_code == 403
    assert client.post("/feedback", json=label | {"inspection_id": ours}, headers=bound).status_code == 201
    for path in (
        "/inspections?product=bolt",
        f"/inspections/{ours}",
        "/models?product=bolt",
        "/v2/models/Production_Reg.bolt",
    ):
        assert client.get(path, headers=bound).status_code == 200, path
    assert [one["name"] for one in client.get("/products", headers=bound).json["products"]] == ["bolt"]
    assert client.get("/inspections?product=nope", headers=bound).status_code == 403
    assert client.get("/access", headers=bound).json["products"] == ["bolt"]


def test_each_product_is_retrained_in_its_folder_with_its_settings(app, project):
    script = project.root / "products/bolt/re_train/re_train.py"
    script.write_text(
        "import json, os, pathlib; print(pathlib.Path.cwd().name, os.environ['DEFECT_SERVER_SETTINGS'])"
    )
    answer = app.test_client().post("/retrain?product=bolt")
    assert answer.status_code == 200, answer.json
    folder, settings = answer.json["stdout"].split(" ", 1)
    assert (folder, json.loads(settings)["product"]) == ("bolt", "bolt")
    jobs = {name: app.test_client().get(f"/jobs?product={name}").json["jobs"] for name in ("bolt", "default")}
    assert ([one["product"] for one in jobs["bolt"]], jobs["default"]) == (["bolt"], [])


def test_the_page_of_a_product_has_an_address_of_its_own(app):
    client = app.test_client()
    page = client.get("/product/bolt/page/review").text
    assert 'data-product="bolt"' in page
    assert 'href="../../../product/bolt/page/monitor"' in page
    assert 'data-product="default"' in client.get("/page/review").text
    assert client.get("/product/bolt/").status_code == client.get("/page/products").status_code == 200


def test_the_drift_of_each_product_is_in_the_metrics_and_the_readiness(serve, project):
    (project.root / "products/bolt/config.yaml").write_text(f"monitoring: {{window: {SIZE}}}\n")
    app = serve()
    bolt = services_of(app).products.get("bolt")
    give_baseline(bolt.served.current().inspector)
    model = {"product": "bolt", "model_name": "Production_Reg.bolt", "model_version": 1}
    for number in range(3):
        add(app, window(SIZE * number, {"brightness": -30}, 2.5 + 2 * number, **model))
    text = app.test_client().get("/metrics").text
    assert 'defect_drift_alarm{cause="camera",product="bolt"} 1.0' in text
    assert 'defect_drift_alarm{cause="camera"} 0.0' in text
    drift = app.test_client().get("/health/ready").json["drift"]
    assert drift.startswith("bolt: Clean the lens and check the light: brightness fell from")


@pytest.mark.parametrize("key", ["data.train_dir", "serving.port", "mlflow.production_model_name"])
def test_a_bound_key_changes_no_setting_that_reaches_other_products(app, key):
    database = services_of(app).records.database
    headers = {"X-API-Key": create_key(database, "engineer", "admin", ["default"])}
    client = app.test_client()
    digest = client.get("/settings", headers=headers).json["digest"]

    def change(key: str):
        changes = [{"key": key, "before": "", "after": "6"}]
        return client.post("/settings", json={"digest": digest, "changes": changes}, headers=headers)

    answer = change(key)
    assert (answer.status_code, key in answer.json["detail"]) == (403, True)
    assert change("training.epochs").status_code == 200
