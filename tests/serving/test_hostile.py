"""Hostile values in addresses and bodies are refused and never cause a bug."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from recorded import image_of, inspected
from tiny import DARK, encoded
from waiting import LIMIT_S

from defect_detection.serving.services import services_of

NUMBERS = ("9" * 5000, "-1", "1e999", "NaN", "-0", "9223372036854775808", "0x10", "٣", "²")
DATES = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "9999-12-31T23:59:59Z",
    "0001-01-01",
    "1e300",
    "99999999999999",
    "-99999999999999",
    "2026-02-30T00:00:00",
)
TEXTS = (
    "%00",
    "%ff%fe",
    "%ED%A0%80",
    "a" * 5000,
    "%0d%0aX: y",
    "%F0%9F%94%A5",
    "..%2f..",
    "'",
    "%",
    "%zz",
    "",
)
HEADER_VALUES = (
    *(
        "9" * 5000,
        "\xff\xfe",
        "\u0000".encode().decode("latin-1"),
        "-1",
        "1e999",
        "NaN",
        "\xb2",
        "",
        ",",
        ";",
        '"',
        "=",
    ),
    *(
        "bearer \xff",
        "Bearer " + "9" * 5000,
        "bytes=0-" + "9" * 5000,
        "a=" + "b" * 5000,
        "text/html;q=1e999",
        "text/*;q=NaN",
    ),
    *(
        "http://[",
        "http://\xff",
        "Thu, 99 Feb 99999 99:99:99 GMT",
        "for=[::" + "1" * 5000,
        "localhost:" + "9" * 5000,
    ),
)


@pytest.fixture
def client(app):
    """Has recorded one inspection, has one job, and has loaded its model."""
    recorder = services_of(app).records.recorder
    recorder.record(inspected(1), image_of(1))
    assert recorder.flush(LIMIT_S)
    client = app.test_client()
    assert client.post("/predict", data=encoded(DARK), content_type="image/png").status_code == 200
    return client


@pytest.fixture
def operations(client) -> list[tuple[str, str, dict[str, Any]]]:
    """Each operation as (method, path with values that exist, its description)."""
    known = {"version": "1", "run_id": "0" * 32, "name": "Production_Reg"}
    job = client.post("/retrain", headers={"Prefer": "respond-async"}).json["id"]
    found = []
    for path, item in client.get("/openapi.json").json["paths"].items():
        known["id"] = job if path.startswith("/jobs") else inspected(1).id
        known["version"] = "3" if path.startswith("/v2") else "1"
        client.post(f"/jobs/{job}/cancel")  # so that its log ends
        real = re.sub(r"{(\w+)}", lambda name: known[name[1]], path)
        found += [(method, real, operation) for method, operation in item.items()]
    return found


def send(client, method: str, address: str) -> int:
    headers = (
        {"Prefer": "respond-async"} if address.startswith("/retrain") else {}
    )  # asked for, but never run
    return client.open(address, method=method.upper(), buffered=True, headers=headers).status_code


def in_addresses(operations) -> Iterator[tuple[str, str]]:
    """Yield method and address. What is read in one place for all operations gets a share of the values from each."""
    values = (*NUMBERS, *DATES, *TEXTS)
    for number, (method, path, operation) in enumerate(operations):
        for one in operation.get("parameters", []):
            for value in values[number % 7 :: 7] if one["name"] == "product" else values:
                written = value.replace("+", "%2B") if value in DATES else value
                if one["in"] == "query":
                    yield method, f"{path}?{one['name']}={written}"
                else:
                    yield method, path.replace(path.split("/")[-1], written)
                    yield method, path.replace(path.split("/")[2] if path.count("/") > 1 else "/", written)
        for text in TEXTS[number % 3 :: 3]:
            yield method, f"{path}?{text}"
            yield method, f"{path}?{text}={text}&;&&="


def failures(client, requests) -> list[Any]:
    """Send requests, and return those that met a bug. The registry of these tests is empty, which is no bug."""
    return [
        (status, method, address[:200])
        for method, address in dict.fromkeys(requests)
        if (status := send(client, method, address)) == 500
    ]


def test_a_hostile_value_is_never_a_bug(client, operations):
    assert failures(client, in_addresses(operations)) == []


def test_no_value_takes_the_places_of_those_who_follow_a_log(client, operations):
    log = next(path for _, path, _ in operations if path.endswith("/log"))
    for value in HEADER_VALUES:
        for method in ("GET", "HEAD"):
            assert (
                client.open(log, method=method, buffered=True, headers={"Last-Event-ID": value}).status_code
                == 200
            )


def test_a_moment_may_have_its_plus_unescaped(client):
    for since, count in (
        ("2026-03-01T15:01:00+09:00", 1),
        ("2026-03-01T15:01:00%2B09:00", 1),
        ("2099-01-01", 0),
    ):
        found = client.get(f"/inspections?since={since}&until=2026-04-01")
        assert (found.status_code, len(found.json["inspections"])) == (200, count)
    for until, any_there in (("0001-01-01T00:00:00+14:00", False), ("9999-12-31T23:59:59-14:00", True)):
        assert bool(client.get(f"/inspections?until={until}").json["inspections"]) == any_there


@pytest.mark.parametrize(
    "body", ['"{}"', '"{\\"to\\": 1, \\"to\\": 3}"', '{"to": true}', '{"to": "3"}', "[]", "null", '{"To": 3}']
)
def test_a_rollback_refuses_what_it_does_not_know(client, body):
    assert client.post("/models/rollback", data=body, content_type="application/json").status_code == 422
