"""Behind a proxy with a path prefix: the page, the API and the addresses in responses."""

import json
import re
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect
from proxy import published
from recorded import wait_for_records
from test_jobs import ASYNC
from tiny import DARK, encoded

from defect_detection.errors import ConfigError
from defect_detection.serving.addresses import without_root
from defect_detection.serving.services import services_of

PATHS = (
    "/",
    "/page/review",
    "/page/inspections",
    "/page/monitor",
    "/page/models",
    "/page/train",
    "/page/settings",
)
KEY = "a key of sixteen characters"
WAYS = {
    "a proxy that says nothing": ((), {}),
    "a proxy that announces its path": (
        (f"serving.api_key={KEY}", "serving.behind_proxy=true"),
        {"announces": True},
    ),
    "a path of the settings, taken off": (("serving.root_path=/a/line-2",), {}),
    "a path of the settings, passed on": (("serving.root_path=/a/line-2",), {"strips": False}),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request, predicting, project, serving):
    """Serve behind a proxy in one of the ways; give the address, whether the server knows its path, and the application."""
    overrides, options = request.param
    app = predicting(*overrides)
    send = serving(project.config(*overrides), app)
    with published(send.port, "/a/line-2", **options) as url:
        yield url, bool(overrides), app
    services_of(app).records.close()


def ask(url: str, body: bytes | None = None, **headers: str):
    headers = {"X-API-Key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
    with urlopen(Request(url, body, headers)) as answer:
        return answer.status, answer.headers, answer.read()


def test_every_address_of_a_page_leads_somewhere(way):
    url, _, _ = way
    addresses = set()  # most are of several pages
    for path in PATHS:
        _, _, page = ask(url + path)
        found = re.findall(r'(?:href|src)="([^"#]+)"', page.decode())
        assert len(found) >= 8
        assert [address for address in found if address.startswith("/")] == [], "they hold at the root only"
        addresses |= {urljoin(url + path, address) for address in found}
    assert [address for address in sorted(addresses) if ask(address)[0] != 200] == []


@pytest.mark.parametrize("way", list(WAYS.values())[:2], ids=list(WAYS)[:2], indirect=True)
def test_the_whole_page_works_below_a_path(way, open_page):
    url, _, app = way
    page = open_page("about:blank", own=True)
    page.add_init_script(f"sessionStorage.setItem('defect-detection-key', '{KEY}')")
    page.goto(f"{url}/")
    image = {"name": "a.png", "mimeType": "image/png", "buffer": encoded(DARK)}
    page.set_input_files("#files", [image])
    expect(page.locator("#word")).to_have_text("Defective")
    wait_for_records(app)
    page.get_by_role("navigation").get_by_role("link", name="Review").click()
    expect(page.locator("#image")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Models").click()
    expect(page.locator("#champion .big")).to_have_text("Production_Reg 3")
    page.get_by_role("navigation").get_by_role("link", name="Inspect", exact=True).click()
    expect(page).to_have_url(f"{url}/")


def test_addresses_in_answers_hold_where_the_server_knows_its_path(way):
    url, is_known, _ = way
    root = "/a/line-2" if is_known else ""
    status, headers, answer = ask(f"{url}/retrain", b"", **ASYNC)
    assert (status, headers["Location"]) == (202, f"{root}/jobs/{json.loads(answer)['id']}")
    assert json.loads(answer)["log"] == f"{headers['Location']}/log"
    _, _, document = ask(f"{url}/openapi.json")
    assert json.loads(document)["servers"] == [{"url": f"{root}/"}]


def test_an_image_is_as_long_below_a_path_as_elsewhere(way):
    url, _, _ = way
    assert ask(f"{url}/predict", encoded(DARK, "BMP") + bytes(50_000), Content_Type="image/bmp")[0] == 200


def test_nobody_but_a_declared_proxy_says_which_path(send):
    answer = send("GET", "/openapi.json", **{"X-Forwarded-Prefix": "/elsewhere"})
    assert json.loads(answer.body)["servers"] == [{"url": "/"}]


def test_the_root_path_alone_leads_to_the_page_below_it(predicting):
    client = predicting("serving.root_path=/a/line-2").test_client()
    answer = client.get("/a/line-2?x=1")
    assert (answer.status_code, answer.headers["Location"]) == (308, "line-2/?x=1")
    assert client.get("/a/line-2/").status_code == 200


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "https://evil.example", "/a b", "/a/../b", "a", '/"><script>']
)
def test_what_is_no_path_is_never_an_address(predicting, prefix):
    client = predicting("serving.behind_proxy=true").test_client()
    document = client.get("/openapi.json", headers={"X-Forwarded-Prefix": prefix}).json
    assert document["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("path", ["defect", "/defect/", "//defect", "/a b", "https://host/defect", "/"])
def test_a_setting_that_is_no_path_is_refused(project, path):
    with pytest.raises(ConfigError, match=r"serving\.root_path: expected a path such as /defect"):
        project.config(f"serving.root_path='{path}'")


@pytest.mark.parametrize(
    ("path", "known_as"),
    [
        ("/defect/predict", "/predict"),
        ("/defect", "/"),
        ("/predict", "/predict"),
        ("/defects/x", "/defects/x"),
    ],
)
def test_a_request_is_known_with_its_root_path_and_without(path, known_as):
    assert without_root(path, "/defect") == known_as
