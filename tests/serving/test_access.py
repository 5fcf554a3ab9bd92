"""Access to retrainings: local callers without a key, others with a key."""

import pytest
from flask.testing import FlaskClient

from defect_detection.serving.app import create_app

KEY = "a long random text"


@pytest.fixture
def client(project) -> FlaskClient:
    project.script("print('done')")
    return create_app(project.config()).test_client()


@pytest.fixture
def client_with_key(project) -> FlaskClient:
    project.script("print('done')")
    return create_app(project.config(f"serving.api_key={KEY}")).test_client()


def retrain(client: FlaskClient, peer: str = "127.0.0.1", **headers: str):
    named = {name.replace("_", "-"): value for name, value in {"Host": "localhost:5001", **headers}.items()}
    return client.post("/retrain", headers=named, environ_overrides={"REMOTE_ADDR": peer})


LOCAL = {
    "localhost": {},
    "no port": {"Host": "localhost"},
    "IPv4": {"Host": "127.0.0.1:8080"},
    "IPv6": {"peer": "::1", "Host": "[::1]:5001"},
    "IPv4 in IPv6": {"peer": "::ffff:127.0.0.1"},
    "upper case": {"Host": "LOCALHOST:5001"},
    "own page": {"Origin": "http://localhost:5001"},
}

NOT_LOCAL = {
    "another machine": {"peer": "192.0.2.7"},
    "another machine in IPv6": {"peer": "2001:db8::7"},
    "another machine that says localhost": {"peer": "::ffff:192.0.2.7", "Origin": "http://localhost:5001"},
    "no address": {"peer": ""},
    "a name that points to 127.0.0.1": {"Host": "attacker.example:5001"},
    "a name that starts with localhost": {"Host": "localhost.attacker.example"},
    "a host with a user": {"Host": "localhost:5001@attacker.example"},
    "a page of another site": {"Origin": "https://attacker.example"},
    "a page of another port": {"Origin": "http://localhost:3000"},
    "a page without origin": {"Origin": "null"},
    "X-Forwarded-For": {"X_Forwarded_For": "127.0.0.1"},
    "X-Forwarded-Proto": {"X_Forwarded_Proto": "https"},
    "Forwarded": {"Forwarded": "for=127.0.0.1"},
    "Via": {"Via": "1.1 proxy"},
}


@pytest.mark.parametrize("request_", LOCAL.values(), ids=LOCAL)
def test_this_machine_needs_no_key(client, request_):
    assert retrain(client, **request_).status_code == 200


@pytest.mark.parametrize("request_", NOT_LOCAL.values(), ids=NOT_LOCAL)
def test_everybody_else_is_refused_without_a_configured_key(client, request_):
    answer = retrain(client, **request_)
    assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
    assert "DEFECT_API_KEY" in answer.json["detail"]
    assert "serving.api_key" in answer.json["detail"]


@pytest.mark.parametrize("request_", NOT_LOCAL.values(), ids=NOT_LOCAL)
def test_everybody_else_is_asked_for_the_configured_key(client_with_key, request_):
    answer = retrain(client_with_key, **request_)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert KEY not in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}, {"X_API_Key": KEY}],
    ids=["Bearer", "bearer", "X-API-Key"],
)
def test_the_key_lets_a_remote_caller_in(client_with_key, headers):
    assert retrain(client_with_key, peer="192.0.2.7", Host="inspection:5001", **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer another text"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"X_API_Key": ""},
        {"X_API_Key": KEY[:-1]},
        {"X_API_Key": "schlüssel"},
    ],
)
def test_a_wrong_key_is_refused(client_with_key, headers):
    assert retrain(client_with_key, peer="192.0.2.7", **headers).status_code == 401


def test_the_key_of_the_environment_counts(project, monkeypatch):
    project.script("print('done')")
    monkeypatch.setenv("DEFECT_API_KEY", "the text of the environment")
    client = create_app(project.config(f"serving.api_key={KEY}")).test_client()
    assert retrain(client, peer="192.0.2.7", X_API_Key="the text of the environment").status_code == 200
    assert retrain(client, peer="192.0.2.7", X_API_Key=KEY).status_code == 401


def test_the_server_lets_the_proxy_headers_through_to_the_check(project, serving):
    """Waitress strips them by default; then a stranger behind a local proxy would look local."""
    project.script("print('done')")
    send = serving(project.config())
    assert send("POST", "/retrain", **{"X-Forwarded-For": "192.0.2.7"}).status == 403
    assert send("POST", "/retrain", Forwarded="for=192.0.2.7").status == 403
    assert send("POST", "/retrain").status == 200


def test_health_is_open_to_everybody(client):
    answer = client.get(
        "/health/live", headers={"Host": "inspection"}, environ_overrides={"REMOTE_ADDR": "192.0.2.7"}
    )
    assert answer.status_code == 200
