"""Query an MLflow server through its public REST interface, without mlflow."""

import base64
import json
import os
import shutil
from collections.abc import Mapping
from http.client import IncompleteRead
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from defect_detection.tracking.store import PROBE_TIMEOUT_S

DOWNLOAD_TIMEOUT_S = 60.0  # without any data: the server may have to fetch a file itself first


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, and sends the credentials to no other server than the one they are for, as mlflow does."""

    def redirect_request(self, req: Request, *answer: Any) -> Request | None:
        new = super().redirect_request(req, *answer)
        if new is not None and _server(new.full_url) != _server(req.full_url):
            new.remove_header("Authorization")
        return new


def _server(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


_OPENER = build_opener(_Redirects)


def ask(
    tracking_uri: str, path: str, body: dict[str, Any] | None = None, **query: str | int
) -> dict[str, Any] | None:
    """Return the server's response to a GET request (POST with a body), or None if the object does not exist.

    Credentials are taken from the address, else from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN, as mlflow does.

    Raises:
        OSError, HTTPException: it can't be reached, or refuses.
        ValueError: not a server's address, or not the response of an MLflow server.
    """
    headers = {"Content-Type": "application/json"}
    asked = _request(tracking_uri, f"mlflow/{path}?{urlencode(query)}", headers)
    asked.data = None if body is None else json.dumps(body).encode()
    try:
        with _OPENER.open(asked, timeout=PROBE_TIMEOUT_S) as answer:
            found = json.load(answer)
    except HTTPError as error:
        with error:
            if _says_there_is_none(error.code, error.read(64 * 1024)):
                return None
            raise
    if not isinstance(found, dict):
        raise ValueError("not the response of an MLflow server")  # noqa: TRY004  whatever it is, it is the value that is wrong
    return found


def download(tracking_uri: str, artifact: str, path: Path) -> None:
    """Write an artifact that the server hands out to a file.

    Raises:
        OSError, HTTPException: the server can't be reached or refuses, or the file can't be written.
        ValueError: not a server's address.
    """
    asked = _request(tracking_uri, f"mlflow-artifacts/artifacts/{quote(artifact)}")
    with _OPENER.open(asked, timeout=DOWNLOAD_TIMEOUT_S) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file)
    if answer.length:
        raise IncompleteRead(b"", answer.length)


def _request(tracking_uri: str, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> Request:
    """Return a request to a server's interface, with credentials."""
    if not tracking_uri.startswith(("http://", "https://")):
        raise ValueError("not the address of a server")
    parts = urlsplit(tracking_uri.rstrip("/"))
    host = parts.netloc.rpartition("@")[2]
    address = f"{parts.scheme}://{host}{parts.path}/api/2.0/{path}"
    credentials = _credentials(parts.username, parts.password)
    return Request(address, headers={**credentials, **headers})  # noqa: S310  http only, see above


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    user = unquote(user or "") or os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = unquote(password or "") or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _says_there_is_none(status: int, body: bytes) -> bool:
    """Distinguish MLflow's answer that a model or alias does not exist from an address without MLflow."""
    try:
        answer = json.loads(body)
        code, message = answer.get("error_code"), str(answer.get("message"))
    except (ValueError, AttributeError):
        return False
    missing_alias = code == "INVALID_PARAMETER_VALUE" and "not found" in message
    return (status == 404 and code == "RESOURCE_DOES_NOT_EXIST") or missing_alias
