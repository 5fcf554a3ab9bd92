"""Every route has an access rule, which is enforced for all callers before the body is read."""

import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from threading import Event

import pytest
from tiny import DARK, encoded
from waiting import LIMIT_S

from defect_detection.cli import main
from defect_detection.errors import ConfigError
from defect_detection.records.keys import create_key
from defect_detection.serving import access
from defect_detection.serving.callers import caller
from defect_detection.serving.local_key import FILE, make_link_code, make_local_key, read_local_key
from defect_detection.serving.routes import GROUPS, NEEDS
from defect_detection.serving.services import services_of

REMOTE = {"REMOTE_ADDR": "192.0.2.7"}
SAMPLES = {
    "<id>": "1",
    "<run_id>": "0" * 32,
    "<int:version>": "1",
    "<path:filename>": "icon.svg",
    "<name>": "Production_Reg",
}
PROXIES = (  # noqa: SIM905
    "X-Forwarded-Host Forwarded Via X-Real-IP CF-Connecting-IP True-Client-IP X-Client-IP X-Cluster-Client-IP Fastly-Client-IP "
    "Max-Forwards Proxy-Connection ngrok-skip-browser-warning Surrogate-Capability X-Pomerium-Jwt-Assertion X-Squid-Error "
    "Fly-Client-IP X-Envoy-External-Address X-Amzn-Trace-Id X-Azure-ClientIP X-Original-Host CDN-Loop CF-Ray X-ARR-LOG-ID"
).split()


def sample(rule: str) -> str:
    for name, value in {**SAMPLES, "<version>": "3"}.items():
        rule = rule.replace(name, value)
    return rule


def routes_of(app) -> list[str]:
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    return sorted(
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in methods
        if method in rule.methods
    )


def statuses(app, environ: dict[str, str], **headers: str) -> dict[str, int]:
    client = app.test_client()
    found = {}
    for route in NEEDS:
        method, rule = route.split(" ")
        if rule == "/access/page":
            continue  # has a test of its own
        answer = client.open(
            sample(rule), method=method, headers=headers, environ_overrides=environ, data=b"{broken"
        )
        found[route] = answer.status_code
        answer.close()
    return found


def test_every_route_states_who_may_use_it(app):
    assert routes_of(app) == sorted(NEEDS)
    assert {route for group in GROUPS.values() for route in group} <= {
        route for route, need in NEEDS.items() if need != "open"
    }


def test_a_route_that_states_nothing_is_for_admins(app):
    app.add_url_rule("/forgotten", "forgotten", lambda: "all of it")
    assert app.test_client().get("/forgotten", environ_overrides=REMOTE).status_code == 403


def test_strangers_get_the_open_routes_only(app):
    for route, status in statuses(app, REMOTE).items():
        assert (status == 403) == (NEEDS[route] != "open"), (route, status)


def test_keys_get_what_their_role_may(app):
    key = create_key(services_of(app).records.database, "line 3", "operator")
    for route, status in statuses(app, REMOTE, **{"X-API-Key": key}).items():
        assert (status in (401, 403)) == (NEEDS[route] == "admin"), (route, status)


def test_with_a_key_an_address_alone_gives_nothing(app, project):
    """A proxy that rewrites the Host, a TCP forwarder, another account: all look like this to the server."""
    create_key(services_of(app).records.database, "line 3", "operator")
    for route, status in statuses(app, {"REMOTE_ADDR": "127.0.0.1"}, Host="127.0.0.1:5001").items():
        assert (status == 401) == (NEEDS[route] != "open"), (route, status)
    make_local_key(project.root)
    mine = {"X-API-Key": read_local_key(project.root)}
    client = app.test_client()
    assert client.get("/access", headers=mine).json == {"name": "this machine", "role": "admin"}
    assert client.get("/access", headers=mine, environ_overrides=REMOTE).status_code == 401
    assert client.get("/access", headers=mine | {"Via": "1.1 proxy"}).status_code == 401
    assert client.get("/access", headers=mine | {"Host": "attacker.example"}).status_code == 401


def test_the_configured_key_closes_too(predicting):
    client = predicting("serving.api_key=a key of sixteen characters").test_client()
    assert client.get("/access").status_code == 401


def test_to_revoke_the_last_key_opens_nothing(app, project):
    create_key(services_of(app).records.database, "line 3", "admin")
    assert main(["keys", "revoke", "line 3", "--config", str(project.root / "config.yaml")]) == 0
    assert app.test_client().get("/access").status_code == 401


@pytest.mark.parametrize("header", PROXIES)
def test_headers_of_proxies_show_a_stranger(app, header):
    assert app.test_client().get("/access", headers={header: "x"}).status_code == 403


def test_strangers_see_no_threshold_and_no_path(predicting, project):
    app = predicting()
    image = {"data": encoded(DARK), "content_type": "image/png"}
    ask = app.test_client().post
    assert ask("/predict", **image).json["threshold"] is not None
    seen = ask("/predict", **image, environ_overrides=REMOTE).json
    assert (seen["verdict"], seen["threshold"], seen["results"][0]["threshold"]) == ("defective", None, None)
    picture = ask("/predict", **image, headers={"Accept": "image/png"}, environ_overrides=REMOTE)
    assert "X-Threshold" not in picture.headers
    opened = predicting("serving.public=[models, metrics]").test_client()
    assert opened.post("/predict", **image, environ_overrides=REMOTE).json["threshold"] is not None
    assert opened.get("/metrics", environ_overrides=REMOTE).status_code == 200
    assert opened.get("/statistics", environ_overrides=REMOTE).status_code == 403
    services_of(app).records.close()
    (project.root / "inspections.db").rename(project.root / "away.db")
    (project.root / "inspections.db").mkdir()
    lost = app.test_client().get("/health/ready", environ_overrides=REMOTE)
    assert (lost.status_code, str(project.root) in lost.text) == (503, False)


def test_public_names_are_checked(project):
    with pytest.raises(ConfigError, match=r"public\.0: expected a list of metrics, models and statistics"):
        project.config("serving.public=[inspections]")


def test_the_key_of_this_machine_is_for_its_owner(project, tmp_path):
    make_local_key(project.root)
    first, file = read_local_key(project.root), project.root / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    make_local_key(project.root)
    assert read_local_key(project.root) == first
    assert [one.name for one in project.root.glob(f"{FILE}*")] == [FILE]
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"expected the mode 0600, received 0644"):
        read_local_key(project.root)
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    elsewhere.chmod(0o600)
    file.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="cannot be read"):
        make_local_key(project.root)


def test_a_refused_file_is_said_by_the_command_and_the_server(app, project, capsys):
    create_key(services_of(app).records.database, "line 3", "operator")
    make_local_key(project.root)
    mine = {"X-API-Key": read_local_key(project.root)}
    (project.root / FILE).chmod(0o604)
    assert main(["page", "--config", str(project.root / "config.yaml")]) == 3
    assert "expected the mode 0600, received 0604" in capsys.readouterr().err
    refused = app.test_client().get("/access", headers=mine)
    assert (refused.status_code, str(project.root) in refused.text) == (401, False)


def test_a_link_opens_the_page_once(app, project):
    create_key(services_of(app).records.database, "line 3", "operator")
    make_local_key(project.root)
    client, link = app.test_client(), {"X-API-Key": make_link_code(project.root)}
    assert client.get("/access", headers=link).status_code == 401  # it is for the exchange only
    assert client.post("/access/page", headers=link, environ_overrides=REMOTE).status_code == 401
    key = client.post("/access/page", headers=link).json["key"]
    assert client.get("/access", headers={"X-API-Key": key}).json["role"] == "admin"
    assert client.get("/access", headers={"X-API-Key": key[:-1] + "x"}).status_code == 401
    assert client.post("/access/page", headers=link).status_code == 401
    old = {"X-API-Key": make_link_code(project.root, 1e9)}
    assert client.post("/access/page", headers=old).status_code == 401


def test_the_page_uses_its_link(app, send, project, open_page):
    create_key(services_of(app).records.database, "line 3", "operator")
    make_local_key(project.root)
    page = open_page(f"http://localhost:{send.port}/page/monitor#link={make_link_code(project.root)}")
    page.locator("#nothing").wait_for()
    assert "#" not in page.url


@pytest.mark.parametrize(
    ("peer", "forwarded", "behind_proxy", "name"),
    [
        ("192.0.2.7", None, "false", "192.0.2.7"),
        ("::ffff:192.0.2.7", None, "false", "192.0.2.7"),
        ("127.0.0.1", "198.51.100.1, 192.0.2.7", "true", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.7", "false", "127.0.0.1"),
        ("10.2.0.9", "198.51.100.1, 192.0.2.7", "[10.1.0.5, 10.2.0.0/16]", "192.0.2.7"),
        ("10.1.0.6", "192.0.2.7", "[10.1.0.5, 10.2.0.0/16]", "10.1.0.6"),
        ("127.0.0.1", "192.0.2.7", "[10.1.0.5]", "127.0.0.1"),
    ],
)
def test_a_caller_without_a_key_is_known_by_its_address(predicting, peer, forwarded, behind_proxy, name):
    app = predicting(f"serving.behind_proxy={behind_proxy}")
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with app.test_request_context("/predict", headers=headers, environ_base={"REMOTE_ADDR": peer}):
        assert (caller().name, caller().role) == (name, None)
        assert ip_address(caller().name)


def test_a_lost_database_is_not_taken_for_an_answer(app, project):
    """Also where an open route was asked before: only the database knows whether there is a key."""
    (project.root / "inspections.db").mkdir()
    client = app.test_client()
    key = {"X-API-Key": "defect_perhaps"}
    for headers in ({}, key):
        assert client.get("/health/ready", headers=headers).status_code == 503
        assert client.get("/access", headers=headers).status_code == 503
    (project.root / "inspections.db").rmdir()
    assert client.get("/access").json["role"] == "admin"
    assert client.get("/access", headers=key).json["role"] == "admin"


def test_behind_a_declared_proxy_each_caller_has_a_rate_of_its_own(predicting):
    client = predicting("serving.behind_proxy=true", "serving.rate_limit=0.001").test_client()

    def status(seen: str) -> int:
        return client.get("/v2", headers={"X-Forwarded-For": f"10.0.0.1, {seen}"}).status_code

    assert [status(seen) for seen in ("192.0.2.7", "192.0.2.7", "192.0.2.8")] == [200, 429, 200]


def test_callers_at_the_start_wait_for_the_first_answer_about_keys(predicting, monkeypatch):
    asked, go_on = Event(), Event()

    def slowly(_database):
        asked.set()
        return not go_on.wait(LIMIT_S)

    monkeypatch.setattr(access, "has_keys", slowly)
    client = predicting("serving.threads=2").test_client()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(client.post, "/predict", data=encoded(DARK), content_type="image/png")
        assert asked.wait(LIMIT_S)
        second = threads.submit(client.post, "/predict", data=encoded(DARK), content_type="image/png")
        with suppress(TimeoutError):
            second.result(0.3)
        go_on.set()
        assert all(one.result(LIMIT_S).json["threshold"] is not None for one in (first, second))
